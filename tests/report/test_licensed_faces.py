"""No pixel of a licensed frame reaches a report, a figure or an executed notebook, unless somebody asks for it.

Every frame of a small prepared folder carries stripes of two colours that nothing else here has. Each PNG and JPEG in
the outputs is decoded and searched for them; that they are found with ``show_licensed_faces`` proves the search.
"""

import base64
import html
import io
import json
import re
import shutil
from dataclasses import replace

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_run import copy_run, tiny_config

from lorral_lite.datasets.licensed_faces import drawn_face, shown_faces
from lorral_lite.datasets.prepared import open_prepared
from lorral_lite.datasets.stand_in import write_bp4d, write_image
from lorral_lite.datasets.synthetic import prepare_faces
from lorral_lite.datasets.writing import PreparedWriter
from lorral_lite.files import DataError
from lorral_lite.report.results import load_runs
from lorral_lite.report.write import find_examples, write_report
from lorral_lite.reproduce.cell import execute_notebook
from lorral_lite.reproduce.plan import publish
from lorral_lite.training.config import Schedule
from lorral_lite.training.evaluation import evaluate
from lorral_lite.training.steps import train_step1, train_step2

SIZE = 56
STRIPES = ((255, 0, 255), (0, 255, 0))


def mark(frames: np.ndarray) -> np.ndarray:
    """(N, S, S, 3) frames, below their first line, under stripes of 7 pixels in the two colours."""
    marked = frames.copy()
    for k in range(0, frames.shape[2], 7):
        marked[:, 1:, k : k + 7] = STRIPES[k // 7 % 2]
    return marked


def pictures(text: str) -> list[np.ndarray]:
    """All PNGs and JPEGs that stand in a text as base64, decoded."""
    found = re.findall(r"(?:iVBORw0KGgo|/9j/)[A-Za-z0-9+/\s]+={0,2}", html.unescape(text))
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(code))).convert("RGB")) for code in found]


def shows_stripes(picture: np.ndarray) -> bool:
    """Both colours of the mark, each within 60 of its value (rescaling and JPEG move them), on 0.05 % of the area."""
    return all((np.abs(picture.astype(int) - colour).max(-1) < 60).mean() > 5e-4 for colour in STRIPES)


def texts(notebook) -> str:
    """Every string that a notebook stores, base64 in one piece."""
    def strings(value):
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            return [one for item in value for one in strings(item)]
        return [value] if isinstance(value, str) else []

    return "\n\n~\n\n".join(strings(nbformat.read(notebook, as_version=4)))


@pytest.fixture(scope="module")
def licensed(tmp_path_factory):
    """A licensed prepared folder whose frames are all marked."""
    home = tmp_path_factory.mktemp("licensed")
    plain = prepare_faces(home / "plain", 6, 6, SIZE, progress=False)
    index = list(zip(plain.subjects, plain.tasks, plain.frames, strict=True))
    with PreparedWriter(home / "data", SIZE, plain.aus, {"source": "table", "licensed": True}) as writer:
        writer.append(index, mark(plain.images), plain.landmarks, plain.labels)
    return open_prepared(home / "data")


@pytest.fixture(scope="module")
def run(licensed, tmp_path_factory):
    """A run trained on it for one epoch a step."""
    torch.manual_seed(0)
    config = tiny_config(licensed.path, step1=Schedule(1), step2=Schedule(1), views=1)
    config = replace(config, model=replace(config.model, aus=licensed.aus, image_size=48, frame_size=SIZE))
    folder = tmp_path_factory.mktemp("runs") / "run"
    train_step1(folder, config, "cpu", False)
    evaluate(folder, None, "cpu", False)
    for relation in ("none", "mlp", "self_attention"):
        train_step2(folder, relation, "cpu", False)
        evaluate(folder, relation, "cpu", False)
    return folder


def test_pictures_of_a_licensed_folder_are_drawings(licensed):
    rows = [0, 7, 13]
    drawn = shown_faces(licensed, rows)
    assert drawn.shape == (3, SIZE, SIZE, 3)
    assert drawn.dtype == np.uint8
    assert not any(shows_stripes(picture) for picture in drawn)
    assert (drawn[1] == drawn_face(licensed.landmarks[7], SIZE)).all()
    x, y = np.rint(licensed.landmarks[0, 19]).astype(int)
    assert drawn[0, y, x].sum() < 600 < 700 < drawn[0, 0, 0].sum()  # ink along the eye, none in the corner
    assert (shown_faces(licensed, rows, show_licensed_faces=True) == licensed.images[rows]).all()


def test_a_folder_that_may_be_shown_is_and_one_that_does_not_say_is_not(licensed):
    plain = open_prepared(licensed.path.with_name("plain"))
    assert (shown_faces(plain, [3]) == plain.images[[3]]).all()
    del plain.meta["licensed"]
    assert (shown_faces(plain, [3]) != plain.images[[3]]).any()


def test_the_report_shows_no_licensed_pixel_unless_asked(run, tmp_path):
    closed = write_report(run, tmp_path / "closed.html")
    files = [closed, closed.with_suffix(".json")]
    shown = [picture for file in files for picture in pictures(file.read_text(encoding="utf8"))]
    assert len(shown) >= 3
    assert not any(map(shows_stripes, shown))
    opened = write_report(run, tmp_path / "open.html", show_licensed_faces=True).read_text(encoding="utf8")
    assert any(map(shows_stripes, pictures(opened)))
    assert "must not be shared" in opened


def said(path, value) -> None:
    """Let a meta.json or a metrics.json say whether its faces are licensed."""
    values = json.loads(path.read_text())
    (values["data"] if path.name.endswith("metrics.json") else values)["licensed"] = value
    path.write_text(json.dumps(values))


@pytest.mark.slow
def test_faces_that_may_be_shown_no_more_are_not(licensed, run, tmp_path):
    """Trained when everybody agreed; then one file says otherwise: the folder that lies there now, or what was made."""
    shutil.copytree(licensed.path, tmp_path / "data")
    shutil.copytree(run, tmp_path / "run")
    config = json.loads((tmp_path / "run/config.json").read_text())
    (tmp_path / "run/config.json").write_text(json.dumps(config | {"data": "../data"}))
    for folder in (tmp_path / "data", tmp_path / "run"):
        (folder / ".gitignore").unlink()
    who = [tmp_path / "data/meta.json", tmp_path / "run/data.json", *(tmp_path / "run").rglob("*metrics.json")]
    for path in who:
        said(path, False)
    (tmp_path / "run/photo").mkdir()
    Image.fromarray(mark(np.zeros((1, 60, 80, 3), np.uint8))[0]).save(tmp_path / "run/photo/overlay.png")

    def shown(**more) -> int:
        page = write_report(tmp_path / "run", tmp_path / "page.html", **more).read_text(encoding="utf8")
        return sum(map(shows_stripes, pictures(page)))

    assert shown() == 2  # faces, and the photograph: that they may be seen proves the search
    for path in who:
        said(path, True)
        assert shown() == 0, path
        assert find_examples(load_runs(tmp_path / "run")).images is None
        assert shows_stripes(find_examples(load_runs(tmp_path / "run"), show_licensed_faces=True).images[0])
        assert not shows_stripes(shown_faces(open_prepared(tmp_path / "data"), [0])[0]) or path != who[0]
        assert shown(show_licensed_faces=True) == 2
        said(path, False)
        for folder in (tmp_path / "data", tmp_path / "run"):
            (folder / ".gitignore").unlink(missing_ok=True)  # what the report of licensed faces left
    (tmp_path / "data/.gitignore").write_text("*\n")
    assert shown() == 0
    assert not shows_stripes(shown_faces(open_prepared(tmp_path / "data"), [0])[0])


def test_a_run_holds_no_picture_and_is_not_published(run):
    assert not {p.suffix for p in run.rglob("*")} & {".png", ".jpg", ".html", ".ipynb"}
    with pytest.raises(DataError, match="licensed"):
        publish(run, run.parent / "published")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "values"), [
    ("08_losses_and_two_step_training", {"subjects": 9, "frames": 8, "epochs1": 2, "epochs2": 2}),
    ("09_evaluation", {}),
    ("10_ablation_do_relations_help", {"people": 60}),
])
def test_executed_notebooks_show_no_licensed_pixel(run, tmp_path, name, values):
    done = execute_notebook(name, tmp_path, {"run": str(run), **values}, progress=False)
    shown = pictures(texts(done))
    assert len(shown) >= 4
    assert not any(map(shows_stripes, shown))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_notebook_on_real_data_shows_no_licensed_pixel_unless_asked(tmp_path):
    """Notebook 11 on a folder that does not say that it is a stand-in, its pictures marked."""
    people = ["F001", "M001", "F003", "M002", "F004", "M003"]
    root = write_bp4d(tmp_path / "BP4D", people, frames=6, width=120).root
    (root / "README.txt").unlink()
    for path in root.rglob("*.jpg"):
        with Image.open(path) as picture:
            write_image(path, mark(np.asarray(picture)[None])[0])
    shown = {}
    for asked in (False, True):
        done = execute_notebook("11_bp4d_and_disfa", tmp_path / str(asked), {
            "root": str(root), "show_licensed_faces": asked, "epochs": 1}, progress=False)
        shown[asked] = [shows_stripes(picture) for picture in pictures(texts(done))]
    assert len(shown[False]) >= 6
    assert not any(shown[False])
    assert sum(shown[True]) >= 4


def test_git_ignores_what_comes_from_licensed_faces(licensed, run):
    """Frames and weights are not committed by mistake, even where no .gitignore of ours is above them."""
    for folder in (licensed.path, run):
        assert (folder / ".gitignore").read_text() == "*\n"
    assert not (licensed.path.parent / "plain" / ".gitignore").exists()


def test_scores_on_a_stand_in_are_called_procedural(licensed, run, tmp_path):
    shutil.copytree(licensed.path, tmp_path / "data")
    copy_run(run, tmp_path / "run", "none", "mlp", "self_attention")
    meta = json.loads((tmp_path / "data" / "meta.json").read_text())
    (tmp_path / "data" / "meta.json").write_text(json.dumps(meta | {"stand_in": True}))
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps(config | {"data": "../data"}))
    assert evaluate(tmp_path / "run", None, "cpu", False)["data"]["source"] == "table stand-in (procedural faces)"
    assert load_runs(tmp_path / "run").data_name == "procedural faces"
    assert load_runs(run).data_name != "procedural faces"
