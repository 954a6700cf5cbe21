"""Two-step training (paper section 3.5): step 1 without relation, step 2 with the relation and frozen features.

Every epoch is seeded from (seed, step, epoch) and every view of a face from (seed, epoch, row), so a run that was
stopped at any moment goes on after its last whole epoch and ends in the same weights, on the same number of CPU
threads, which the run chooses once and keeps in its config (D105).
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..datasets.folds import hold_out
from ..datasets.licensed_faces import protect
from ..datasets.prepared import FaceDataset, PreparedFolder, as_batch, counter_uniform
from ..device import cores, pick_device, threads
from ..files import (
    DataError,
    check_fit,
    check_log_line,
    load_tensors,
    only_one,
    parse_json,
    read_json,
    save_tensors,
    write_text,
)
from ..measure.metrics import summarise
from ..model.lorral import Features, LoRRaL, Output
from ..model.losses import Losses, au_weights_from_rates, lorral_loss
from ..output import progress_bar
from .config import RunConfig, seed_of
from .evaluation import predict_rows
from .feature_cache import cached_features
from .origin import NO_FINGERPRINT, compare, data_record, open_fold, origin, write_record
from .run_folder import claim, load_model, new_model, read_run_config, save_weights

GATHERED = 64
"""So many batches of cached features are gathered at a time; the batches are slices of them."""


class Material(NamedTuple):
    """What a step learns from: rows of a prepared folder, held-out rows for choosing an epoch (or none), the rows of
    the fold's training people and of its test people, and JAA-Net's weight of each AU for ``loss="jaa"``, from the
    rates of the training rows, else None (D14)."""

    folder: PreparedFolder
    rows: np.ndarray
    held: np.ndarray
    train: np.ndarray
    test: np.ndarray
    au_weights: Tensor | None


def train_step1(run, config: RunConfig, device=None, progress: bool = True, on_epoch=None, workers: int = 0) -> LoRRaL:
    """Step 1: everything but the relation, from scratch. Does nothing but load when the run folder has it already.

    ``on_epoch(log)`` is called with the log's rows so far whenever an epoch is safely on disk, for live curves.
    ``workers`` processes read the faces; their number changes nothing in the result.
    """
    run, device = Path(run), pick_device(device)
    material = training_material(run, config)
    with nullcontext() if is_done(run, 1) else only_one(run, "training"):  # what is done is only read
        return _train_step1(run, config, material, device, progress, on_epoch, workers)


def _train_step1(run: Path, config: RunConfig, material: Material, device, progress: bool, on_epoch, workers) -> LoRRaL:
    folder, rows = material.folder, material.rows
    config = settle_threads(run, config, material, device)
    model = new_model(config)
    protect(run, folder)
    if not is_done(run, 1):
        write_record(run, config, folder, material.train, material.test)
    claim(run, config)
    if is_done(run, 1):
        forget_resume(run, 1)
        return load_model(run, device=device)
    crop = config.model.image_size
    # D6 landmark head
    model.set_mean_shape(torch.from_numpy(folder.landmarks[rows].mean(0) - (folder.size - crop) / 2))
    model.to(device)
    dataset = FaceDataset(folder, rows, crop, train=True, seed=config.seed, jitter=config.jitter)

    def batches(epoch: int) -> Iterator[dict]:
        dataset.set_epoch(epoch)
        # D74 plain SGD
        loader = DataLoader(dataset, config.batch_size, shuffle=True, drop_last=len(rows) > config.batch_size,
                            collate_fn=as_batch, num_workers=workers)
        for batch in loader:
            yield {key: value.to(device) for key, value in batch.items()}

    def answer(batch: dict, epoch: int) -> Output:
        crops_at = None
        if epoch < config.true_landmark_epochs:  # D16 landmarks of the crops
            noise = torch.randn_like(batch["landmarks"]) * config.crop_jitter * crop
            crops_at = batch["landmarks"] + noise
        return model(batch["image"], crops_at)

    length, made = len(rows) // config.batch_size or 1, origin(run)
    with threads(config.threads):
        fit(1, run, model, batches, answer, config, material, made, length, progress, on_epoch)
    save_weights(run / "step1.safetensors", model.state_dict(), config.model.aus, made)
    forget_resume(run, 1)
    return model


def train_step2(run, relation: str, device=None, progress: bool = True, on_epoch=None, **options) -> LoRRaL:
    """Step 2: put the relation in, freeze what step 1 learned, train relation and heads (and, as the paper says, the
    landmark module when no features are cached). ``options`` go to the relation. Loads when it was done already.
    ``on_epoch`` as in :func:`train_step1`."""
    run, device = Path(run), pick_device(device)
    config = read_run_config(run)
    material = training_material(run, config)
    if not (material.folder.labels[material.rows] >= 0).any():
        raise DataError(f"{material.folder.path}: no label of the training people is known; step 2 learns from labels")
    with nullcontext() if is_done(run / relation, 2) else only_one(run / relation, "training"):
        return _train_step2(run, relation, config, material, device, progress, on_epoch, options)


def _train_step2(run: Path, relation: str, config: RunConfig, material: Material, device, progress: bool, on_epoch,
                 options: dict) -> LoRRaL:
    out, rows = run / relation, material.rows
    protect(run, material.folder)
    model = load_model(run)
    step1 = {name: value.cpu().clone() for name, value in model.state_dict().items()}
    model.set_relation(relation, seed=seed_of(config.seed, 2, 0), **options)  # D17 new heads
    model.freeze_step1(train_landmarks=config.views == 0)  # D18 what step 2 trains
    if not is_done(out, 2) and data_record(run) is None:
        raise DataError(f"{run}: {NO_FINGERPRINT}; begin a new run folder")
    claim(run, config, relation, options)
    if is_done(out, 2):
        forget_resume(out, 2)
        return load_model(run, relation, device)
    made = origin(run, relation)  # now: what lies in the run may be exchanged while this trains
    model.to(device)
    dataset = FaceDataset(material.folder, rows, config.model.image_size, True, config.seed + 1, config.jitter)
    if config.views:
        with threads(config.threads):
            cache = cached_features(run, model, dataset, config.views, device, progress, out / ".features.partial")

    def batches(epoch: int) -> Iterator[dict]:
        dataset.set_epoch(epoch)
        chosen = torch.randperm(len(rows))
        if not config.views:
            for some in chosen.split(config.batch_size):
                yield {key: value.to(device) for key, value in dataset[some.numpy()].items()}
            return
        u = counter_uniform(config.seed, epoch, rows[chosen.numpy()], 1)[:, 0]
        view = torch.from_numpy((u * config.views).astype(np.int64))
        for many in torch.arange(len(rows)).split(GATHERED * config.batch_size):
            block = {key: value[view[many], chosen[many]].to(device) for key, value in cache.items()}
            for first in range(0, len(many), config.batch_size):
                yield {key: value[first : first + config.batch_size] for key, value in block.items()}

    def answer(batch: dict, epoch: int) -> Output:
        if not config.views:
            return model(batch["image"])
        return model.from_features(Features(**{name: batch[f"feature.{name}"] for name in Features._fields}))

    length = -(-len(rows) // config.batch_size)
    with threads(1 if config.views else config.threads):  # D80 cached features: too little work to share
        fit(2, out, model, batches, answer, config, material, made, length, progress, on_epoch)
    state = {k: v.cpu() for k, v in model.state_dict().items()}
    changed = {k: v for k, v in state.items() if k not in step1 or not torch.equal(v, step1[k])}
    save_weights(out / "step2.safetensors", changed, config.model.aus, made)
    forget_resume(out, 2)
    return model


def fit(step: int, out: Path, model: LoRRaL, batches: Callable[[int], Iterable[dict]],
        answer: Callable[[dict, int], Output], config: RunConfig, material: Material, made: dict, length: int,
        progress: bool, on_epoch: Callable[[list[dict]], None] | None) -> None:
    """The loop of both steps: SGD with the paper's momentum and weight decay over the epochs of the step's schedule.

    ``batches(epoch)`` yields ``length`` dicts with labels and landmarks, ``answer(batch, epoch)`` is the model's
    output for one. Files go to ``out``; an epoch that was finished there before is not trained again.
    """
    schedule = config.step1 if step == 1 else config.step2
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimiser = torch.optim.SGD(trained.values(), lr=schedule.lr, momentum=config.momentum,
                                weight_decay=config.weight_decay, fused=True)  # one call for all weights
    log, best = resume(step, out, model, optimiser, trained, schedule.epochs, made, len(material.held) > 0)
    device = model.mean_shape.device
    au_weights = None if material.au_weights is None else material.au_weights.to(device)
    bar = progress_bar(total=schedule.epochs * length, initial=len(log) * length, disable=not progress,
                       desc=f"step {step}" + (f" {out.name}" if step == 2 else ""), unit="batch")
    for epoch in range(len(log), schedule.epochs):
        check_still_there(material.folder)
        started = time.perf_counter()
        torch.manual_seed(seed_of(config.seed, step, epoch))
        for group in optimiser.param_groups:
            group["lr"] = schedule.at(epoch)
        model.train()
        sums, count = torch.zeros(4, device=device), 0
        for batch in batches(epoch):
            losses = learn(batch, lambda batch, epoch=epoch: answer(batch, epoch), optimiser, config, au_weights)
            sums += torch.stack(losses).detach()
            count += 1
            bar.update()
        means = (sums / count).tolist()
        if not np.isfinite(means).all():
            raise DataError(f"{out}: the loss is not finite in epoch {epoch}; lower the learning rate "
                            f"(now {schedule.at(epoch):g}); the last good epoch is kept")
        line = {"epoch": epoch, "step": step, "lr": schedule.at(epoch),
                **dict(zip(("train_loss", "au", "local_au", "landmark"), means, strict=True)),
                "seconds": time.perf_counter() - started}
        if len(material.held):
            found = predict_rows(model, material.folder, material.held)
            line["val_mean_f1"] = summarise(found["au_logits"], found["labels"])["mean_f1"]
            if line["val_mean_f1"] > max((x["val_mean_f1"] for x in log), default=-1):
                best = {f"best.{k}": v.detach().cpu().clone() for k, v in model.state_dict().items()}
        log.append(line)
        save_resume(step, out, model, optimiser, trained, log, best, made)
        bar.set_postfix(loss=f"{means[0]:.3f}")
        if on_epoch:
            on_epoch([dict(row) for row in log])
    bar.close()
    if best:
        model.load_state_dict({k.removeprefix("best."): v for k, v in best.items()})  # D24 which epoch
    model.eval()


def learn(batch: dict, answer: Callable[[dict], Output], optimiser, config: RunConfig, au_weights=None) -> Losses:
    """One step of the optimiser on what ``answer(batch)`` says; returns its losses."""
    with torch.autocast(batch["landmarks"].device.type, torch.bfloat16, enabled=config.precision == "bf16"):  # D75
        output = answer(batch)
    output = Output(*(part.float() for part in output))
    losses = lorral_loss(output, batch["labels"], batch["landmarks"], config.loss, au_weights)
    optimiser.zero_grad(set_to_none=True)
    losses.total.backward()
    optimiser.step()
    return losses


# ------------------------------------------------------------------------------------------------- what the loop needs


def settle_threads(run: Path, config: RunConfig, material: Material, device: torch.device) -> RunConfig:
    """The config with the run's number of CPU threads: the one asked for, else the stored one where the run folder is
    there already (None in runs older than this choice), else what is faster here; None on a GPU (D105)."""
    if config.threads is None and (run / "config.json").exists():
        with suppress(DataError):  # claim says what is wrong with that folder
            config = replace(config, threads=read_run_config(run).threads)
    elif config.threads is None and device.type == "cpu":
        return replace(config, threads=faster_threads(config, material.folder, material.rows))
    return config


def faster_threads(config: RunConfig, folder: PreparedFolder, rows: np.ndarray) -> int:
    """1, or as many threads as PyTorch would take and this process has cores: with which five training steps are
    faster now. Cores that other programs use make several threads wait for each other (benchmarks/README.md)."""
    most = min(torch.get_num_threads(), cores())
    if most == 1:
        return 1
    dataset = FaceDataset(folder, rows, config.model.image_size, train=True, seed=config.seed, jitter=config.jitter)
    step = trial_step(new_model(config), dataset, config)
    spent = {1: [], most: []}
    for _ in range(1 + 5):  # the first is to warm up
        for count, seconds in spent.items():  # in turns, so that what other programs do meets both
            with threads(count):
                started = time.perf_counter()
                step()
                seconds.append(time.perf_counter() - started)
    return min(spent, key=lambda count: sum(spent[count][1:]))


def trial_step(model: LoRRaL, dataset: FaceDataset, config: RunConfig,
               answer: Callable[[dict], Output] | None = None) -> Callable[[], Losses]:
    """A training step to be timed: each call reads the dataset's first batch anew and changes no parameter, since the
    learning rate is 0. ``answer(batch)`` is the model's output, by default that of the whole model for the faces."""
    device, rows = model.mean_shape.device, np.arange(min(config.batch_size, len(dataset)))
    trained = [p for p in model.train().parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.0, momentum=config.momentum, fused=True)
    answer = answer or (lambda batch: model(batch["image"]))
    return lambda: learn({key: value.to(device) for key, value in dataset[rows].items()}, answer, optimiser, config)


def training_material(run: Path, config: RunConfig) -> Material:
    """The training rows of the run's fold, less the held-out ones; no subject of the test fold is among them."""
    folder, train, test = open_fold(run, config)
    rows = train
    assert not set(folder.subjects[rows]) & set(folder.subjects[test]), "a subject is in train and test"
    held = rows[:0]
    if config.select == "held_out":
        rows, held = hold_out(folder, rows, seed=config.seed)
        if not (folder.labels[held] >= 0).any():
            raise DataError(f"{folder.path}: no label of the held-out people is known; use --select last")
    weights = weights_of_aus(config, folder, folder.labels[rows]) if config.loss == "jaa" else None
    return Material(folder, rows, held, train, test, weights)


def weights_of_aus(config: RunConfig, folder: PreparedFolder, labels: np.ndarray) -> Tensor:
    rates = (labels == 1).sum(0) / np.maximum((labels >= 0).sum(0), 1)
    if never := [str(au) for au, rate in zip(folder.aus, rates, strict=True) if not rate]:
        raise DataError(f"{folder.path}: --loss jaa divides by how often an AU is shown, but no training face of fold "
                        f"{config.fold} shows AU {' '.join(never)}; use --loss ce, or prepare without it")
    return au_weights_from_rates(torch.tensor(rates, dtype=torch.float32))


def check_still_there(folder: PreparedFolder) -> None:
    """One line when the prepared folder has disappeared, or is another one than when training began."""
    try:
        there = read_json(folder.path / "meta.json")
    except DataError:
        there = None
    if there != folder.meta:
        what = "is another one than" if there else "has disappeared"
        raise DataError(f"{folder.path}: this prepared folder {what} since training began; put it back and give the "
                        "same command again: it goes on after the last whole epoch")


# ---------------------------------------------------------------------------------------------- stopping and going on


def save_resume(step: int, out: Path, model, optimiser, trained: dict, log: list[dict], best: dict, made) -> None:
    """Put all that the next epoch needs on the disk in one file, whole or not at all; then the readable log."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    for name, p in trained.items():
        tensors[f"momentum.{name}"] = optimiser.state[p]["momentum_buffer"]
    save_tensors(out / f"step{step}_resume.safetensors", {**tensors, **best}, {"log": json.dumps(log), **made})
    write_log(step, out, log)


def resume(step: int, out: Path, model, optimiser, trained: dict, most: int, made: dict,
           held: bool) -> tuple[list[dict], dict]:
    """(log, best weights) of the epochs done so far, not above ``most``; model and optimiser are set to their end.
    DataError when they are not ``made`` of what this run is. ``held``: each epoch was scored on held-out people."""
    path = out / f"step{step}_resume.safetensors"
    if not path.exists():
        return [], {}
    tensors, metadata = load_tensors(path)
    state = model.state_dict()
    wanted = {f"model.{name}": value for name, value in state.items()}
    wanted |= {f"momentum.{name}": value for name, value in trained.items()}
    again = "delete it to start this step again"
    wanted |= {f"best.{name}": value for name, value in state.items()} if held else {}
    check_fit(path, tensors, wanted, again)
    if missing := [name for name in wanted if name not in tensors]:
        raise DataError(f"{path}: lacks {missing[0]}; {again}")
    try:
        log = parse_json(metadata["log"])
        for line in log:
            check_log_line(line)
        whole = [line["epoch"] for line in log] == list(range(min(len(log), most))) != []
        whole = whole and all((line.get("val_mean_f1") is not None) == held for line in log)
    except (AttributeError, KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise DataError(f"{path}: its log is not that of whole epochs from the first on; {again}")
    compare(path, metadata, made, out)
    model.load_state_dict({name: tensors[f"model.{name}"] for name in state})
    for name, p in trained.items():
        optimiser.state[p]["momentum_buffer"] = tensors[f"momentum.{name}"].to(p.device, copy=True)
    write_log(step, out, log)  # the run may have been stopped before it wrote the last line
    return log, {k: v.clone() for k, v in tensors.items() if k.startswith("best.")}


def write_log(step: int, out: Path, log: list[dict]) -> None:
    lines = "".join(json.dumps(x) + "\n" for x in log)
    write_text(out / ("step1_log.jsonl" if step == 1 else "log.jsonl"), lines)


def is_done(out: Path, step: int) -> bool:
    """Whether the step's weights are there."""
    return (out / f"step{step}.safetensors").exists()


def forget_resume(out: Path, step: int) -> None:
    """The weights are there: what going on would need goes, also when the run was stopped between the two."""
    (out / f"step{step}_resume.safetensors").unlink(missing_ok=True)
