"""A run folder: what decides a run, its files, each whole or not there, and the model they hold.

One run folder is one (data, fold, seed):

    config.json  step1.safetensors  step1_log.jsonl  step1_metrics.json  step1_predictions.safetensors
    <relation>/  config.json  step2.safetensors  log.jsonl  metrics.json  predictions.safetensors
    features/    what step 2 needs of the training faces (see feature_cache), not in runs that ship

``step2.safetensors`` holds only what step 2 changed. While a step trains, ``step1_resume.safetensors`` or
``step2_resume.safetensors`` holds weights, momentum and log of the last whole epoch.
"""

import json
from pathlib import Path

import torch

from ..datasets.prepared import PreparedFolder, open_prepared
from ..device import pick_device
from ..files import DataError, check_fit, load_tensors, read_json, save_tensors, write_json
from ..model.lorral import LoRRaL
from .config import RunConfig, seed_of, upgraded

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
        return
    there, asked = read_json(path), json.loads(json.dumps(config))
    there = upgraded(there) if isinstance(there, dict) else {}
    if isinstance(there.get("run"), dict):
        there["run"] = upgraded(there["run"])
    if there != asked:
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
    return LoRRaL(config.model)


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
    check_fit(path, weights, state, "its config is another one's")
    needed = ("relation.", "au_head.", "local_head.") if partial else ""  # step 2 brings at least these
    missing = [name for name in state if name not in weights and name.startswith(needed)]
    if missing:
        raise DataError(f"{path}: lacks {missing[0]} and {len(missing) - 1} more; its config is another one's")
    model.load_state_dict(weights, strict=not partial)
