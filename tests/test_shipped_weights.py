"""The weights that ship: small, described by a card that follows from them, and the source of their own scores.

Whatever run was published, these tests hold for it; the last ones publish a tiny run and damage it.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tolerances import same_json

from lorral_lite.datasets import synthetic
from lorral_lite.datasets.prepared import open_prepared
from lorral_lite.faces import Faces
from lorral_lite.files import DataError, data_file, only_one
from lorral_lite.measure.metrics import landmark_errors, summarise
from lorral_lite.report.model_card import model_card
from lorral_lite.reproduce import plan as job
from lorral_lite.reproduce.plan import SHIP_LIMIT, publish
from lorral_lite.training.config import RunConfig, Schedule
from lorral_lite.training.evaluation import evaluate, predict_rows
from lorral_lite.training.origin import origin
from lorral_lite.training.run_folder import load_model, save_weights
from lorral_lite.training.steps import train_step1, train_step2

SHIPPED = data_file("weights", "faces_lite")
NEAR, FAR = 1e-3, 0.25
"""Between logits of the same face drawn twice: at least half of the faces are nearer than NEAR, none farther than FAR.

On one processor a face has the same pixels whenever it is drawn, and only rounding differs. Another processor rounds a
few pixels of some faces to the next grey value, which moves their logits, by less than FAR. Weights that are not those
of the predictions move all faces.
"""


def parts(folder: Path) -> dict:
    """Relation (None: step 1) → metrics and predictions of a folder that ships."""
    found = {None: (json.loads((folder / "step1_metrics.json").read_text()),
                    load_file(folder / "step1_predictions.safetensors"))}
    for path in sorted(folder.glob("*/metrics.json")):
        found[path.parent.name] = json.loads(path.read_text()), load_file(path.parent / "predictions.safetensors")
    return found


def check_metrics_follow_from_predictions(folder: Path) -> None:
    """F1, AUC, accuracy and counts."""
    data = json.loads((folder / "data.json").read_text())
    of_one = data["frames"] // data["subjects"]
    for metrics, predictions in parts(folder).values():
        labels, rows = predictions["labels"].numpy(), predictions["rows"].numpy()
        people = np.array([f"P{row // of_one + 1:03d}" for row in rows])
        assert (len(rows), len(set(people))) == (metrics["frames"], metrics["subjects"])
        for name, key in (("au", "au_logits"), ("local", "local_au_logits")):
            assert same_json(summarise(predictions[key], labels, people), metrics["outputs"][name])


def draw_again(folder: Path, every: int, out: Path):
    """The prepared folder of ``data.json``, where only every n-th face of the test fold is drawn, and those rows."""
    data = json.loads((folder / "data.json").read_text())
    rows = parts(folder)[None][1]["rows"].numpy()[::every]
    draw, first = synthetic.render_faces, [0]

    def draw_wanted(strengths, size, seed, scene, **options):
        wanted = [i for i in range(len(strengths)) if first[0] + i in set(rows.tolist())]
        first[0] += len(strengths)
        one = draw(torch.zeros(1, strengths.shape[1]), size, seed=0, scene=0)  # in the place of all others
        images, points = (x.repeat(len(strengths), *[1] * (x.ndim - 1)) for x in (one.images, one.landmarks))
        if wanted:
            drawn = draw(strengths[wanted], size, seed=seed[wanted], scene=scene[wanted], **options)
            images[wanted], points[wanted] = drawn.images, drawn.landmarks
        return Faces(images, points, occluders=None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "render_faces", draw_wanted)
        return synthetic.prepare_faces(out, data["subjects"], data["frames"] // data["subjects"], data["size"],
                                       seed=data["seed"], device="cpu", progress=False, **data["population"]), rows


def check_predictions_follow_from_weights(folder: Path, faces, rows, record=lambda name, value: None) -> dict:
    """Every n-th test face drawn again, shown to the weights, and compared with the stored labels and logits."""
    answers, every, absorbed = {}, -(-len(parts(folder)[None][1]["rows"]) // len(rows)), []
    for relation, (_, stored) in parts(folder).items():
        found = answers[relation] = predict_rows(load_model(folder, relation, "cpu"), faces, rows)
        assert torch.equal(found["rows"], stored["rows"][::every])
        assert torch.equal(found["labels"], stored["labels"][::every]), "other people or other labels were drawn"
        for key in ("au_logits", "local_au_logits"):
            distance = (found[key] - stored[key][::every]).abs().amax(1)
            assert distance.median() <= NEAR, f"{relation or 'step 1'}: {key} are not those of these weights"
            assert distance.max() <= FAR, f"{relation or 'step 1'}: {key} of some faces are others"
            absorbed.append(("0.0", f"{distance.max():.4f}", float(distance.max()) / FAR))
    record("absorbed", absorbed)
    return answers


def check_card(folder: Path) -> None:
    """The card is what the files say, and its table holds the metrics."""
    card = (folder / "README.md").read_text(encoding="utf8")
    assert card == model_card(folder)
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in card.split("| parameters |")[1].splitlines()
            if line.startswith("| ")]
    metrics = [m for m, _ in parts(folder).values()]
    assert sorted(row[1:] for row in rows[1:]) == sorted(
        [f"{m['outputs']['au']['mean_f1']:.1f}", f"{m['outputs']['local']['mean_f1']:.1f}",
         f"{m['outputs']['au']['mean_auc']:.1f}", f"{m['landmarks']['nme_percent']:.2f}", f"{m['parameters']:,}"]
        for m in metrics)
    assert "trained on procedural faces, not validated on photographs" in card.lower()


def test_what_ships_is_small_and_whole():
    files = [p for p in SHIPPED.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= SHIP_LIMIT == 8_000_000
    assert {p.suffix for p in files} == {".safetensors", ".json", ".jsonl", ".md"}
    assert not json.loads((SHIPPED / "data.json").read_text())["licensed"]
    assert set(parts(SHIPPED)) == {None, "none", "mlp", "bilstm", "self_attention", "hopfield", "series"}


def test_the_shipped_card_follows_from_the_shipped_files():
    check_card(SHIPPED)


def test_the_shipped_metrics_follow_from_the_shipped_predictions():
    check_metrics_follow_from_predictions(SHIPPED)


def test_the_shipped_predictions_follow_from_the_shipped_weights(tmp_path, record_property):
    """Of every tenth test face."""
    check_predictions_follow_from_weights(SHIPPED, *draw_again(SHIPPED, 10, tmp_path / "faces"), record_property)


@pytest.mark.slow
def test_all_of_the_shipped_metrics_and_landmark_errors_follow_from_the_weights(tmp_path, record_property):
    answers = check_predictions_follow_from_weights(SHIPPED, *draw_again(SHIPPED, 1, tmp_path / "faces"),
                                                    record_property)
    for relation, (metrics, _) in parts(SHIPPED).items():
        for name, key in (("au", "au_logits"), ("local", "local_au_logits")):
            found = summarise(answers[relation][key], answers[relation]["labels"], np.zeros(metrics["frames"]))
            assert found["mean_f1"] == pytest.approx(metrics["outputs"][name]["mean_f1"], abs=0.1)
        errors = landmark_errors(answers[relation]["landmarks"], answers[relation]["true_landmarks"])
        assert errors["nme_percent"] == pytest.approx(metrics["landmarks"]["nme_percent"], abs=0.01)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny run of the lite model, of which nothing is ready to be damaged: copy it."""
    out = tmp_path_factory.mktemp("ship")
    faces = synthetic.prepare_faces(out / "data", 3, 6, seed=5, difficulty="easy", device="cpu", progress=False)
    config = RunConfig.lite(faces.path, faces.aus, seed=5, step1=Schedule(1, 0.01), step2=Schedule(1, 0.01))
    train_step1(out / "run", config, "cpu", progress=False)
    train_step2(out / "run", "mlp", "cpu", progress=False)
    for relation in (None, "mlp"):
        evaluate(out / "run", relation, "cpu", progress=False)
    return out / "run"


def test_a_published_run_passes_and_a_changed_one_does_not(run, tmp_path):
    ship = tmp_path / "ship"
    (tmp_path / ".ship.partial" / "ship" / "hopfield").mkdir(parents=True)  # of one that was killed
    with only_one(ship, "publishing"), pytest.raises(DataError, match="another process is publishing it"):
        publish(run, ship)
    publish(run, ship)
    assert not (ship / "hopfield").exists()
    check_card(ship)
    check_metrics_follow_from_predictions(ship)
    drawn, rows = draw_again(ship, 2, tmp_path / "faces")
    check_predictions_follow_from_weights(ship, drawn, rows)
    first = open_prepared(run.parent / "data")
    assert (drawn.images[rows] == first.images[rows]).all()

    weights = load_file(ship / "mlp" / "step2.safetensors")
    weights["local_head.bias"] = weights["local_head.bias"] + 0.002
    save_weights(ship / "mlp" / "step2.safetensors", weights, first.aus, origin(ship, "mlp"))
    with pytest.raises(AssertionError, match="mlp: local_au_logits are not those of these weights"):
        check_predictions_follow_from_weights(ship, drawn, rows)
    metrics = json.loads((ship / "mlp" / "metrics.json").read_text())
    metrics["outputs"]["au"]["mean_f1"] += 0.1
    (ship / "mlp" / "metrics.json").write_text(json.dumps(metrics))
    for check in (check_card, check_metrics_follow_from_predictions):
        with pytest.raises(AssertionError):
            check(ship)


def test_what_is_not_ready_is_not_published(run, tmp_path, monkeypatch):
    half = tmp_path / "half"
    shutil.copytree(run, half)
    (half / "mlp" / "step2.safetensors").unlink()
    with pytest.raises(DataError, match=r"mlp/step2\.safetensors: missing; finish the run first"):
        publish(half, tmp_path / "never")
    assert not (tmp_path / "never").exists()
    monkeypatch.setattr(job, "SHIP_LIMIT", 1000)
    with pytest.raises(DataError, match=r"bytes, more than the 1,000 that may ship"):
        publish(run, tmp_path / "large")
