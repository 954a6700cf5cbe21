"""``lorral experiment trial``: do relation modules help, and when? Every arm in every world, seed after seed.

A seed has its own people, half of them to train on and half to ask about, 20 more to calibrate on, and two step 1:

- *independent*: trained on faces whose AUs are independent, so that nothing but a relation module can learn relations.
  Step 2 is taught in three worlds of other frames of the same people: ``strength0`` (independent AUs), ``strength1``
  (those of BP4D) and ``again0``, a second draw of ``strength0`` against which a slope must include 0.
- *same*: trained on the very faces of step 2, at full strength, as in the paper; equally many updates.

Pilot seeds come first. From them follows the written question (:mod:`.question`); only then are the faces of the
trial's own seeds drawn. A cell is one (step 1, world, seed) and grows by an arm at a time: what is there is not done
again.

    <results>/<step 1>_<world>_seed<s>.json    figures     <place>/logits/…safetensors    test logits, half precision
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..datasets.folds import fold_rows
from ..datasets.prepared import PreparedFolder, open_prepared
from ..datasets.synthetic import prepare_faces
from ..faces.population import Population
from ..files import read_json, save_tensors, write_json
from ..measure.metrics import always_positive_f1, auc, counts, f1_from_counts
from ..model.lorral import LoRRaL
from ..training.config import RunConfig, Schedule
from ..training.jobs import run_cells
from ..training.run_folder import load_model
from ..training.steps import train_step1
from .arms import ARMS, MODULES, OUTPUTS, Seen, begin, look, moved, rounded, schedule_of, teach
from .ceiling import joint_posterior, pattern_probabilities
from .influence import swap_effect

PEOPLE, CALIBRATION = 120, 20
STEP1_FRAMES, FRAMES, FOLDS, VIEWS = 50, 30, 2, 2
OTHERS = 50_000
"""Added to a seed: the people on whom it is calibrated."""
WORLDS = {"strength0": ({"relation_strength": 0.0}, STEP1_FRAMES), "strength1": ({}, STEP1_FRAMES),
          "again0": ({"relation_strength": 0.0}, STEP1_FRAMES + FRAMES)}
"""Name → (recipe of the population, frames of each person that other folders have)."""
CELLS = [("independent", world) for world in WORLDS] + [("same", "strength1")]
PENALTIES = np.logspace(-4, 0, 5)
"""C of the readers, chosen on held-out training people."""


def run(place, results, seeds, reading: dict, schedules: dict, jobs: int = 2, device=None, progress: bool = True,
        say=print) -> None:
    """All cells of the seeds, in order. ``reading``: fields of the model and of RunConfig; ``schedules``: {arm: (rate,
    epochs)} of step 2."""
    left = {f"seed {seed}": (Path(place), Path(results), seed, reading, schedules, device) for seed in seeds
            if not all(done(results, *cell, seed, schedules) for cell in CELLS)}
    run_cells(run_seed, left, jobs, Path(place), "seeds", progress, say, device)


def cell_file(results, step1: str, world: str, seed: int) -> Path:
    return Path(results) / f"{step1}_{world}_seed{seed}.json"


def done(results, step1: str, world: str, seed: int, schedules: dict) -> bool:
    path = cell_file(results, step1, world, seed)
    return path.exists() and set(schedules) <= set(read_json(path)["arms"])


def run_seed(place: Path, results: Path, seed: int, reading: dict, schedules: dict, device=None) -> None:
    """Both step 1 of a seed, then what is missing of its cells."""
    for step1, world in CELLS:
        if not done(results, step1, world, seed, schedules):
            model = step1_model(place, step1, seed, reading, device)
            run_cell(place, results, model, step1, world, seed, schedules)


def step1_model(place: Path, step1: str, seed: int, reading: dict, device=None) -> LoRRaL:
    """The model after step 1, trained when it is not there yet."""
    run_folder = place / f"{step1}_seed{seed}"
    if not (run_folder / "step1.safetensors").exists():
        independent = step1 == "independent"
        data = (_faces(place / f"step1_faces_seed{seed}", PEOPLE, seed, STEP1_FRAMES, 0, relation_strength=0.0)
                if independent else world_faces(place, "strength1", seed))
        config = RunConfig.lite(data.path, data.aus, seed=seed, folds=FOLDS, threads=1, **reading["changes"])
        s = config.step1
        if not independent:  # fewer frames, as many updates
            more = STEP1_FRAMES / FRAMES
            s = Schedule(round(s.epochs * more), s.lr, s.gamma, round(s.every * more))
        config = replace(config, step1=s, model=replace(config.model, **reading["model"]))
        train_step1(run_folder, config, device, progress=False)
    return load_model(run_folder, device="cpu")


def world_faces(place: Path, world: str, seed: int, others: bool = False) -> PreparedFolder:
    """The faces of a world: of the people trained on and asked about, or of the ``others`` to calibrate on."""
    recipe, skip = WORLDS[world]
    if others:
        return _faces(place / f"{world}_others_seed{seed}", CALIBRATION, seed + OTHERS, FRAMES, skip, **recipe)
    return _faces(place / f"{world}_faces_seed{seed}", PEOPLE, seed, FRAMES, skip, **recipe)


def _faces(out: Path, people: int, seed: int, frames: int, skip: int, **recipe) -> PreparedFolder:
    if not out.exists():
        prepare_faces(out, people, frames, seed=seed, skip=skip, device="cpu", progress=False, **recipe)
    return open_prepared(out)


def run_cell(place: Path, results: Path, model: LoRRaL, step1: str, world: str, seed: int, schedules: dict) -> None:
    """What is missing of one cell: the readers and the reference, then an arm at a time."""
    path = cell_file(results, step1, world, seed)
    faces, others = world_faces(place, world, seed), world_faces(place, world, seed, others=True)
    rows, test = fold_rows(faces, 1, FOLDS)
    seen = look(model, faces, rows, VIEWS, seed)
    asked, known = look(model, faces, test), look(model, others, np.arange(len(others)))
    if path.exists():
        cell = read_json(path)
    else:
        people = np.tile(faces.subjects[rows], VIEWS)
        cell = {"step1": step1, "world": world, "seed": seed, "aus": list(faces.aus),
                "floor": np.round(always_positive_f1(asked.labels), 2).tolist(),
                "readers": {name: rounded(read_tokens(seen, people, asked, every)) for name, every in
                            (("own", False), ("all", True))}, "arms": {}}
        write_json(path, cell, rows=True)
    for name, (rate, epochs) in schedules.items():
        if name in cell["arms"]:
            continue
        start, made = (begin(model, ARMS[name], seed) for _ in range(2))
        losses = teach(made, seen, schedule_of(rate, epochs), seed, VIEWS)
        found, logits = figures(made, asked, known, faces.subjects[test])
        if name == "none":
            people = Population(seed=seed, **WORLDS[world][0])
            cell["reference"] = {output: rounded(reference(*logits[output], asked, known, people))
                                 for output in OUTPUTS}
        quarter = max(1, epochs // 4)
        cell["arms"][name] = {**rounded(found), "rate": rate, "epochs": epochs,
                              "weights": made.parameter_count()["relation"], "moved": round(moved(start, made), 3),
                              "fell_in_last_quarter": round(1 - losses[-1] / losses[-1 - quarter], 4),
                              **(rounded(mechanism(start, made, asked)) if name in MODULES else {})}
        save_tensors(place / "logits" / f"{path.stem}_{name}.safetensors",
                     {output: values[0].half() for output, values in logits.items()})
        write_json(path, cell, rows=True)


# ------------------------------------------------------------------------------------------------------------- figures


@torch.no_grad()
def figures(made: LoRRaL, asked: Seen, known: Seen, subjects) -> tuple[dict, dict]:
    """What an arm's answers are worth, and the logits behind it.

    → {output: AUC, log loss raw and recalibrated, F1 at ½ and at thresholds of other people, AUC in the company of
    another person, each (A,); "per_person": hits, false alarms and misses of the local output for each AU}, {output:
    (logits of those asked, of the others)}.
    """
    made.eval()
    answers = [made.from_features(part.features) for part in (asked, known)]
    logits = {"local": [a.local_au_logits for a in answers], "au": [a.au_logits for a in answers]}
    stranger, found, labels = in_company_of_strangers(made, asked), {}, asked.labels.numpy()
    for output, (mine, theirs) in logits.items():
        p = recalibrated(mine, theirs, known.labels)
        at = thresholds(recalibrated(theirs, theirs, known.labels), known.labels)
        found[output] = {
            "auc": auc(mine, labels), "log_loss": log_loss(expit(mine.numpy()), labels),
            "log_loss_recalibrated": log_loss(p, labels), "f1": f1_from_counts(counts(mine, labels)),
            "f1_thresholds": f1_from_counts(counts(p - at, labels)), "auc_strangers": auc(stranger[output], labels),
        }
    counted = [counts(logits["local"][0][subjects == person], labels[subjects == person])
               for person in dict.fromkeys(subjects)]
    found["per_person"] = [np.stack([c["tp"], c["fp"], c["fn"]], 1).ravel() for c in counted]
    return found, logits


def in_company_of_strangers(made: LoRRaL, asked: Seen) -> dict[str, torch.Tensor]:
    """{output: (N, A) logits}, each AU's with the tokens of all other AUs taken from another person's face."""
    f = asked.features
    other = f.local.roll(FRAMES, 0)  # faces lie person after person
    columns = {output: [] for output in OUTPUTS}
    for a in range(f.local.shape[1]):
        tokens = other.clone()
        tokens[:, a] = f.local[:, a]
        answer = made.from_features(f._replace(local=tokens))
        columns["local"].append(answer.local_au_logits[:, a])
        columns["au"].append(answer.au_logits[:, a])
    return {output: torch.stack(values, 1) for output, values in columns.items()}


def recalibrated(logits, theirs, labels) -> np.ndarray:
    """(N, A) probabilities: each AU's logit through a logistic curve fitted on other people's (Platt 1999)."""
    p = np.empty(logits.shape)
    for a, y in enumerate(np.asarray(labels).T):
        x = np.asarray(theirs)[:, a, None]
        p[:, a] = (y.mean() if len(np.unique(y)) < 2 else
                   LogisticRegression(C=1e6).fit(x, y).predict_proba(np.asarray(logits)[:, a, None])[:, 1])
    return p


def thresholds(p: np.ndarray, labels) -> np.ndarray:
    """(A,) half of each AU's best F1: where calibrated probabilities are to be cut (Lipton et al. 2014)."""
    best = np.zeros(p.shape[1])
    for a, y in enumerate(np.asarray(labels).T):
        order = np.argsort(-p[:, a])
        hits, said = np.cumsum(y[order]), np.arange(1, len(y) + 1)
        best[a] = (2 * hits / (said + max(1, y.sum()))).max()
    return best / 2


def log_loss(p: np.ndarray, labels) -> np.ndarray:
    """(A,) mean cross-entropy in nats."""
    p, y = np.clip(p, 1e-7, 1 - 1e-7), np.asarray(labels)
    return -np.where(y == 1, np.log(p), np.log(1 - p)).mean(0)


def reference(mine, theirs, asked: Seen, known: Seen, people: Population) -> dict:
    """What the true distribution of patterns makes of the arm without relation: figures of each AU. No ceiling: tokens
    may tell more than logits do."""
    prior = pattern_probabilities(people)
    p, q = (joint_posterior(recalibrated(logits, theirs, known.labels), people.rates, prior) for logits in
            (mine, theirs))
    labels = asked.labels.numpy()
    return {"auc": auc(p, labels), "log_loss": log_loss(p, labels),
            "f1_thresholds": f1_from_counts(counts(p - thresholds(q, known.labels), labels))}


def read_tokens(seen: Seen, people, asked: Seen, every: bool) -> dict:
    """AUC of a logistic reader of each AU's own token, or of ``every`` token: what a linear listener finds in them."""
    scores = np.empty(asked.labels.shape)
    for a, y in enumerate(seen.labels.numpy().T):
        x, z = (part.features.local.flatten(1).numpy() if every else part.features.local[:, a].numpy()
                for part in (seen, asked))
        reader = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        search = GridSearchCV(reader, {"logisticregression__C": PENALTIES}, scoring="neg_log_loss", cv=GroupKFold(4))
        scores[:, a] = search.fit(x, y, groups=people).decision_function(z)
    return {"auc": auc(scores, asked.labels.numpy())}


@torch.no_grad()
def mechanism(start: LoRRaL, made: LoRRaL, asked: Seen) -> dict:
    """Effects of one AU on the logit of another, of the module taught and as it began, both read by the taught head;
    its mean attention before and after, where it has one."""
    tokens, found = asked.features.local, {}
    for when, relation in (("start", start.relation), ("taught", made.relation)):
        relation.eval()
        found[f"effects_{when}"] = swap_effect(relation, made.local_head, tokens, asked.labels).numpy()
        relation(tokens)
        if getattr(relation, "attention", None) is not None:
            found[f"attention_{when}"] = relation.attention.mean((0, 1)).numpy()
    return found
