"""A run folder: what decides a run, its files, each whole or not there, and the model they hold.

One run folder is one (data, fold, seed):

    data.json    what it learned from (see origin)
    config.json  step1.safetensors  step1_log.jsonl  step1_metrics.json  step1_predictions.safetensors
    <relation>/  config.json  step2.safetensors  log.jsonl  metrics.json  predictions.safetensors
    features/    what step 2 needs of the training faces (see feature_cache), not in runs that ship

``step2.safetensors`` holds only what step 2 changed. While a step trains, ``step1_resume.safetensors`` or
``step2_resume.safetensors`` holds weights, momentum and log of the last whole epoch.
"""

import json
from dataclasses import replace
from pathlib import Path

import torch

from ..device import pick_device
from ..files import DataError, check_fit, load_tensors, only_one, read_json, save_tensors, write_json
from ..model.lorral import LoRRaL
from .config import RunConfig, seed_of, upgraded
from .origin import compare, data_record, faces_of, open_fold, origin, settings, stored_path, write_record

# ----------------------------------------------------------------------------------------- config, data and the model


def read_run_config(run) -> RunConfig:
    """The config of a run folder, its faces as seen from here; a file that is no such config is a DataError."""
    path = Path(run) / "config.json"
    values = read_json(path)
    try:
        config = RunConfig.from_dict(values)
        return replace(config, data=faces_of(run, values))
    except DataError:  # of the record beside it
        raise
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the config of a run folder ({error}); name the folder that holds "
                        "step1.safetensors") from None


def claim(run: Path, config: RunConfig, relation: str | None = None, options: dict | None = None) -> None:
    """Write the config of a run or of a relation in it, or check that the folder was made with the same one. Where the
    faces lie may change: that they are the same is asked by :func:`.origin.open_fold`."""
    values = {**config.to_dict(), "data": stored_path(config.data, run)}
    path = run / "config.json"
    if relation is not None:
        values, path = {"relation": relation, "options": options, "run": settings(values)}, run / relation / path.name
    asked = json.loads(json.dumps(values))
    there = read_json(path) if path.exists() else None
    if there == asked:
        return
    if there is not None:
        there = upgraded(there) if isinstance(there, dict) else {}
        if isinstance(there.get("run"), dict):
            there["run"] = settings(upgraded(there["run"]))
        if names := [name for name in {**there, **asked} if name != "data" and there.get(name) != asked.get(name)]:
            raise DataError(f"{path}: this folder holds a run with other settings ({', '.join(names)}); choose another "
                            "run folder")
        if "data" not in asked or data_record(run) is None:
            return  # as an older version wrote it
    write_json(path, asked)


def new_model(config: RunConfig) -> LoRRaL:
    """A freshly initialised step-1 model, seeded by the run's seed."""
    torch.manual_seed(seed_of(config.seed, 0, 0))
    return LoRRaL(config.model)


def load_model(run, relation: str | None = None, device=None) -> LoRRaL:
    """The model of a run folder in eval mode: after step 1, or after step 2 with the named relation.

    A wrong architecture or AU list, weights of other faces, settings or another step 1, a truncated file or a pickle is
    a DataError that says so.
    """
    run = Path(run)
    config = read_run_config(run)
    try:
        model = new_model(config)
    except Exception as error:  # PyTorch raises many kinds on sizes that make no model
        raise DataError(f"{run / 'config.json'}: no model can be made of its sizes ({error}); restore it") from None
    _load(model, run, None)
    if relation is not None:
        path = run / relation / "config.json"
        values = read_json(path)
        try:
            model.set_relation(values["relation"], seed=0, **values["options"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: not the config of a relation of this run ({error}); train it again") from None
        _load(model, run, relation)
    return model.to(pick_device(device)).eval()


def step1_of(first: Path, run: Path, config: RunConfig) -> None:
    """Begin ``run``, with other settings or other faces of the same training people, with the step 1 of ``first``."""
    fold = open_fold(run, config)
    with only_one(run, "training"):
        write_record(run, config, *fold)
        claim(run, config)
        there, here = data_record(first), data_record(run)
        if there is None or [there.get(name) for name in PEOPLE] != [here.get(name) for name in PEOPLE]:
            raise DataError(f"{first}: its step 1 was not trained on the people that {run} trains on; train it there")
        if not (run / "step1.safetensors").exists():
            weights, metadata = load_tensors(first / "step1.safetensors")
            compare(first / "step1.safetensors", metadata, origin(first), first / "config.json")
            save_weights(run / "step1.safetensors", weights, config.model.aus, origin(run))


PEOPLE = ("source", "seed", "train")
"""Of a record what tells who was trained on: drawn people have the same names with every seed."""


def save_weights(path: Path, weights: dict, aus, made: dict) -> None:
    """Write weights with the AUs they are for, which equal shapes do not tell, and what they were made of."""
    save_tensors(path, weights, {"aus": " ".join(map(str, aus)), **made})


def _load(model: LoRRaL, run: Path, relation: str | None) -> None:
    path = run / relation / "step2.safetensors" if relation else run / "step1.safetensors"
    weights, metadata = load_tensors(path)
    aus = " ".join(map(str, model.config.aus))
    if metadata.get("aus", aus) != aus:
        raise DataError(f"{path}: these weights are for AUs {metadata['aus']}, the config says {aus}; its config is "
                        "another one's")
    state = model.state_dict()
    check_fit(path, weights, state, "its config is another one's")
    needed = ("relation.", "au_head.", "local_head.") if relation else ""  # step 2 brings at least these
    missing = [name for name in state if name not in weights and name.startswith(needed)]
    if missing:
        raise DataError(f"{path}: lacks {missing[0]} and {len(missing) - 1} more; its config is another one's")
    compare(path, metadata, origin(run, relation), run)
    model.load_state_dict(weights, strict=not relation)
