"""Other readings of what the paper leaves open: each changes one choice of DEVIATIONS.md, to see what it is worth.

``RunConfig(readings=("mean",))`` trains a run with them; ``python -m benchmarks deviations`` measures them.
"""

import torch
from torch import nn

from .lorral import Features, LoRRaL, LoRRaLConfig, Output

READINGS = {
    "local_before": "D15: the local AU loss of step 2 reads the features before the relation",
    "kept_heads": "D17: step 2 goes on with the AU heads of step 1",
    "detached": "D23: the AU head sends no gradient into local features and relation, as in JAA-Net",
    "mean": "D13: the AU head reads the mean over the AUs, as in JAA-Net",
}
"""Name → what is done otherwise."""


def check_readings(readings) -> tuple[str, ...]:
    """The names as a tuple; ValueError when one is unknown, or when together they leave nothing to teach a relation."""
    for name in readings:
        if name not in READINGS:
            raise ValueError(f"unknown reading {name!r}: choose from {', '.join(READINGS)}")
    if {"local_before", "detached"} <= set(readings):
        raise ValueError("the readings local_before and detached together leave the relation without any gradient")
    return tuple(readings)


class OtherReading(LoRRaL):
    """LoRRaL with some of :data:`READINGS`; shapes, inputs and outputs are those of :class:`LoRRaL`."""

    def __init__(self, config: LoRRaLConfig, readings) -> None:
        self.readings = check_readings(readings)  # before the heads are made, which read them
        super().__init__(config)

    def make_heads(self) -> None:
        super().make_heads()
        if "mean" in self.readings:
            self.au_head[0] = nn.Linear(self.config.local_channels[-1] + 2 * self.flat, self.config.head_hidden)

    def from_features(self, features: Features) -> Output:
        tokens = self.relation(features.local)
        read = tokens.detach() if "detached" in self.readings else tokens
        read = read.mean(1) if "mean" in self.readings else read.flatten(1)
        together = torch.cat([read, features.global_, features.landmark], dim=1)
        local = features.local if "local_before" in self.readings else tokens
        return Output(self.au_head(together), self.local_head(local), features.landmarks)

    def set_relation(self, name: str | None, seed: int, **options) -> None:
        heads = self.local_head, self.au_head
        super().set_relation(name, seed, **options)
        if "kept_heads" in self.readings:
            self.local_head, self.au_head = heads

    def __repr__(self) -> str:
        return "\n".join([super().__repr__(), *(f"  other reading, {READINGS[name]}" for name in self.readings)])
