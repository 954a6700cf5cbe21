"""The model card that stands beside weights that ship: everything in it comes from the files in the same folder."""

from pathlib import Path

from ..draw.faces import PHOTO_WARNING
from ..files import read_json
from ..model.relations import RELATIONS, label_of
from ..training.run_folder import read_run_config

RECIPE = ("profile", "difficulty", "relation_strength", "structure", "hidden")
"""What of a population fixes its faces, beside the numbers of people and frames, the size and the seed."""


def data_record(meta: dict) -> dict:
    """What ``data.json`` of weights that ship keeps of the ``meta.json`` of their prepared folder."""
    kept = {name: meta[name] for name in ("source", "licensed", "seed", "subjects", "frames", "size", "aus", "sha256")
            if name in meta}
    population = meta.get("population") or {}
    return {**kept, "population": {name: population[name] for name in RECIPE if name in population}}


def model_card(folder) -> str:
    """The README.md of a folder with a run's weights, metrics and ``data.json``, as Markdown."""
    folder = Path(folder)
    config, data = read_run_config(folder), read_json(folder / "data.json")
    found = {"step 1": read_json(folder / "step1_metrics.json")}
    found |= {name: read_json(folder / name / "metrics.json") for name in RELATIONS
              if (folder / name / "metrics.json").exists()}
    one, people = found["step 1"], data["population"]
    setting = ", ".join(f"{name.replace('_', ' ')} {people[name] or 'none'}" for name in RECIPE if name in people)
    floor = one["always_positive"]["mean_f1"]
    scores = [f"| always positive | {floor:.1f} | {floor:.1f} | – | – | – |"]
    for name, metrics in found.items():
        au, local = metrics["outputs"]["au"], metrics["outputs"]["local"]
        auc = "–" if au["mean_auc"] is None else f"{au['mean_auc']:.1f}"
        scores.append(f"| {label_of(name)} | {au['mean_f1']:.1f} | {local['mean_f1']:.1f} | {auc} | "
                      f"{metrics['landmarks']['nme_percent']:.2f} | {metrics['parameters']:,} |")
    weights = [folder / "step1.safetensors", *(folder / name / "step2.safetensors" for name in found
                                               if name != "step 1")]
    sizes = [f"| `{path.relative_to(folder).as_posix()}` | {path.stat().st_size:,} |" for path in weights]
    step1, step2 = config.step1, config.step2
    return "\n".join([
        f"# {folder.name}: LoRRaL {config.model.name}() on procedural faces",
        "",
        f"**{PHOTO_WARNING[0].upper()}{PHOTO_WARNING[1:]}.** This card is written by `publish` in "
        "`lorral_lite/reproduce/plan.py` from the files beside it.",
        "",
        "## Model",
        "",
        f"AUs {', '.join(map(str, config.model.aus))} and 49 landmarks of an aligned face of "
        f"{config.model.image_size} px. `step1.safetensors` is the whole model without a relation; each folder holds "
        "what step 2 changed: a relation module and new AU heads.",
        "",
        "```python",
        "from lorral_lite.files import data_file",
        "from lorral_lite.training.run_folder import load_model",
        "",
        f'model = load_model(data_file("weights", "{folder.name}"), "self_attention")',
        "```",
        "",
        "| Weights | bytes |",
        "|---|--:|",
        *sizes,
        "",
        "## Data",
        "",
        f"{data['frames']:,} procedural faces of {data['subjects']} people, drawn by `lorral prepare faces` with seed "
        f"{data['seed']}: {setting}. `data.json` has the checksums. No face of a real person.",
        "",
        f"Fold {one['fold']} of {one['folds']}: {one['train_frames']:,} frames of {one['train_subjects']} people to "
        f"train on, {one['frames']:,} frames of {one['subjects']} other people for the scores below.",
        "",
        "## Training",
        "",
        f"Seed {config.seed}; loss `{config.loss}`, batches of {config.batch_size}; step 1 {step1.epochs} epochs from "
        f"{step1.lr:g} × {step1.gamma:g} every {step1.every}, step 2 {step2.epochs} epochs from {step2.lr:g} × "
        f"{step2.gamma:g} every {step2.every}"
        + (f" on the features of {config.views} fixed views (D18)" if config.views else "") + "; "
        + ("last epoch, no selection." if config.select == "last" else "best epoch on held-out training people."),
        f"On {one['device']}: {(one['seconds'] or 0) / 60:.1f} minutes for step 1, "
        f"{sum(m['seconds'] or 0 for n, m in found.items() if n != 'step 1') / 60:.1f} for all of step 2.",
        "",
        "    lorral reproduce --subjects {} --frames {} --fold {} --seed {}".format(
            data["subjects"], data["frames"] // data["subjects"], config.fold, config.seed)
        + (f" --threads {config.threads}" if config.threads else ""),  # D105 CPU threads decide last bits
        "    make weights",
        "",
        "## Scores on unseen procedural people",
        "",
        "Means over the AUs in %. Landmark error in % of the inter-ocular distance. Every AU and every person's counts "
        "are in the `metrics.json` files, the logits and labels behind them in `predictions.safetensors`.",
        "",
        "| | F1, AU output | F1, local output | AUC, AU output | landmark error | parameters |",
        "|---|--:|--:|--:|--:|--:|",
        *scores,
        "",
        "## Limits",
        "",
        "- Scores on drawings with known labels. They are never comparable with scores on BP4D or DISFA.",
        "- Not validated on photographs: there, AUs are withheld when the landmarks do not hold together (D51).",
        "- One seed and one fold: how much another would change is not in these numbers.",
        "- AUs are movements, not feelings. Not for decisions about people.",
        "",
        "## Licence",
        "",
        "The weights and numbers are BSD-3-Clause, as the code.",
        "",
    ])
