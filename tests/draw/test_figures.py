"""Figures: what is drawn equals what was given, sizes stay small, and wrong input is named."""

import base64
import io
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from lorral_lite.course.ch01_faces import au_atlas, au_displacement, mean_movement, people_sheet
from lorral_lite.course.ch03_04_layers import architecture
from lorral_lite.course.portraits import STUDIO
from lorral_lite.draw import base as figures
from lorral_lite.draw.faces import contact_sheet, overlay, plot_centers, prediction_sheet, show_faces
from lorral_lite.draw.results import f1_bars, gain_plot, matrix, training_curves
from lorral_lite.faces import render_faces
from lorral_lite.facs import AU_SETS
from lorral_lite.landmarks import au_centers, ruler

RELATIONS = ["none", "mlp", "bilstm", "self_attention", "hopfield", "series"]
LOG = [{"epoch": e, "step": e, "train_loss": 2.0 - e / 4, "au": 1.0 - e / 8, "local_au": 0.8, "landmark": 0.2,
        "lr": 0.01 * 0.3 ** (e // 2), "seconds": 1.0} for e in range(5)]


@pytest.fixture(scope="module")
def faces():
    return render_faces({12: 0.8}, size=96, seed=4, scene=4)


def metrics(seed: int) -> dict:
    f1 = np.random.default_rng(seed).uniform(20, 90, 12)
    return {"aus": list(AU_SETS["bp4d"]), "always_positive": {"f1": [30.0] * 11 + [None], "mean_f1": 30.0},
            "outputs": {o: {"f1": [*f1[:11], None], "mean_f1": f1[:11].mean()} for o in ("au", "local")}}


def gain(relation, control="none", output="local", value=1.0, **more):
    return {"relation": relation, "control": control, "output": output, "gain": value, "low": value - 2,
            "high": value + 2, **more}


def drawings(faces):
    image, points = faces.images[0], faces.landmarks[0]
    aus = AU_SETS["bp4d"]
    chances = np.linspace(0, 1, 24).reshape(2, 12)
    return {
        "show_faces": show_faces([image, image], ["a", "b\nc"], landmarks=[points] * 2, centers=True, aus=aus),
        "contact_sheet": contact_sheet([image] * 6, ["p", "q"], ["x", "y", "z"], "Sheet"),
        "plot_centers": plot_centers(points, aus, image),
        "training_curves": training_curves({"none": LOG, "mlp": LOG}, "Two"),
        "f1_bars": f1_bars({r: metrics(i) for i, r in enumerate(RELATIONS)}, intervals={"none": (40, 60)}),
        "gain_plot": gain_plot([gain(r, c, o, clear=r == "mlp") for r in RELATIONS[1:]
                                        for c in ("none", "mlp") for o in ("local", "au")]),
        "matrix": matrix(torch.eye(12) - 0.5, [f"AU{a}" for a in aus], "phi"),
        "overlay": overlay(image, points, dict(zip(aus, chances[1], strict=True))),
        "withheld": overlay(image, points, None, withheld="the mirror image disagrees"),
        "prediction_sheet": prediction_sheet(aus, chances.round().astype(int), chances, [points] * 2,
                                                     [image] * 2, ["P1", "P2"], true_landmarks=[points] * 2),
        "architecture": architecture(),
    }


def test_every_figure_is_small_opaque_and_has_words(faces):
    for name, fig in drawings(faces).items():
        data = figures.png_bytes(fig)
        assert len(data) <= 150_000, name
        picture = Image.open(io.BytesIO(data)).convert("RGBA")
        assert picture.getpixel((0, 0)) == (255, 255, 255, 255), name
        assert picture.getextrema()[3] == (255, 255), name
        assert picture.width >= 400, name
        assert len(fig.alt) > 12, name


def test_a_notebook_shows_the_small_png_and_the_words(faces):
    fig = plot_centers(faces.landmarks[0], (12,), title="my face")
    shown = fig._repr_mimebundle_()
    assert base64.b64decode(shown["image/png"]) == figures.png_bytes(fig)
    assert shown["text/plain"].startswith("<figure: my face: centres of AUs 12")


def test_readers_own_settings_neither_change_nor_are_changed(faces):
    plain = figures.png_bytes(f1_bars({"none": metrics(0)}))
    with matplotlib.rc_context({"font.size": 40, "figure.facecolor": "black", "axes.facecolor": "black"}):
        assert figures.png_bytes(f1_bars({"none": metrics(0)})) == plain
        assert matplotlib.rcParams["font.size"] == 40


def test_png_shrinks_colours_first_and_keeps_white_white():
    fig = show_faces([np.random.default_rng(0).random((200, 200, 3))] * 3)
    limit = 120_000
    with pytest.raises(ValueError, match="does not fit into 100 bytes"):
        figures.png_bytes(fig, 100)
    small = Image.open(io.BytesIO(figures.png_bytes(fig, limit)))
    assert small.mode == "P"
    assert small.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    near = np.random.default_rng(1).integers(235, 256, (120, 120, 3), dtype=np.uint8)
    near[:20], near[20:40] = 255, (0, 114, 178)  # white and the blue of the style, among many pale shades
    kept = np.asarray(figures._quantise(Image.fromarray(near), 256).convert("RGB"))
    assert (kept[:40] == near[:40]).all()
    plain = figures.png_bytes(gain_plot([gain("mlp")]))
    assert figures.shrink_png(plain) == plain
    fewer = Image.open(io.BytesIO(figures.shrink_png(plain, len(plain) * 2 // 3)))
    assert fewer.size == Image.open(io.BytesIO(plain)).size


def test_images_of_every_kind_show_the_same_pixels():
    whole = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    tensor = torch.tensor(whole.transpose(2, 0, 1)) / 255
    np.testing.assert_array_equal(figures.pixels(whole), whole)
    np.testing.assert_allclose(figures.pixels(tensor) * 255, whole, atol=1e-4)
    np.testing.assert_allclose(figures.pixels(torch.tensor(whole)), whole)
    assert figures.pixels(whole[..., 0]).shape == (5, 7)


def test_landmarks_and_centres_are_drawn_where_they_are(faces):
    points = faces.landmarks[0].numpy()
    fig = plot_centers(points, (1, 12, 14), faces.images[0])
    dots = {tuple(np.round(line.get_xydata()[0], 1)) for line in fig.axes[0].lines if line.get_marker() == "o"}
    wanted = au_centers(points.astype(np.float64), (1, 12, 14)).reshape(-1, 2).round(1)
    assert {tuple(p) for p in wanted} == dots
    assert len(dots) == 4  # 12 and 14 share theirs
    assert [t.get_text() for t in fig.axes[0].texts] == ["1", "1", "12 14", "12 14"]
    assert fig.axes[0].get_ylim()[0] > fig.axes[0].get_ylim()[1]  # y grows downward


def test_movement_is_the_mean_over_people_in_rulers():
    neutral, moved = mean_movement((12, 1), people=(3, 5))
    assert neutral.shape == (49, 2)
    assert moved.shape == (2, 49, 2)
    assert ruler(neutral) == pytest.approx(1, abs=1e-6)
    assert moved[0, 31, 1] < 0 < moved[0, 37, 0] - moved[0, 31, 0]  # AU12: mouth corners up and apart
    assert moved[1, [3, 4, 5, 6], 1].max() < -0.05  # AU1: inner brows up
    assert np.abs(moved[1, 31:]).max() < 0.05  # and the mouth stays
    alone = [mean_movement((12, 1), people=(person,))[1] for person in (3, 5)]
    np.testing.assert_allclose(np.mean(alone, 0), moved)


def test_arrows_are_the_movement_and_show_their_unit():
    fig = au_displacement((1, 12), people=(3,))
    neutral, moved = mean_movement((1, 12), people=(3,))
    bar = next(t for t in fig.axes[0].texts if getattr(t, "arrow_patch", None) is not None)
    assert np.hypot(*np.subtract(bar.xy, bar.get_position())) == pytest.approx(1, abs=1e-6)
    assert "1 ruler" in [t.get_text() for t in fig.axes[0].texts]
    for ax, d in zip(fig.axes, moved, strict=True):
        arrows = ax.collections[0]
        big = np.hypot(*d.T) > 0.02
        np.testing.assert_allclose(np.c_[arrows.X, arrows.Y], neutral[big])
        np.testing.assert_allclose(np.c_[arrows.U, arrows.V], d[big])
        assert f"up to {np.hypot(*d.T).max():.2f} rulers" in [t.get_text() for t in ax.texts]


def test_the_atlas_keeps_person_pose_and_light_along_a_row():
    people, face = (7, 8), 64
    fig = au_atlas((12, 26), people, (0.4, 0.5, 1.0), face=face)
    words = [t.get_text() for t in fig.axes[0].texts]
    assert words[:2] == ["AU12 lip corner puller", "AU26 jaw drop"]
    assert words[2:] == ["0", "B", "0.5", "E"] * 2 + ["person 7", "person 8"]
    sheet = np.asarray(fig.axes[0].images[0].get_array())
    h, w = (sheet.shape[0] - 1) // 2, (sheet.shape[1] - 7) // 8
    left, top = round((0.5 - 1.95 * 0.16) * face), round((0.475 - 2.4 * 0.16) * face)
    for row, au in enumerate((12, 26)):
        for column in range(8):
            whole = render_faces({au: (0, 0.4, 0.5, 1.0)[column % 4]}, face, people[column // 4], **STUDIO)
            cell = sheet[row * (h + 1):row * (h + 1) + h, column * (w + 1):column * (w + 1) + w]
            expected = whole.images[0, :, top:top + h, left:left + w].permute(1, 2, 0).numpy()
            np.testing.assert_allclose(cell, expected, atol=1e-6)


def test_the_atlas_cuts_out_what_moves_and_refuses_other_parts():
    heights = {}
    for part in ("face", "upper", "lower"):
        sheet = au_atlas((4,), (7,), (1.0,), part=part, face=100).axes[0].images[0].get_array()
        heights[part] = sheet.shape[0]
        half = sheet.shape[1] // 2
        assert np.abs(sheet[:, :half] - sheet[:, -half:]).mean() > (0.002 if part != "lower" else 0)
    assert heights["upper"] < heights["lower"] < heights["face"]
    with pytest.raises(ValueError, match="part must be one of face, upper, lower, got 'chin'"):
        au_atlas(part="chin")
    with pytest.raises(ValueError, match="intensity of AU4 must lie between 0 and 1"):
        au_atlas((4,), intensities=(2.0,), face=48)


def test_the_sheet_of_the_readme_is_what_the_code_draws():
    stored = Path(__file__).parents[2] / "data" / "pictures" / "faces.jpg"
    assert stored.stat().st_size <= 300_000
    drawn = io.BytesIO()
    people_sheet().savefig(drawn, format="jpg", pil_kwargs={"quality": 85})
    kept, now = (np.asarray(Image.open(x)).astype(float) for x in (stored, drawn))
    assert kept.shape == now.shape
    assert np.abs(kept - now).mean() < 1  # of 255: fonts may differ, faces may not


def test_a_sheet_puts_each_face_in_its_place():
    images = [np.full((10, 10, 3), v, dtype=np.uint8) for v in range(0, 60, 10)]
    shown = contact_sheet(images, ["r", "s"], ["a", "b", "c"]).axes[0].images[0].get_array()
    for i in range(6):
        y, x = divmod(i, 3)
        np.testing.assert_allclose(shown[y * 11 + 5, x * 11 + 5], i * 10 / 255, atol=1e-6)


def test_curves_plot_the_log():
    fig = training_curves(LOG)
    assert len(fig.axes) == 2
    total = fig.axes[0].lines[0]
    assert total.get_xdata().tolist() == [1, 2, 3, 4, 5]
    assert total.get_ydata().tolist() == [row["train_loss"] for row in LOG]
    assert [t.get_text() for t in fig.axes[-1].get_legend().get_texts()] == [
        "total", "AU output", "local output", "landmarks"]
    assert fig.axes[1].get_yscale() == "log"
    scored = training_curves([{**row, "val_mean_f1": 50 + row["epoch"]} for row in LOG])
    assert scored.axes[2].lines[0].get_ydata().tolist() == [50, 51, 52, 53, 54]


def test_bars_are_the_floor_and_marks_the_scores():
    given = {"none": metrics(0), "hopfield": metrics(1)}
    ax = f1_bars(given, output="au").axes[0]
    heights = [p.get_height() for p in ax.patches if abs(p.get_width() - 0.86) < 1e-9]
    np.testing.assert_allclose(heights, [30.0] * 11 + [np.nan, 30.0])
    marks = {line.get_label(): line.get_ydata() for line in ax.lines}
    for name, label in (("none", "no relation"), ("hopfield", "Hopfield")):
        part = given[name]["outputs"]["au"]
        np.testing.assert_allclose(marks[label], [*part["f1"][:11], np.nan, part["mean_f1"]])
    assert [t.get_text() for t in ax.get_xticklabels()] == [*(f"AU{a}" for a in AU_SETS["bp4d"]), "mean"]


def test_gain_plot_draws_intervals_and_fills_what_is_clear():
    fig = gain_plot([gain("bilstm", value=1.5, clear=False), gain("series", value=3.0, clear=True),
                             gain("series", "mlp", value=-1.0) | {"low": None, "high": None}])
    assert [ax.get_title() for ax in fig.axes] == ["against no relation", "against MLP control"]
    marks = [line for line in fig.axes[0].lines if line.get_marker() == "D"]
    assert [line.get_xdata()[0] for line in marks] == [1.5, 3.0]
    assert [line.get_markerfacecolor() == "white" for line in marks] == [True, False]
    spans = [line.get_xdata() for line in fig.axes[0].lines if line.get_linewidth() == 2.6]
    assert [list(s) for s in spans] == [[-0.5, 3.5], [1.0, 5.0]]
    assert not [line for line in fig.axes[1].lines if line.get_linewidth() == 2.6]


def test_matrix_is_centred_on_zero_only_when_signed():
    signed = matrix([[1, -0.2], [-0.2, 1]], ["a", "b"]).axes[0]
    assert signed.images[0].get_clim() == (-0.2, 0.2)  # the diagonal does not wash out the rest
    assert [t.get_text() for t in signed.texts] == ["1", "−.20", "−.20", "1"]
    weights = matrix([[0.1, 0.9]], ["q"], column_labels=["a", "b"], limit=1.0).axes[0]
    assert weights.images[0].get_clim() == (0, 1)
    assert weights.images[0].get_cmap().name != signed.images[0].get_cmap().name


def test_overlay_always_warns_and_withholds_when_told(faces):
    image, points = faces.images[0], faces.landmarks[0]
    shown = overlay(image, points, {12: 0.9, 4: 0.2})
    hidden = overlay(image, points, {12: 0.9}, withheld="the mirror image disagrees")
    for fig in (shown, hidden):
        assert fig._supxlabel.get_text() == "Trained on procedural faces, not validated on photographs."
    assert [p.get_width() for p in shown.axes[1].patches] == [0.9, 0.2]
    assert not hidden.axes[1].patches
    assert "the mirror image disagrees" in [t.get_text() for t in hidden.axes[1].texts]


def test_prediction_sheet_tells_found_missed_and_wrong_apart(faces):
    points = [faces.landmarks[0]] * 2
    fig = prediction_sheet((1, 2, 4, 6), [[1, 1, 0, 0], [0, 0, -1, -1]],
                                   [[0.9, 0.1, 0.8, 0.2], [0.1, 0.1, 0.9, 0.1]], points)
    said = [[t.get_text() for t in ax.texts] for ax in fig.axes]
    assert said == [["1", "(2)", "+4"], ["none, rightly"]]
    assert not fig.axes[0].images  # no pixels where none are given


@pytest.mark.parametrize(("call", "message"), [
    (lambda p: show_faces([]), "no face to show"),
    (lambda p: show_faces([np.zeros((4, 4, 3))], ["a", "b"]), "1 images need 1 titles, got 2"),
    (lambda p: show_faces([np.zeros((4, 4, 3))], landmarks=[p], centers=True), "aus must name"),
    (lambda p: show_faces([np.zeros((4, 5))], landmarks=[p[:48]]), r"must be \(49, 2\), got \(48, 2\)"),
    (lambda p: figures.pixels(np.zeros((2, 4, 4))), r"an image must be .*got \(2, 4, 4\)"),
    (lambda p: figures.pixels(np.full((4, 4, 3), 7.0)), "must lie in 0–1, got 7 to 7"),
    (lambda p: contact_sheet([np.zeros((4, 4, 3))], ["a"], ["b", "c"]), "needs 2 images, got 1"),
    (lambda p: plot_centers(p, (1, 3)), "unknown action unit 3"),
    (lambda p: training_curves([]), "the log is empty"),
    (lambda p: f1_bars({}), "no relation to draw"),
    (lambda p: f1_bars({"none": metrics(0)}, output="best"), "unknown output 'best': choose from local, au"),
    (lambda p: gain_plot([]), "no gain to draw"),
    (lambda p: matrix(np.zeros((2, 3)), ["a", "b"]), "do not fit 2 rows and 2 columns"),
    (lambda p: prediction_sheet((1, 2), [[1, 0]], [[0.1]], [p]), r"must be \(N, 2\)"),
])
def test_wrong_input_is_named(call, message, faces):
    with pytest.raises(ValueError, match=message):
        call(faces.landmarks[0].numpy())
