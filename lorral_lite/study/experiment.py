"""``lorral experiment``: do relation modules help, and when? Tested where the true relations are known.

A world is (relation strength, structure); evidence is either whole or hidden in one region. For every seed:

1. step 1 is trained once per hiding on faces of the training people whose AUs are independent (strength 0), so that
   nothing but a relation module can learn relations (D102);
2. in every world the same people show other AUs; step 2 is trained on cached features of two views (D103) with every
   relation, and tested on unseen people of the same world;
3. beside the scores stand the ceiling (:mod:`lorral_lite.study.ceiling`) and the learned attention.

    <out>/<hiding>/seed<s>/step1/, <world>.json      what one world gave; what is there is not done again
"""

import json
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..datasets.prepared import FaceDataset, open_prepared
from ..datasets.synthetic import prepare_faces
from ..faces.population import Population
from ..facs import check_aus
from ..files import DataError, load_tensors, only_one, read_json, without_paths, write_json, write_text
from ..measure.statistics import Estimate, holm, jackknife
from ..model.relations import RELATIONS
from ..training.config import RunConfig, Schedule
from ..training.evaluation import evaluate
from ..training.jobs import run_cells
from ..training.origin import open_fold
from ..training.run_folder import load_model, read_run_config, step1_of
from ..training.steps import train_step1, train_step2
from .ceiling import ceiling, pattern_probabilities

WORLDS: dict[str, tuple[float, str]] = {
    "strength0": (0.0, "real"), "strength0.5_real": (0.5, "real"), "strength0.5_exclusion": (0.5, "exclusion"),
    "strength1_real": (1.0, "real"), "strength1_exclusion": (1.0, "exclusion"),
}
"""Name → (relation strength, structure). At strength 0 AUs are independent, whatever the structure."""

HIDINGS: dict[str, tuple[int, ...]] = {"none": (), "eyes": (6, 7)}
"""Name → AUs whose evidence is covered: nothing, or the region of the eyes (dark glasses over AU 6 and 7)."""

STEP2 = Schedule(16, 0.01, 0.3, 6)
VIEWS = 2  # D103 two views

SCORED = ("local", "au")
"""The outputs of a model that are scored."""


@dataclass(frozen=True)
class Size:
    """How large each training is: people, two thirds of them to train on, and frames of each in a world and for step 1;
    ``epochs`` of either step, None: as many as lite's in step 1 and :data:`STEP2` in step 2."""

    subjects: int = 90
    frames: int = 30
    step1_frames: int = 50
    epochs: int | None = None


def run_config(data, aus, seed: int, size: Size) -> RunConfig:
    """lite()'s recipe (D19) with two cached views and a longer step 2; fewer epochs when the size says so."""
    config = RunConfig.lite(data, aus, seed=seed, step2=STEP2, views=VIEWS)
    if size.epochs is not None:
        config = replace(config, step1=replace(config.step1, epochs=size.epochs),
                         step2=replace(config.step2, epochs=size.epochs))
    return config


def run_seed(out, hiding: str, seed: int, size: Size) -> int:
    """Step 1, then all worlds of one hiding and seed; returns how many worlds were computed now."""
    folder, done = Path(out) / hiding / f"seed{seed}", 0
    faces = {"subjects": size.subjects, "hidden": HIDINGS[hiding], "seed": seed, "device": "cpu", "progress": False}
    step1, data = folder / "step1", folder / "step1_data"
    if not (step1 / "step1.safetensors").exists():
        if not data.exists():
            prepare_faces(data, frames=size.step1_frames, relation_strength=0.0, **faces)
        train_step1(step1, run_config(data, open_prepared(data).aus, seed, size), "cpu", progress=False)
    shutil.rmtree(data, ignore_errors=True)
    for world, (strength, structure) in WORLDS.items():
        if not (folder / f"{world}.json").exists():
            data = folder / f"{world}_data"
            if not data.exists():
                prepare_faces(data, frames=size.frames, relation_strength=strength, structure=structure, **faces)
            found = run_world(folder / world, data, step1, hiding, world, seed, size)
            write_json(folder / f"{world}.json", found)
            done += 1
        for place in (folder / world, folder / f"{world}_data"):  # also when a kill came between
            shutil.rmtree(place, ignore_errors=True)
    return done


def run_world(run: Path, data: Path, step1: Path, hiding: str, world: str, seed: int, size: Size) -> dict:
    """Train and test every relation on the faces of one world, starting from the shared step 1; returns its figures."""
    started = time.perf_counter()
    strength, structure = WORLDS[world]
    faces = open_prepared(data)
    step1_of(step1, run, run_config(data, faces.aus, seed, size))  # D102 independent step 1
    people = Population(relation_strength=strength, structure=structure, hidden=HIDINGS[hiding], seed=seed)
    result = {"hiding": hiding, "hidden": list(HIDINGS[hiding]), "covered": list(people.covered), "seed": seed,
              "relation_strength": strength, "structure": structure, "aus": list(faces.aus), "relations": {}}
    for relation in RELATIONS:
        train_step2(run, relation, "cpu", progress=False)
        metrics = evaluate(run, relation, "cpu", progress=False)
        result["relations"][relation] = {
            output: {"mean_f1": metrics["outputs"][output]["mean_f1"], "f1": metrics["outputs"][output]["f1"]}
            for output in SCORED
        }
    result["always_positive"] = metrics["always_positive"]
    result["landmark_nme_percent"] = metrics["landmarks"]["nme_percent"]
    result["frames"] = {"train": metrics["train_frames"], "test": metrics["frames"]}
    result["subjects"] = {"train": metrics["train_subjects"], "test": metrics["subjects"]}
    found, _ = load_tensors(run / "none" / "predictions.safetensors")
    subjects, prior = faces.subjects[found["rows"].numpy()], pattern_probabilities(people)
    result["ceiling"] = {}
    for output, key in (("local", "local_au_logits"), ("au", "au_logits")):
        f1 = ceiling(found[key], found["labels"], subjects, people, prior)
        result["ceiling"][output] = {name: values.tolist() for name, values in f1.items()}
    result["attention"] = mean_attention(run, "self_attention").round(4).tolist()
    result["expected_phi"] = people.expected_phi.round(4).tolist()
    result["seconds"] = round(time.perf_counter() - started, 1)
    return result


@torch.no_grad()
def mean_attention(run, relation: str) -> np.ndarray:
    """(A, A) attention of a trained relation, mean over heads and the unseen faces: row AU listens to column AU."""
    (faces, _, test), model = open_fold(run, read_run_config(run)), load_model(run, relation, "cpu")
    dataset = FaceDataset(faces, test, model.config.image_size, train=False)
    weights = []
    for block in np.array_split(np.arange(len(test)), -(-len(test) // 64)):
        model(dataset[block]["image"])
        weights.append(model.relation.attention.mean(1))
    return torch.cat(weights).mean(0).numpy()


def run_experiment(out="runs/relations", seeds: int = 5, size: Size = Size(), jobs: int = 2, progress: bool = True,
                   say=print) -> dict:
    """All hidings and seeds, ``jobs`` at a time; what is there already is left. Returns :func:`collect`'s result.

    With one job they are done in this process, else in processes of their own, whose logs lie in ``out``/jobs. A job
    that fails leaves one line while the others go on, and a DataError at the end.
    """
    with only_one(Path(out), "experimenting in"):
        return _run_experiment(Path(out), seeds, size, jobs, progress, say)


def _run_experiment(out: Path, seeds: int, size: Size, jobs: int, progress: bool, say) -> dict:
    settings = asdict(size)
    if (out / "settings.json").exists() and read_json(out / "settings.json") != settings:
        raise DataError(f"{out}: holds an experiment of another size ({read_json(out / 'settings.json')}); "
                        "choose another --out")
    write_json(out / "settings.json", settings)
    cells = {f"{hiding}, seed {seed}": (out, hiding, seed, size) for seed in range(seeds) for hiding in HIDINGS}
    run_cells(run_seed, cells, jobs, out, "experiment", progress, say)
    return collect(out, seeds)


def collect(out, seeds: int) -> dict:
    """Everything that finished, as one dict for JSON: figures rounded to 0.01 points."""
    out = Path(out)
    files = {(hiding, seed, world): out / hiding / f"seed{seed}" / f"{world}.json"
             for hiding in HIDINGS for seed in range(seeds) for world in WORLDS}
    cells = [_checked(file, read_json(file)) for file in files.values()]
    for (hiding, seed, world), cell in zip(files, cells, strict=True):
        if [cell[name] for name in ("hiding", "seed", "relation_strength", "structure")] != [
                hiding, seed, *WORLDS[world]]:
            raise DataError(f"{files[hiding, seed, world]}: of {cell['hiding']}, seed {cell['seed']}, strength "
                            f"{cell['relation_strength']} {cell['structure']}; remove it: the same command makes it")
    settings = read_json(out / "settings.json")
    command = (f"lorral experiment --out {out} --seeds {seeds} --subjects {settings['subjects']} "
               f"--frames {settings['frames']} --step1-frames {settings['step1_frames']}"
               + (f" --epochs {settings['epochs']}" if settings["epochs"] else ""))
    return {"command": without_paths(command), "data": "procedural faces", "settings": settings, "seeds": seeds,
            "cells": [rounded(cell) for cell in cells]}


def rounded(value, digits: int = 2):
    """Numbers in nested dicts and lists, rounded; relation tables keep their four digits."""
    if isinstance(value, dict):
        return {k: v if k in ("attention", "expected_phi") else rounded(v, digits) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v, digits) for v in value]
    return round(value, digits) if isinstance(value, float) else value


# ------------------------------------------------------------------------------------------------------ what came out


def select(result: dict, hiding: str, strength: float, structure: str) -> list[dict]:
    """The cells of one world and hiding, one per seed, in order. At strength 0 both structures are the same cells."""
    cells = [c for c in result["cells"] if (c["hiding"], c["relation_strength"]) == (hiding, strength)
             and (c["structure"] == structure or strength == 0)]
    if not cells:
        raise ValueError(f"no cell of hiding {hiding!r}, strength {strength}, structure {structure!r}")
    return sorted(cells, key=lambda c: c["seed"])


def over_seeds(values) -> Estimate:
    """Mean of one value per seed with its t interval. Every seed has its own people, faces and training, so this
    interval contains what a jackknife over the people of one run leaves out: retraining (D104)."""
    return jackknife(values)  # of a mean: Student's interval exactly


def relation_gain(cells: list[dict], relation: str, output: str, control: str = "none",
                  au: int | None = None) -> Estimate:
    """Gain in mean F1 (or in that of one AU) of a relation over a control, in points, over the seeds."""
    def score(cell, name):
        part = cell["relations"][name][output]
        return part["mean_f1"] if au is None else part["f1"][cell["aus"].index(au)]

    return over_seeds([score(cell, relation) - score(cell, control) for cell in cells])


def ceiling_gain(cells: list[dict], output: str, au: int | None = None) -> Estimate:
    """What the true distribution of patterns could add to the control's calibrated evidence, in points."""
    def difference(cell):
        joint, alone = (np.array(cell["ceiling"][output][name]) for name in ("joint", "alone"))
        return float((joint - alone).mean() if au is None else (joint - alone)[cell["aus"].index(au)])

    return over_seeds([difference(cell) for cell in cells])


def attention_correlation(cells: list[dict]) -> Estimate:
    """Pearson correlation, over pairs of different AUs, of learned attention and true phi; one value per seed."""
    pairs = ~np.eye(len(cells[0]["aus"]), dtype=bool)
    return over_seeds([np.corrcoef(np.array(c["attention"])[pairs], np.array(c["expected_phi"])[pairs])[0, 1]
                       for c in cells])


def modules_of(result: dict) -> tuple[str, ...]:
    """The modules that an experiment tested in every cell against its controls, none and mlp."""
    first, *rest = (cell["relations"] for cell in result["cells"])
    return tuple(name for name in first if name not in ("none", "mlp") and all(name in other for other in rest))


def all_gains(result: dict, control: str = "none") -> list[dict]:
    """One row per hiding, world, module and output, with Holm's correction over all rows of an output (D61)."""
    rows = []
    for output in SCORED:
        mine = []
        for hiding in HIDINGS:
            for strength, structure in WORLDS.values():
                cells = select(result, hiding, strength, structure)
                for relation in modules_of(result):
                    e = relation_gain(cells, relation, output, control)
                    mine.append({"output": output, "hiding": hiding, "relation_strength": strength,
                                 "structure": structure, "relation": relation, "control": control, "estimate": e})
        adjusted, _ = holm([row["estimate"].p for row in mine])
        for row, p in zip(mine, adjusted, strict=True):
            row["holm_p"] = float(p)
            sign = "gain" if row["estimate"].value > 0 else "loss"
            row["verdict"] = sign if p < 0.05 else "not told apart from 0"
        rows += mine
    return rows


def summary(result: dict) -> str:
    """A table in plain text: gains over both controls and the ceiling, per hiding and world."""
    modules = ("mlp", *modules_of(result))
    lines = [f"{'hidden':7}{'strength':9}{'structure':11}{'output':7}"
             + "".join(f"{m:>20}" for m in modules) + f"{'ceiling':>20}"]
    for hiding in HIDINGS:
        for strength, structure in WORLDS.values():
            cells = select(result, hiding, strength, structure)
            for output in SCORED:
                values = [*[relation_gain(cells, m, output) for m in modules], ceiling_gain(cells, output)]
                lines.append(f"{hiding:7}{strength:<9g}{structure:11}{output:7}" + "".join(
                    f"{f'{e.value:+.1f} ({e.low:+.1f} to {e.high:+.1f})':>20}" for e in values))
    if lost := sorted({name for cell in result["cells"] for name in cell["relations"]} - {"none", *modules}):
        lines.append(f"not in every cell, so left out: {', '.join(lost)}")
    return "\n".join(lines)


def write_result(path, result: dict) -> None:
    """Write :func:`collect`'s result as JSON, a line for each cell: the file is the old one or the new one, whole."""
    lines = ",\n".join(json.dumps(cell) for cell in result["cells"])
    rest = {key: value for key, value in result.items() if key != "cells"}
    text = json.dumps(rest)[:-1] + f', "cells": [\n{lines}\n]}}\n'
    write_text(Path(path), text)


def read_result(path) -> dict:
    """The JSON that ``lorral experiment --results`` wrote; DataError for another one."""
    result = read_json(path := Path(path))
    if not isinstance(result.get("cells"), list) or not result["cells"]:
        raise DataError(f"{path}: holds no cells of an experiment; name what `lorral experiment` wrote")
    found = [tuple(_checked(path, cell)[name] for name in ("seed", "hiding", "relation_strength", "structure"))
             for cell in result["cells"]]
    whole = {(seed, hiding, *world) for seed, *_ in found for hiding in HIDINGS for world in WORLDS.values()}
    if sorted(found) != sorted(whole):
        raise DataError(f"{path}: its cells are not each world once for each seed; restore it")
    return result


def _checked(path: Path, cell: dict) -> dict:
    """A cell as it is; DataError unless it is of a world of this version and its figures are numbers, one an AU."""
    try:
        count = len(check_aus(cell["aus"]))
        f1 = [[part["mean_f1"], *part["f1"]]
              for found in cell["relations"].values() for part in map(found.get, SCORED)]
        rows = [*f1, *([0, *cell["ceiling"][output][name]] for output in SCORED for name in ("alone", "joint")),
                *([0, *row] for name in ("attention", "expected_phi") for row in cell[name])]
        worlds = [(hiding, *world) for hiding in HIDINGS for world in WORLDS.values()]
        here = cell["hiding"], cell["relation_strength"], cell["structure"]
        fits = (here in worlds and type(cell["seed"]) is int and {"none", "mlp"} <= cell["relations"].keys()
                and len(rows) == len(f1) + 4 + 2 * count and all(len(row) == 1 + count for row in rows)
                and all(type(v) in (int, float) and abs(v) <= 100 for row in rows for v in row))
    except (AttributeError, KeyError, TypeError, ValueError):
        fits = False
    if not fits:
        raise DataError(f"{path}: a cell that is not one of an experiment of this version; restore it or delete it")
    return cell
