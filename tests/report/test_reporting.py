"""The report from made-up run folders: random counts, random faces, missing and broken pieces."""

import base64
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image
from safetensors.torch import save_file

from lorral_lite.cli import main
from lorral_lite.datasets.writing import PreparedWriter
from lorral_lite.faces import AUS, render_faces
from lorral_lite.facs import AU_SETS
from lorral_lite.files import DataError, load_tensors, save_tensors
from lorral_lite.measure.statistics import holm, paired_gain
from lorral_lite.report.comparison import comparison
from lorral_lite.report.published import audit_published, published
from lorral_lite.report.results import gains, load_grid, load_runs
from lorral_lite.report.tables import tables
from lorral_lite.report.write import find_examples, write_report
from lorral_lite.training.config import RunConfig, Schedule

BP4D = AU_SETS["bp4d"]


def output(rng, shift: float) -> dict:
    """Counts of nine people, 40 frames each; ``shift`` of them are found instead of missed or wrongly claimed."""
    per_subject = {}
    for i in range(9):
        positive = rng.integers(6, 30, len(BP4D))
        tp = np.minimum(positive, (positive * (0.5 + shift + 0.1 * rng.random(len(BP4D)))).astype(int))
        fp = ((40 - positive) * (0.3 - shift) * rng.random(len(BP4D))).astype(int)
        per_subject[f"P{i:03d}"] = {"tp": tp.tolist(), "fp": fp.tolist(), "fn": (positive - tp).tolist(),
                                    "tn": (40 - positive - fp).tolist()}
    total = {k: np.sum([c[k] for c in per_subject.values()], axis=0) for k in ("tp", "fp", "fn", "tn")}
    f1 = 200 * total["tp"] / (2 * total["tp"] + total["fp"] + total["fn"])
    return {"f1": f1.tolist(), "mean_f1": float(f1.mean()), "auc": [80.0] * 12, "mean_auc": 80.0,
            "accuracy": [75.0] * 12, "mean_accuracy": 75.0, "counts": {k: v.tolist() for k, v in total.items()},
            "per_subject": per_subject}


def metrics(relation, shift=0.0, seed=0, licensed=False, source="faces") -> dict:
    rng = np.random.default_rng(seed)
    return {
        "relation": relation, "fold": 1, "folds": 3, "seed": 0, "aus": list(BP4D),
        "data": {"source": source, "licensed": licensed},
        "outputs": {"au": output(rng, shift / 2), "local": output(rng, shift)},
        "always_positive": {"f1": [48.0] * 12, "mean_f1": 48.0},
        "landmarks": {"nme_percent": 4.21, "failure_percent": 0.5}, "frames": 360, "subjects": 9,
        "train_frames": 720, "train_subjects": 18, "seconds": 61.0, "parameters": 1_234_567, "device": "cpu",
    }


RELATIONS = {"none": 0.0, "mlp": 0.01, "bilstm": 0.02, "self_attention": 0.1, "hopfield": -0.1, "series": 0.03}


@pytest.fixture(scope="module")
def faces():
    """Nine people's test faces: three rows of (N, 96, 96, 3) uint8, landmarks and labels."""
    labels = np.random.default_rng(0).integers(0, 2, (18, 12)).astype(np.int8)
    aus = torch.zeros(18, len(AUS))
    for i, au in enumerate(BP4D):
        aus[:, AUS.index(au)] = torch.tensor(labels[:, i] * 0.8)
    made = render_faces(aus, size=96, seed=[n // 2 for n in range(18)], scene=list(range(18)))
    images = (made.images.permute(0, 2, 3, 1).cpu().numpy() * 255).astype(np.uint8)
    return images, made.landmarks.cpu().numpy().astype(np.float32), labels


def make_run(folder, faces=None, relations=RELATIONS, **data):
    """A run folder as training and predict leave it."""
    folder.mkdir(parents=True)
    log = [{"epoch": e, "step": e, "train_loss": 2 / (e + 1), "au": 1 / (e + 1), "local_au": 0.8 / (e + 1),
            "landmark": 0.2 / (e + 1), "lr": 0.01 * 0.3 ** (e // 2), "seconds": 5.0} for e in range(4)]
    lines = "".join(json.dumps(row) + "\n" for row in log)
    config = RunConfig.lite(folder.parent / "prepared", BP4D, step1=Schedule(4), step2=Schedule(4))
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    (folder / "step1_metrics.json").write_text(json.dumps(metrics(None, **data)))
    (folder / "step1_log.jsonl").write_text(lines)
    for name, shift in relations.items():
        (folder / name).mkdir()
        (folder / name / "metrics.json").write_text(json.dumps(metrics(name, shift, **data)))
        (folder / name / "log.jsonl").write_text(lines)
    (folder / "photo").mkdir()
    Image.new("RGB", (60, 40), "green").save(folder / "photo" / "overlay.png")
    (folder / "photo" / "prediction.json").write_text(json.dumps(
        {"photo": "astronaut.png", "nme_percent": 7.93, "withheld": True, "reason": "the mirror image disagrees"}))
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "09_evaluation.ipynb").write_text("{}")
    (folder / "notebooks" / "10_ablation.failed.ipynb").write_text("{}")
    if faces is not None:
        _, landmarks, labels = faces
        with PreparedWriter(folder.parent / "prepared", 96, BP4D, {"source": "faces", "licensed": False}) as writer:
            writer.append([(f"P{n // 2:03d}", "T1", n) for n in range(len(labels))], *faces)
        logits = torch.tensor(labels.astype(np.float32) * 4 - 2)
        logits[0] *= -1
        for name in relations:
            save_file({"au_logits": logits, "local_au_logits": logits + 0, "labels": torch.tensor(labels),
                       "landmarks": torch.tensor(landmarks - 4) + 1, "true_landmarks": torch.tensor(landmarks - 4),
                       "rows": torch.arange(len(labels))}, folder / name / "predictions.safetensors")
    return folder


def page_of(path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf8"), "html.parser")


# ---------------------------------------------------------------------------------------- the published rows


def test_audit_finds_the_five_means_that_do_not_match():
    audit = {(a["dataset"], a["method"]): a for a in audit_published()}
    wrong = {key: a["recomputed"] for key, a in audit.items() if a["mismatch"]}
    assert wrong == pytest.approx({("bp4d", "LSVM"): 36.675, ("bp4d", "DRML"): 47.6917, ("bp4d", "EAC-Net"): 55.5833,
                                   ("disfa", "DRML"): 26.05, ("disfa", "EAC-Net"): 57.4125}, abs=1e-4)
    assert audit["disfa", "LoRRaL(SA)"]["recomputed"] == 61.35
    assert "80.5" in audit["disfa", "EAC-Net"]["note"]
    assert "48.4" in audit["disfa", "EAC-Net"]["note"]
    assert [a["note"] for a in audit.values() if not a["mismatch"]] == [""] * 19


# ---------------------------------------------------------------------------------------- gains and tables


def test_gains_are_the_paired_jackknife_with_one_holm_family(tmp_path):
    run = load_runs(make_run(tmp_path / "run"))
    rows = gains(run)
    assert len(rows) == (5 + 4) * 2
    assert {(g["relation"], g["control"]) for g in rows} == {
        *((r, "none") for r in RELATIONS if r != "none"), *((r, "mlp") for r in RELATIONS if r not in ("none", "mlp"))}
    row = next(g for g in rows if (g["relation"], g["control"], g["output"]) == ("hopfield", "mlp", "local"))
    by_hand = paired_gain(run.relations["hopfield"]["outputs"]["local"]["per_subject"],
                          run.relations["mlp"]["outputs"]["local"]["per_subject"])
    assert (row["gain"], row["low"], row["high"]) == (by_hand.value, by_hand.low, by_hand.high)
    np.testing.assert_allclose([g["p_holm"] for g in rows], holm([g["p"] for g in rows])[0])
    verdicts = {(g["relation"], g["control"]): g["verdict"] for g in rows if g["output"] == "local"}
    assert verdicts["self_attention", "none"] == "gain"
    assert verdicts["hopfield", "none"] == "loss"
    for g in rows:
        assert g["clear"] == (g["corrected_low"] > 0 or g["corrected_high"] < 0) == (g["verdict"] in ("gain", "loss"))


def test_different_people_on_the_two_sides_give_no_gain(tmp_path):
    folder = make_run(tmp_path / "run", relations={"none": 0, "bilstm": 0.1})
    other = metrics("bilstm")
    for part in other["outputs"].values():
        part["per_subject"]["new"] = part["per_subject"].pop("P000")
    (folder / "bilstm" / "metrics.json").write_text(json.dumps(other))
    run = load_runs(folder)
    assert gains(run) == []
    assert "not scored on the same people" in run.problems[0]


def test_tables_hold_what_the_metrics_say(tmp_path):
    grid = load_grid(make_run(tmp_path / "run"))
    run, made = grid.first, {t.id: t for t in tables(grid, [])}
    local = made["f1-local"]
    assert local.columns[2:] == ["no relation", "MLP control", "BiLSTM", "self-attention", "Hopfield", "in series"]
    assert local.rows[3][4].text == f"{run.relations['bilstm']['outputs']['local']['f1'][3]:.1f}"
    assert local.rows[12][:2] == ["mean F1", "48.0"]
    assert local.rows != made["f1-au"].rows
    assert all(len(row) == len(t.columns) for t in made.values() for row in t.rows)
    step1 = dict(zip(made["summary"].columns, made["summary"].rows[1], strict=True))
    assert (step1["accuracy, local"], step1["landmark error"], step1["minutes"]) == ("75.0", "4.21", "1.0")


def test_a_procedural_figure_never_stands_in_a_published_table(tmp_path):
    grid = load_grid(make_run(tmp_path / "run"))
    for table in tables(grid, comparison(grid)):
        if table.id.startswith("published"):
            name = table.id.removeprefix("published-").upper()
            assert table.data == f"another data set: {name}, not comparable"
            assert not table.comparable
            assert "not attempted" in table.note
            methods = {r["method"] for r in published() if r["dataset"] == name.lower()}
            assert {row[0] for row in table.rows} == methods
        elif table.id.startswith("paper"):
            assert table.data == f"{'BP4D' if table.id in ('paper-1', 'paper-3') else 'DISFA'}: nothing measured here"
            assert {row[table.columns.index("ours")] for row in table.rows} == {"–"}
        elif table.id != "audit":
            assert table.data == "procedural faces"
            assert not any("LoRRaL(" in row[0] for row in table.rows)


# ---------------------------------------------------------------------------------------- the report


@pytest.fixture(scope="module")
def report(tmp_path_factory, faces):
    folder = make_run(tmp_path_factory.mktemp("full") / "run", faces)
    return write_report(folder, command="lorral reproduce --out runs/faces")


def test_the_page_is_whole_and_needs_nothing_from_outside(report):
    page = page_of(report)
    assert page.find("script") is None
    for asked in [*page.find_all(src=True), *page.find_all("link")]:
        assert asked.get("src", asked.get("href")).startswith("data:")
    for word in ("url(", "@import"):
        assert word not in page.style.string
    links = [link["href"] for link in page.find_all("a")]
    assert all(page.find(id=link[1:]) for link in links if link.startswith("#"))
    assert "notebooks/09_evaluation.ipynb" in links
    assert not any("failed" in link for link in links)


def test_every_picture_is_a_small_png_with_words(report):
    images = page_of(report).find_all("img")
    assert len(images) == 7  # two outputs, gains, two training curves, test faces, photograph
    for image in images:
        assert len(image["alt"]) > 20
        data = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        assert len(data) <= 150_000
        Image.open(io.BytesIO(data)).verify()


def test_page_and_json_carry_the_same_figures_and_the_page_says_what_they_are_worth(report):
    page = page_of(report)
    document = json.loads(report.with_suffix(".json").read_text(encoding="utf8"))
    value = document["results"]["self_attention"]["local"]["mean_f1"]
    assert value["low"] < value["value"] < value["high"]
    own = page.find(id="f1-local").get_text(" ")
    assert f"{value['value']:.1f}" in own
    assert f"{value['low']:.1f} to {value['high']:.1f}" in own
    assert "LoRRaL" not in own
    assert len(document["gains"]) == 18
    assert sum(a["mismatch"] for a in document["audit"]) == 5
    words = " ".join(page.get_text(" ").split())
    for sentence in ("lorral reproduce --out runs/faces", "18 to train · 9 to test",
                     "The action units are withheld: the mirror image disagrees.",
                     "rained on procedural faces, not validated on photographs",
                     "none of it may stand beside the paper's 63.5 and 61.4"):
        assert sentence in words


def test_test_faces_come_from_the_stored_predictions(tmp_path, faces):
    run = load_runs(make_run(tmp_path / "run", faces))
    found = find_examples(run, count=9)
    assert len(found.names) == len(set(found.names)) == 9  # one per person
    assert find_examples(run, count=9, seed=1).names != found.names
    images, _, labels = faces
    for i in range(9):
        n = next(n for n in range(18) if (images[n, 4:92, 4:92] == found.images[i]).all())
        assert (labels[n] == found.labels[i]).all()
        assert ((found.probabilities[i] > 0.5) == (labels[n] == (n != 0))).all()
    path = next((tmp_path / "run").rglob("self_attention/predictions.safetensors"))
    stored = {name: t.clone() for name, t in load_tensors(path)[0].items()}
    for name, t in (("rows", -stored["rows"]), ("rows", stored["rows"] + 0.5), ("rows", stored["rows"][:, None]),
                    ("labels", stored["labels"] * 0 + 7), ("au_logits", stored["au_logits"][:2]),
                    ("au_logits", stored["au_logits"][:, :1]), ("landmarks", stored["landmarks"][:, :5])):
        save_tensors(path, {**stored, name: t})
        assert find_examples(run) is None
    for path in (tmp_path / "run").rglob("*predictions.safetensors"):  # as published ones, which leave landmarks out
        save_tensors(path, {name: t for name, t in load_tensors(path)[0].items() if "landmarks" not in name})
    assert find_examples(run) is None
    shutil.rmtree(tmp_path / "prepared")
    assert find_examples(run) is None


def test_licence_unknown_counts_as_licensed(tmp_path):
    folder = make_run(tmp_path / "run", relations={})
    left = metrics(None)
    del left["data"]
    (folder / "step1_metrics.json").write_text(json.dumps(left))
    assert load_runs(folder).licensed


# ---------------------------------------------------------------------------------------- missing pieces


@pytest.mark.usefixtures("quick")
def test_an_empty_folder_gives_plain_sentences(tmp_path):
    (tmp_path / "run").mkdir()
    text = page_of(write_report(tmp_path / "run")).get_text()
    for sentence in ("Nothing has been evaluated in this run folder yet.", "step 2 is missing", "no pair to compare",
                     "No training log was found", "No test faces can be shown", "No photograph was looked at",
                     "No notebook was executed"):
        assert sentence in text


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("piece", "content", "sentence"), [
    ("photo/overlay.png", None, "overlay picture is missing"),
    ("config.json", None, "No test faces can be shown"),
    ("bilstm/metrics.json", b"{", "metrics.json of bilstm cannot be read"),
    ("bilstm/metrics.json", b"{}", "metrics.json of bilstm lacks scores"),
    ("bilstm/log.jsonl", b"no json", "log.jsonl of bilstm cannot be read"),
    ("bilstm/log.jsonl", b'{"epoch": "1", "seconds": 2}', "log.jsonl of bilstm cannot be read"),
    ("bilstm/metrics.json", b"[" * 100_000, "metrics.json of bilstm cannot be read"),
    ("config.json", b'{"step1": {"epochs": "many"}}', "config.json of run is not that of a run"),
    ("photo/prediction.json", b'{"nme_percent": "4"}', "prediction.json of photo cannot be read"),
    ("photo/prediction.json", b'{"nme_percent": true}', "prediction.json of photo cannot be read"),
    ("times.json", b'{"step 1": {"a": 1}, "step 2": null}', "times.json holds something else than seconds"),
    ("times.json", b'{"step 1": true, "step 2": -1, "report": 1e300}', "times.json holds something else than seconds"),
    ("photo/overlay.png", b"x" * 200_000, "overlay picture cannot be read"),
])
def test_a_missing_or_broken_piece_is_named_and_left_out(tmp_path, piece, content, sentence):
    folder = make_run(tmp_path / "run", relations={"none": 0, "bilstm": 0.1})
    if content is None:
        (folder / piece).unlink()
    else:
        (folder / piece).write_bytes(content)
    assert sentence in page_of(write_report(folder)).get_text()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("place", "value"), [
    (("outputs", "au", "f1", 3), 1e30), (("outputs", "au", "f1", 3), "50"), (("outputs", "au", "mean_f1"), -1),
    (("outputs", "local", "auc"), 80.0), (("outputs", "au", "per_subject", "P001", "tp", 0), 1e300), (("aus", 0), 99),
    (("always_positive", "f1"), [48.0]), (("landmarks", "nme_percent"), True), (("fold",), "1"), (("landmarks",), ""),
    (("seconds",), float("inf")), (("data", "licensed"), "no"), (("parameters",), [1]),
    (("train_frames",), "many"), (("train_subjects",), [1]),
])  # fmt: skip
def test_metrics_with_a_foreign_number_are_named_and_left_out(tmp_path, place, value):
    folder = make_run(tmp_path / "run", relations={"none": 0, "bilstm": 0.1})
    made = metrics("bilstm")
    part = made
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    (folder / "bilstm" / "metrics.json").write_text(json.dumps(made))
    run = load_runs(folder)
    assert list(run.relations) == ["none"]
    assert [problem.split(" of ")[0] for problem in run.problems] == ["metrics.json"]


def test_a_prepared_folder_is_no_run_folder(tmp_path):
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(DataError, match="a prepared folder; name a run folder"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.usefixtures("quick")
def test_the_command_says_what_a_report_leaves_out(tmp_path, capsys):
    folder = make_run(tmp_path / "run", relations={"none": 0})
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().err == ""
    (folder / "none" / "metrics.json").write_text("{}")
    assert main(["report", str(folder)]) == 2
    said = capsys.readouterr()
    assert said.out == f"{folder / 'report.html'}\n"
    assert said.err.startswith("lorral: metrics.json of none lacks scores")
    assert said.err.count("\n") == 1


@pytest.mark.usefixtures("quick")
def test_one_test_person_gives_scores_without_intervals(tmp_path):
    folder = make_run(tmp_path / "run", relations={})
    for name in ("none", "bilstm"):
        m = metrics(name)
        for part in m["outputs"].values():
            part["per_subject"] = {"P000": part["per_subject"]["P000"]}
        (folder / name).mkdir()
        (folder / name / "metrics.json").write_text(json.dumps(m))
    path = write_report(folder)
    text = path.read_text(encoding="utf8")
    assert "no interval: too few people" in text
    assert "nan" not in page_of(path).get_text()
    assert json.loads(path.with_suffix(".json").read_text())["gains"][0]["p_holm"] is None


@pytest.mark.usefixtures("quick")
def test_names_from_files_cannot_become_markup(tmp_path):
    folder = make_run(tmp_path / "run", relations={}, source="<script>alert(1)</script>")
    assert "<script" not in write_report(folder).read_text(encoding="utf8")


@pytest.mark.usefixtures("quick")
def test_a_run_folder_that_is_not_there_and_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(DataError, match="no such run folder; make one with"):
        write_report(tmp_path / "nowhere")
    folder = make_run(tmp_path / "run", relations={})
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"report.html: cannot be written"):
        write_report(folder, tmp_path / "file" / "report.html")


def test_who_only_reads_results_does_not_wait_for_matplotlib():
    code = ("import sys, lorral_lite.report.published, lorral_lite.report.results, lorral_lite.study.experiment\n"
            "sys.exit('matplotlib' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
