"""What decides a run: the schedules of the two steps and all other settings."""

import zlib
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from ..files import MOST_SEED, made_of
from ..model.lorral import LoRRaLConfig


@dataclass(frozen=True)
class Schedule:
    """Learning rate ``lr`` × ``gamma`` every ``every`` epochs (paper section 3.5: 0.01 × 0.3 every 2, 30 epochs)."""

    epochs: int = 30
    lr: float = 0.01
    gamma: float = 0.3
    every: int = 2

    def __post_init__(self):
        if min(self.epochs, self.every) < 1 or not 0 < self.lr < np.inf or not 0 < self.gamma <= 1:
            raise ValueError(f"a schedule needs epochs and every ≥ 1, lr > 0 and 0 < gamma ≤ 1, got {self}")

    def at(self, epoch: int) -> float:
        """Learning rate of the 0-based epoch."""
        return self.lr * self.gamma ** (epoch // self.every)


@dataclass(frozen=True)
class RunConfig:
    """All that decides a run. :meth:`paper` follows the paper's letter, :meth:`lite` is for two CPU cores (D19)."""

    model: LoRRaLConfig
    data: str
    fold: int = 1
    folds: int = 3
    seed: int = 0
    step1: Schedule = field(default_factory=Schedule)
    step2: Schedule = field(default_factory=Schedule)
    batch_size: int = 16  # D22 batch size
    loss: str = "ce"
    momentum: float = 0.9  # D74 plain SGD
    weight_decay: float = 5e-4
    true_landmark_epochs: int = 1  # D16 landmarks of the crops: the true ones for so long in step 1
    crop_jitter: float = 0.01  # D16 landmarks of the crops: their jitter's SD, in image widths
    jitter: float = 0.0  # D70 augmentation of light: its strength
    views: int = 0  # D18 what step 2 trains: cached views; 0: the landmark module too, on fresh ones
    precision: str = "fp32"  # D75 number format: "bf16" for bfloat16 convolutions; weights and losses stay float32
    select: str = "last"  # D24 which epoch: "held_out" keeps the best on held-out training subjects
    threads: int | None = None  # D105 CPU threads; None: the run tries what is faster here, and keeps it

    def __post_init__(self):
        choices = {"select": ("last", "held_out"), "precision": ("fp32", "bf16"), "loss": ("ce", "jaa")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}, got {getattr(self, name)!r}")
        for name, low, high in (("seed", 0, MOST_SEED), ("threads", 1, 1024), ("batch_size", 1, 1 << 20)):
            if not low <= (low if (value := getattr(self, name)) is None else value) <= high:
                raise ValueError(f"{name} must be {low} to {high}, got {value}")

    @classmethod
    def paper(cls, data, aus, **changes) -> "RunConfig":
        """Section 3.5 to the letter: 30 epochs a step, the landmark module trains on in step 2."""
        return replace(cls(LoRRaLConfig.paper(aus=tuple(aus)), str(data)), **changes)

    @classmethod
    def lite(cls, data, aus, **changes) -> "RunConfig":
        """Small faces, few epochs: minutes on two CPU cores (D18, D19, D70)."""
        small = cls(
            LoRRaLConfig.lite(aus=tuple(aus)), str(data),
            step1=Schedule(16, 0.02, 0.3, 5), step2=Schedule(10, 0.01, 0.3, 4),
            true_landmark_epochs=2, jitter=1.0, views=4,
        )
        return replace(small, **changes)

    def to_dict(self) -> dict:
        """Plain JSON values; :meth:`from_dict` reads them back."""
        values = {**asdict(self), "model": self.model.to_dict()}
        return {k: v for k, v in values.items() if v or k != "threads"}  # as older runs have it

    @classmethod
    def from_dict(cls, values: dict) -> "RunConfig":
        """The config that :meth:`to_dict` wrote, of this version or an older one."""
        values = upgraded(values)
        steps = {name: made_of(Schedule, values[name]) for name in ("step1", "step2")}
        return made_of(cls, {**values, "model": LoRRaLConfig.from_dict(values["model"]), **steps})


def upgraded(values: dict) -> dict:
    """A run's config as it is written today: what older ones call ``readings`` are fields of the model now."""
    old = {"mean": "mean_head", "detached": "detached_head"}
    fields = {old.get(name, name): True for name in values.get("readings", ())}
    rest = {key: value for key, value in values.items() if key != "readings"}
    return {**rest, "model": {**rest.get("model", {}), **fields}} if fields else rest


def seed_of(*keys: int) -> int:
    """One seed out of several numbers, such as (run seed, step, epoch)."""
    return zlib.crc32(np.asarray(keys, dtype=np.int64).tobytes())
