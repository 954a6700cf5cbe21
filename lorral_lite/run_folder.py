"""A run folder: what decides a run, its files, each whole or not there, and the model they hold.

One run folder is one (data, fold, seed):

    config.json  step1.safetensors  step1_log.jsonl  step1_metrics.json  step1_predictions.safetensors
    <relation>/  config.json  step2.safetensors  log.jsonl  metrics.json  predictions.safetensors
    features/    what step 2 needs of the training faces (see feature_cache), not in runs that ship

``step2.safetensors`` holds only what step 2 changed. While a step trains, ``step1_resume.safetensors`` or
``step2_resume.safetensors`` holds weights, momentum and log of the last whole epoch.
"""

import json
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .datasets import DataError
from .datasets.prepared import PreparedFolder, open_prepared
from .device import pick_device
from .model import LoRRaL, LoRRaLConfig
from .readings import OtherReading, check_readings


@dataclass(frozen=True)
class Schedule:
    """Learning rate ``lr`` × ``gamma`` every ``every`` epochs (paper section 3.5: 0.01 × 0.3 every 2, 30 epochs)."""

    epochs: int = 30
    lr: float = 0.01
    gamma: float = 0.3
    every: int = 2

    def __post_init__(self):
        if min(self.epochs, self.every) < 1 or self.lr <= 0 or not 0 < self.gamma <= 1:
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
    batch_size: int = 16  # D22
    loss: str = "ce"
    momentum: float = 0.9  # D74
    weight_decay: float = 5e-4
    true_landmark_epochs: int = 1  # D16: crops follow the true landmarks for so many epochs of step 1
    crop_jitter: float = 0.01  # D16: standard deviation of the true landmarks' jitter, in image widths
    jitter: float = 0.0  # D70: strength of the photometric augmentation
    views: int = 0  # D18: cached views in step 2; 0 trains the landmark module on fresh views
    precision: str = "fp32"  # D75: "bf16" trains with bfloat16 convolutions; weights and losses stay float32
    select: str = "last"  # D24: "held_out" keeps the best epoch on held-out training subjects
    threads: int | None = None  # D105: CPU threads; None: the run tries at its start what is faster here, and keeps it
    readings: tuple[str, ...] = ()  # other readings of the paper, see lorral_lite.readings

    def __post_init__(self):
        object.__setattr__(self, "readings", check_readings(self.readings))
        if self.select not in ("last", "held_out"):
            raise ValueError(f"select must be 'last' or 'held_out', got {self.select!r}")
        if self.precision not in ("fp32", "bf16"):
            raise ValueError(f"precision must be 'fp32' or 'bf16', got {self.precision!r}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, or None to try, got {self.threads}")
        if self.loss not in ("ce", "jaa"):
            raise ValueError(f"loss must be 'ce' or 'jaa', got {self.loss!r}")

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
        values = {**asdict(self), "model": self.model.to_dict(), "readings": list(self.readings)}
        return {k: v for k, v in values.items() if v or k not in ("threads", "readings")}  # as older runs have it

    @classmethod
    def from_dict(cls, values: dict) -> "RunConfig":
        """The config that :meth:`to_dict` wrote."""
        steps = {name: Schedule(**values[name]) for name in ("step1", "step2")}
        return cls(**{**values, "model": LoRRaLConfig.from_dict(values["model"]), **steps})


def seed_of(*keys: int) -> int:
    """One seed out of several numbers, such as (run seed, step, epoch)."""
    return zlib.crc32(np.asarray(keys, dtype=np.int64).tobytes())


# ---------------------------------------------------------------------------------------------- files, all or nothing


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a hidden file beside ``path`` and rename it when complete; a failure leaves the old one."""
    temporary = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            temporary.unlink()
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be written ({why}); free some space or choose another folder") from error


def write_json(path: Path, value) -> None:
    """Write JSON so that the file is either the old one or the new one, never half of it."""
    write_whole(path, lambda temporary: temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf8"))


def save_tensors(path: Path, tensors: dict, metadata: dict | None = None) -> None:
    """Write a safetensors file all or nothing; a full disk is a DataError and the old file stays."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    write_whole(path, lambda temporary: temporary.write_bytes(save(tensors, metadata)))


def load_tensors(path: Path) -> tuple[dict, dict]:
    """(tensors, metadata) of a safetensors file; anything else, a pickle too, is a DataError."""
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise DataError(f"{path}: missing; train it with `lorral train`") from None
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: not a whole safetensors file ({error}); train again or restore it") from None


def read_json(path: Path) -> dict:
    """A JSON file's content; a missing or broken file is a DataError."""
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError:
        raise DataError(f"{path}: missing; is {path.parent} a run folder?") from None
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not readable as JSON ({error})") from None


# ----------------------------------------------------------------------------------------- config, data and the model


def read_run_config(run) -> RunConfig:
    """The config of a run folder; a file that is no such config is a DataError."""
    path = Path(run) / "config.json"
    values = read_json(path)
    try:
        return RunConfig.from_dict(values)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the config of a run folder ({error}); name the folder that holds "
                        "step1.safetensors") from None


def claim(path: Path, config: dict) -> None:
    """Write a folder's config, or check that the folder was made with the same one."""
    if not path.exists():
        write_json(path, config)
    elif (there := read_json(path)) != (asked := json.loads(json.dumps(config))):
        there = there if isinstance(there, dict) else {}
        names = ", ".join(name for name in {**there, **asked} if there.get(name) != asked.get(name))
        raise DataError(f"{path}: this folder holds a run with other settings ({names}); choose another run folder")


def open_data(config: RunConfig) -> PreparedFolder:
    """The prepared folder of a run; DataError when its faces or AUs are not those that the model reads."""
    folder, model = open_prepared(config.data), config.model
    if folder.size != model.frame_size or folder.aus != model.aus:
        raise DataError(f"{folder.path}: faces of {folder.size} px with AUs {folder.aus}, but this model reads "
                        f"{model.frame_size} px with AUs {model.aus}; prepare again with --size {model.frame_size}")
    return folder


def new_model(config: RunConfig) -> LoRRaL:
    """A freshly initialised step-1 model, seeded by the run's seed."""
    torch.manual_seed(seed_of(config.seed, 0, 0))
    return OtherReading(config.model, config.readings) if config.readings else LoRRaL(config.model)


def load_model(run, relation: str | None = None, device=None) -> LoRRaL:
    """The model of a run folder in eval mode: after step 1, or after step 2 with the named relation.

    A wrong architecture or AU list, a truncated file or a pickle is a DataError that says so.
    """
    run = Path(run)
    model = new_model(read_run_config(run))
    _load(model, run / "step1.safetensors", partial=False)
    if relation is not None:
        path = run / relation / "config.json"
        settings = read_json(path)
        try:
            model.set_relation(settings["relation"], seed=0, **settings["options"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: not the config of a relation of this run ({error}); train it again") from None
        _load(model, run / relation / "step2.safetensors", partial=True)
    return model.to(pick_device(device)).eval()


def save_weights(path: Path, weights: dict, aus) -> None:
    """Write weights with the AUs they are for, which equal shapes do not tell."""
    save_tensors(path, weights, {"aus": " ".join(map(str, aus))})


def _load(model: LoRRaL, path: Path, partial: bool) -> None:
    weights, metadata = load_tensors(path)
    aus = " ".join(map(str, model.config.aus))
    if metadata.get("aus", aus) != aus:
        raise DataError(f"{path}: these weights are for AUs {metadata['aus']}, the config says {aus}; its config is "
                        "another one's")
    state = model.state_dict()
    for name, tensor in weights.items():
        if name not in state:
            raise DataError(f"{path}: has {name}, which this model does not; its config is another one's")
        if tensor.shape != state[name].shape:
            raise DataError(f"{path}: {name} has shape {tuple(tensor.shape)}, this model needs "
                            f"{tuple(state[name].shape)}; its config is another one's")
    needed = ("relation.", "au_head.", "local_head.") if partial else ""  # step 2 brings at least these
    missing = [name for name in state if name not in weights and name.startswith(needed)]
    if missing:
        raise DataError(f"{path}: lacks {missing[0]} and {len(missing) - 1} more; its config is another one's")
    model.load_state_dict(weights, strict=not partial)
