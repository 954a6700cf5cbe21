"""Two-step training (paper section 3.5): step 1 without relation, step 2 with the relation and frozen features.

A run folder is one (data, fold, seed):

    config.json  step1.safetensors  step1_log.jsonl  step1_metrics.json
    <relation>/  config.json  step2.safetensors  log.jsonl  metrics.json  predictions.safetensors

While a step trains, ``resume.safetensors`` holds weights, momentum and epoch. Every epoch is seeded from (seed, step,
epoch) and every view from (seed, epoch, row), so a resumed run needs no generator state and ends in the same weights.
"""

import json
import os
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from .datasets import DataError
from .datasets.folds import fold_rows, hold_out
from .datasets.prepared import FaceDataset, PreparedFolder, as_batch, counter_uniform, open_prepared
from .device import pick_device
from .losses import au_weights_from_rates, lorral_loss
from .metrics import always_positive_f1, landmark_errors, summarise
from .model import Features, LoRRaL, LoRRaLConfig, Output


@dataclass(frozen=True)
class Schedule:
    """Learning rate ``lr`` × ``gamma`` every ``every`` epochs (paper section 3.5: 0.01 × 0.3 every 2, 30 epochs)."""

    epochs: int = 30
    lr: float = 0.01
    gamma: float = 0.3
    every: int = 2

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
    select: str = "last"  # D24: "held_out" keeps the best epoch on held-out training subjects

    def __post_init__(self):
        if self.select not in ("last", "held_out"):
            raise ValueError(f"select must be 'last' or 'held_out', got {self.select!r}")
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
        return {**asdict(self), "model": self.model.to_dict()}

    @classmethod
    def from_dict(cls, values: dict) -> "RunConfig":
        """The config that :meth:`to_dict` wrote."""
        steps = {name: Schedule(**values[name]) for name in ("step1", "step2")}
        return cls(**{**values, "model": LoRRaLConfig.from_dict(values["model"]), **steps})


# ---------------------------------------------------------------------------------------------- files, all or nothing


def write_json(path: Path, value) -> None:
    """Write JSON so that the file is either the old one or the new one, never half of it."""
    write_whole(path, lambda temporary: temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf8"))


def save_tensors(path: Path, tensors: dict, metadata: dict | None = None) -> None:
    """Write a safetensors file all or nothing; a full disk is a DataError and the old file stays."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    write_whole(path, lambda temporary: save_file(tensors, temporary, metadata))


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


# ------------------------------------------------------------------------------------------------------ the two steps


def read_run_config(run) -> RunConfig:
    """The config of a run folder; a file that is no such config is a DataError."""
    path = Path(run) / "config.json"
    values = read_json(path)
    try:
        return RunConfig.from_dict(values)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the config of a run folder ({error}); name the folder that holds "
                        "step1.safetensors") from None


def train_step1(run, config: RunConfig, device=None, progress: bool = True, on_epoch=None) -> LoRRaL:
    """Step 1: everything but the relation, from scratch. Does nothing but load when the run folder has it already.
    ``on_epoch`` as in :func:`fit`."""
    run, device = Path(run), pick_device(device)
    model = new_model(config)
    folder = open_prepared(config.data)
    rows, held = _training_rows(config, folder)
    crop = config.model.image_size
    if folder.size != config.model.frame_size or folder.aus != config.model.aus:
        raise DataError(f"{folder.path}: faces of {folder.size} px with AUs {folder.aus}, but this model reads "
                        f"{config.model.frame_size} px with AUs {config.model.aus}; prepare again with "
                        f"--size {config.model.frame_size}")
    _claim(run / "config.json", config.to_dict())
    if (run / "step1.safetensors").exists():
        return load_model(run, device=device)
    model.set_mean_shape(torch.from_numpy(folder.landmarks[rows].mean(0) - (folder.size - crop) / 2))  # D6
    model.to(device)
    dataset = FaceDataset(folder, rows, crop, train=True, seed=config.seed, jitter=config.jitter)

    def batches(epoch: int) -> Iterator[dict]:
        dataset.set_epoch(epoch)
        loader = DataLoader(dataset, config.batch_size, shuffle=True, drop_last=len(rows) > config.batch_size,
                            collate_fn=as_batch)
        for batch in loader:
            yield {key: value.to(device) for key, value in batch.items()}

    def output(batch: dict, epoch: int) -> Output:
        crops_at = None
        if epoch < config.true_landmark_epochs:  # D16
            noise = torch.randn_like(batch["landmarks"]) * config.crop_jitter * crop
            crops_at = batch["landmarks"] + noise
        return model(batch["image"], crops_at)

    length = len(rows) // config.batch_size or 1
    fit(model, batches, output, config, config.step1, run / "step1", folder, rows, held, length, progress, on_epoch)
    save_tensors(run / "step1.safetensors", model.state_dict())
    (run / "step1_resume.safetensors").unlink(missing_ok=True)
    return model


def train_step2(run, relation: str, device=None, progress: bool = True, on_epoch=None, **options) -> LoRRaL:
    """Step 2: put the relation in, freeze what step 1 learned, train relation and heads (and, as the paper says, the
    landmark module when no features are cached). ``options`` go to the relation. Loads when it was done already.
    ``on_epoch`` as in :func:`fit`."""
    run, device = Path(run), pick_device(device)
    config = read_run_config(run)
    folder = open_prepared(config.data)
    out = run / relation
    model = load_model(run)
    model.set_relation(relation, seed=_seed(config.seed, 2, 0), **options)  # D17
    model.freeze_step1(train_landmarks=config.views == 0)
    _claim(out / "config.json", {"relation": relation, "options": options, "run": config.to_dict()})
    if (out / "step2.safetensors").exists():
        return load_model(run, relation, device)
    model.to(device)
    rows, held = _training_rows(config, folder)
    crop = config.model.image_size
    dataset = FaceDataset(folder, rows, crop, train=True, seed=config.seed + 1, jitter=config.jitter)
    if config.views:
        cache = cached_features(model, dataset, config.views, device, progress)

    def batches(epoch: int) -> Iterator[dict]:
        dataset.set_epoch(epoch)
        for chosen in torch.randperm(len(rows)).split(config.batch_size):
            if not config.views:
                yield {key: value.to(device) for key, value in dataset[chosen.numpy()].items()}
            else:
                u = counter_uniform(config.seed, epoch, rows[chosen.numpy()], 1)[:, 0]
                view = torch.from_numpy((u * config.views).astype(np.int64))
                yield {key: value[view, chosen].to(device) for key, value in cache.items()}

    def output(batch: dict, epoch: int) -> Output:
        if not config.views:
            return model(batch["image"])
        return model.from_features(Features(**{name: batch[f"feature.{name}"] for name in Features._fields}))

    length = -(-len(rows) // config.batch_size)
    fit(model, batches, output, config, config.step2, out / "step2", folder, rows, held, length, progress, on_epoch)
    step1, _ = load_tensors(run / "step1.safetensors")
    state = {k: v.cpu() for k, v in model.state_dict().items()}
    save_tensors(out / "step2.safetensors",
                 {k: v for k, v in state.items() if k not in step1 or not torch.equal(v, step1[k])})
    (out / "step2_resume.safetensors").unlink(missing_ok=True)
    return model


def fit(model, batches, output, config, schedule, stem: Path, folder, rows, held, length, progress,
        on_epoch: Callable[[list[dict]], None] | None = None) -> None:
    """The loop of both steps: SGD with the paper's momentum and weight decay over ``schedule.epochs`` epochs.

    ``batches(epoch)`` yields dicts with labels and landmarks, ``output(batch, epoch)`` the model's answer to one.
    ``stem`` names the files: ``<stem>_resume.safetensors``, ``<stem>_log.jsonl`` (``log.jsonl`` in step 2).
    ``on_epoch(log)`` is called with the rows so far when an epoch is safely on disk, for live curves.
    """
    step = 1 if stem.name == "step1" else 2
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimiser = torch.optim.SGD(named.values(), lr=schedule.lr, momentum=config.momentum,
                                weight_decay=config.weight_decay)
    device = next(model.parameters()).device
    resume = stem.with_name(f"{stem.name}_resume.safetensors")
    log_file = stem.with_name("step1_log.jsonl" if step == 1 else "log.jsonl")
    au_weights = None
    if config.loss == "jaa":
        labels = np.asarray(folder.labels[rows])
        rates = (labels == 1).sum(0) / np.maximum((labels >= 0).sum(0), 1)
        au_weights = au_weights_from_rates(torch.tensor(rates, dtype=torch.float32)).to(device)
    log, best = _resume(resume, model, optimiser, named)
    bar = tqdm(total=schedule.epochs * length, initial=len(log) * length, disable=not progress,
               desc=f"step {step}" + (f" {stem.parent.name}" if step == 2 else ""), unit="batch")
    for epoch in range(len(log), schedule.epochs):
        started = time.perf_counter()
        torch.manual_seed(_seed(config.seed, step, epoch))
        model.train()
        for group in optimiser.param_groups:
            group["lr"] = schedule.at(epoch)
        sums = torch.zeros(4, device=device)
        count = 0
        for batch in batches(epoch):
            answer = output(batch, epoch)
            losses = lorral_loss(answer, batch["labels"], batch["landmarks"], config.loss, au_weights)
            optimiser.zero_grad(set_to_none=True)
            losses.total.backward()
            optimiser.step()
            sums += torch.stack([losses.total, losses.au, losses.local_au, losses.landmark]).detach()
            count += 1
            bar.update()
        means = (sums / count).tolist()
        if not np.isfinite(means).all():
            raise DataError(f"{stem.parent}: the loss is not finite in epoch {epoch}; lower the learning rate "
                            f"(now {schedule.at(epoch):g}); the last good epoch is kept")
        line = {"epoch": epoch, "step": step, "lr": schedule.at(epoch),
                **dict(zip(("train_loss", "au", "local_au", "landmark"), means, strict=True)),
                "seconds": time.perf_counter() - started}
        if len(held):
            line["val_mean_f1"] = _validate(model, folder, held, device)
            if line["val_mean_f1"] > max((x["val_mean_f1"] for x in log), default=-1):
                best = {f"best.{k}": v.detach().cpu().clone() for k, v in model.state_dict().items()}
        log.append(line)
        _save_resume(resume, model, optimiser, named, log, best)
        write_whole(log_file, lambda t: t.write_text("".join(json.dumps(x) + "\n" for x in log), encoding="utf8"))
        bar.set_postfix(loss=f"{means[0]:.3f}")
        if on_epoch:
            on_epoch([dict(row) for row in log])
    bar.close()
    if best:
        model.load_state_dict({k.removeprefix("best."): v for k, v in best.items()})
    model.eval()


@torch.no_grad()
def cached_features(model, dataset: FaceDataset, views: int, device, progress: bool = True) -> dict:
    """What step 2 needs of ``views`` fixed random views of every row, computed once (D18).

    Returns {name: (views, rows, …)} CPU tensors: labels, landmarks (the true ones) and feature.<field> for each field
    of :class:`lorral_lite.model.Features`.
    """
    model.eval()
    parts: dict[str, list] = {}
    chunks = np.array_split(np.arange(len(dataset)), -(-len(dataset) // 64))
    bar = tqdm(total=views * len(chunks), desc="caching features", unit="batch", disable=not progress, leave=False)
    for view in range(views):
        dataset.set_epoch(view)
        for chunk in chunks:
            batch = dataset[chunk]
            features = model.features(batch["image"].to(device))._asdict()
            kept = {f"feature.{name}": value for name, value in features.items()}
            for key, value in {**kept, "labels": batch["labels"], "landmarks": batch["landmarks"]}.items():
                parts.setdefault(key, []).append(value.cpu())
            bar.update()
    bar.close()
    return {key: torch.cat(value).unflatten(0, (views, len(dataset))) for key, value in parts.items()}


def _training_rows(config: RunConfig, folder: PreparedFolder):
    rows, test = fold_rows(folder, config.fold, config.folds)
    assert not set(folder.subjects[rows]) & set(folder.subjects[test]), "a subject is in train and test"
    return hold_out(folder, rows, seed=config.seed) if config.select == "held_out" else (rows, rows[:0])


def _validate(model, folder, rows, device) -> float:
    found = predict_rows(model, folder, rows, device)
    return summarise(found["au_logits"], found["labels"], folder.subjects[rows])["mean_f1"]


def _seed(*keys: int) -> int:
    return zlib.crc32(np.asarray(keys, dtype=np.int64).tobytes())


def _claim(path: Path, config: dict) -> None:
    """Write a folder's config, or check that the folder was made with the same one."""
    if path.exists():
        there = read_json(path)
        if there != json.loads(json.dumps(config)):
            raise DataError(f"{path}: this folder holds a run with other settings; choose another run folder")
        return
    write_json(path, config)


def _save_resume(path, model, optimiser, named, log, best) -> None:
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    for name, p in named.items():
        tensors[f"momentum.{name}"] = optimiser.state[p]["momentum_buffer"]
    save_tensors(path, {**tensors, **best}, {"log": json.dumps(log)})


def _resume(path, model, optimiser, named) -> tuple[list, dict]:
    if not path.exists():
        return [], {}
    tensors, metadata = load_tensors(path)
    model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    for name, p in named.items():
        optimiser.state[p]["momentum_buffer"] = tensors[f"momentum.{name}"].to(p.device, copy=True)
    return json.loads(metadata["log"]), {k: v.clone() for k, v in tensors.items() if k.startswith("best.")}


# --------------------------------------------------------------------------------------------- loading and evaluation


def new_model(config: RunConfig) -> LoRRaL:
    """A freshly initialised step-1 model, seeded by the run's seed."""
    torch.manual_seed(_seed(config.seed, 0, 0))
    return LoRRaL(config.model)


def load_model(run, relation: str | None = None, device=None) -> LoRRaL:
    """The model of a run folder in eval mode: after step 1, or after step 2 with the named relation.

    A wrong architecture or AU list, a truncated file or a pickle is a DataError that says so.
    """
    run = Path(run)
    config = read_run_config(run)
    model = new_model(config)
    weights, _ = load_tensors(run / "step1.safetensors")
    _load(model, weights, run / "step1.safetensors", partial=False)
    if relation is not None:
        settings = read_json(run / relation / "config.json")
        model.set_relation(settings["relation"], seed=0, **settings["options"])
        weights, _ = load_tensors(run / relation / "step2.safetensors")
        _load(model, weights, run / relation / "step2.safetensors", partial=True)
    return model.to(pick_device(device)).eval()


def _load(model: LoRRaL, weights: dict, path: Path, partial: bool) -> None:
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


@torch.no_grad()
def predict_rows(model, folder: PreparedFolder, rows, device=None, batch_size: int = 64, progress=False) -> dict:
    """Centre-crop predictions for rows of a prepared folder: CPU tensors ``au_logits``, ``local_au_logits`` (R, A),
    ``landmarks`` and ``true_landmarks`` (R, 49, 2) in pixels of the model input, ``labels`` (R, A), ``rows`` (R,)."""
    model.eval()
    device = next(model.parameters()).device if device is None else device
    dataset = FaceDataset(folder, rows, model.config.image_size, train=False)
    found: dict[str, list] = {}
    for first in tqdm(range(0, len(dataset), batch_size), desc="evaluating", unit="batch", disable=not progress,
                      leave=False):
        batch = dataset[np.arange(first, min(first + batch_size, len(dataset)))]
        answer = model(batch["image"].to(device))
        wanted = {"au_logits": answer.au_logits, "local_au_logits": answer.local_au_logits,
                  "landmarks": answer.landmarks, "true_landmarks": batch["landmarks"],
                  "labels": batch["labels"], "rows": batch["row"]}
        for key, value in wanted.items():
            found.setdefault(key, []).append(value.cpu())
    return {key: torch.cat(value) for key, value in found.items()}


def evaluate(run, relation: str | None = None, device=None, progress: bool = True) -> dict:
    """Test the model of a run folder on its unseen subjects; writes and returns the metrics (step 1: relation None).

    F1 comes from counts pooled over the fold's test frames, threshold 0.5 (D28), unknown labels excluded, for both AU
    outputs; landmark NME is in % of the inter-ocular distance, a face fails above 10 %.
    """
    run, device = Path(run), pick_device(device)
    config = read_run_config(run)
    folder = open_prepared(config.data)
    rows, test = fold_rows(folder, config.fold, config.folds)
    model = load_model(run, relation, device)
    found = predict_rows(model, folder, test, device, progress=progress)
    subjects = folder.subjects[test]
    out = run if relation is None else run / relation
    log = out / ("step1_log.jsonl" if relation is None else "log.jsonl")
    seconds = sum(json.loads(x)["seconds"] for x in log.read_text().splitlines()) if log.exists() else None
    floor = np.asarray(always_positive_f1(found["labels"])).tolist()
    metrics = {
        "relation": relation, "fold": config.fold, "folds": config.folds, "seed": config.seed,
        "aus": list(folder.aus),
        "data": {"source": folder.meta["source"], "licensed": folder.meta["licensed"], "frames": len(folder),
                 "path": Path(config.data).name},
        "outputs": {"au": summarise(found["au_logits"], found["labels"], subjects),
                    "local": summarise(found["local_au_logits"], found["labels"], subjects)},
        "always_positive": {"f1": floor, "mean_f1": float(np.mean(floor))},
        "landmarks": landmark_errors(found["landmarks"], found["true_landmarks"]),
        "frames": len(test), "train_frames": len(rows),
        "subjects": len(set(subjects)), "train_subjects": len(set(folder.subjects[rows])),
        "seconds": seconds, "device": str(device),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    name = "step1_predictions" if relation is None else "predictions"
    save_tensors(out / f"{name}.safetensors", found)
    write_json(out / ("step1_metrics.json" if relation is None else "metrics.json"), metrics)
    return metrics
