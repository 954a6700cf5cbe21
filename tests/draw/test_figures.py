"""Figures: what is drawn is what was given, sizes stay small, and wrong input is named."""

import base64
import functools
import io
import math

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image

from lorral_lite.course.ch09_evaluation import plot_floor
from lorral_lite.draw import base as figures
from lorral_lite.draw.faces import contact_sheet, overlay, part_grid, plot_centers, prediction_sheet, show_faces
from lorral_lite.draw.results import bars, f1_bars, gain_plot, matrix, plot_estimates, training_curves
from lorral_lite.faces import render_faces
from lorral_lite.facs import AU_SETS
from lorral_lite.landmarks import au_centers
from lorral_lite.measure.statistics import Estimate

AUS = AU_SETS["bp4d"]
LOG = [{"epoch": e, "train_loss": 2.0 - e / 4, "au": 1.0, "local_au": 0.8, "landmark": 0.2, "lr": 0.01,
        "val_mean_f1": 50 + e} for e in range(5)]
GREYS = [np.full((10, 10, 3), v, dtype=np.uint8) for v in range(0, 60, 10)]
SEEN = np.pad(np.ones((4, 4)), ((4, 8), (8, 4)))


@functools.cache
def face():
    faces = render_faces({12: 0.8}, size=96, seed=4, scene=4)
    return faces.images[0].permute(1, 2, 0).numpy(), faces.landmarks[0].numpy()


def metrics(seed: int) -> dict:
    f1 = [*np.random.default_rng(seed).uniform(20, 90, 11), None]
    return {"aus": list(AUS), "always_positive": {"f1": [30.0] * 11 + [None], "mean_f1": 30.0},
            "outputs": {o: {"f1": f1, "mean_f1": np.mean(f1[:11])} for o in ("au", "local")}}


def gain(relation, value, clear=True):
    return {"relation": relation, "control": "none", "output": "local", "gain": value, "low": value - 2,
            "high": value + 2, "clear": clear}


def estimate(value, half):
    return Estimate(value, 0.0, value - half, value + half, math.nan, 5)


def shown(fig, panel=0, layer=0):
    return np.asarray(fig.axes[panel].images[layer].get_array())


def line(fig, panel=0, number=0):
    return fig.axes[panel].lines[number].get_xydata()


def spans(fig):
    """Ends of the horizontal lines."""
    ends = (list(line.get_xdata()) for line in fig.axes[0].lines)
    return [x for x in ends if len(x) == 2 and x[0] < x[1]]


def dots(fig):
    return sorted(tuple(line.get_xydata()[0].round(1)) for line in fig.axes[0].lines if line.get_marker() == "o")


DRAWN = {
    "show_faces": (lambda: show_faces([GREYS[0], face()[0]], ["a", "b\nc"], landmarks=[face()[1]] * 2, centers=True,
                                      aus=AUS), lambda fig: (shown(fig, 1), face()[0])),
    "contact_sheet": (lambda: contact_sheet(GREYS, ["p", "q"], ["x", "y", "z"], "Sheet"),
                      lambda fig: (255 * shown(fig)[5::11, 5::11, 0], [[0, 10, 20], [30, 40, 50]])),
    "plot_centers": (lambda: plot_centers(face()[1], (1, 12, 14), face()[0]), lambda fig: (dots(fig), np.unique(
        au_centers(face()[1].astype(np.float64), (1, 12, 14)).reshape(-1, 2).round(1), axis=0))),
    "part_grid": (lambda: part_grid([np.zeros((16, 16, 3))], 4, ["the part"], part=(1, 2), seen=[SEEN]),
                  lambda fig: (shown(fig, layer=1)[..., 3] > 0, SEEN)),
    "prediction_sheet": (lambda: prediction_sheet(AUS, [[1] * 12], [[0.9] * 12], [face()[1]], [face()[0]], ["P1"],
                                                  true_landmarks=[face()[1]]), lambda fig: (shown(fig), face()[0])),
    "overlay": (lambda: overlay(*face(), {12: 0.9, 4: 0.2}),
                lambda fig: ([bar.get_width() for bar in fig.axes[1].patches], [0.9, 0.2])),
    "training_curves": (lambda: training_curves(LOG),
                        lambda fig: (line(fig), [(row["epoch"] + 1, row["train_loss"]) for row in LOG])),
    "training_curves, F1": (lambda: training_curves({"none": LOG, "mlp": LOG[:2]}, "Two"),
                            lambda fig: (line(fig, 2, 1), [(1, 50), (2, 51)])),
    "f1_bars": (lambda: f1_bars({"none": metrics(0), "hopfield": metrics(1)}, intervals={"none": (40, 60)}),
                lambda fig: (fig.axes[0].lines[2].get_ydata(), np.array(
                    [*metrics(1)["outputs"]["local"]["f1"], metrics(1)["outputs"]["local"]["mean_f1"]], dtype=float))),
    "gain_plot": (lambda: gain_plot([gain("bilstm", 1.5), gain("series", 3.0)]),
                  lambda fig: (spans(fig), [(-0.5, 3.5), (1.0, 5.0)])),
    "gain_plot, clear ones filled": (
        lambda: gain_plot([gain("bilstm", 1.5, clear=False), gain("series", 3.0)]), lambda fig: (
            [(mark.get_xdata()[0], mark.get_markerfacecolor() != "white") for mark in fig.axes[0].lines
             if mark.get_marker() == "D"], [(1.5, False), (3.0, True)])),
    "matrix": (lambda: matrix([[0.1, 0.9]], ["q"], column_labels=["a", "b"]),
               lambda fig: (shown(fig), [[0.1, 0.9]])),
    "matrix, scaled without its diagonal": (lambda: matrix(torch.eye(12) - 0.2, [f"AU{a}" for a in AUS], "phi"),
                                            lambda fig: (fig.axes[0].images[0].get_clim(), (-0.2, 0.2))),
    "bars": (lambda: bars({"a": [1, 20], "b": [3, 4]}, ["x", "y"], "T", "%", log=True), lambda fig: (
        [bar.get_height() for group in fig.axes[0].containers for bar in group], [1, 20, 3, 4])),
    "plot_estimates": (lambda: plot_estimates({"x": {"a": estimate(1, 0.5), "b": estimate(2, math.nan)}}, "T", "F1"),
                       lambda fig: (line(fig)[:, 0], (0.5, 1.5))),
}
"""What a picture is about → how it is drawn, and what is seen of it beside what was given."""


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_shows_what_it_was_given_is_small_and_opaque_and_has_words(name):
    draw, seen_and_given = DRAWN[name]
    fig = draw()
    np.testing.assert_allclose(*seen_and_given(fig), atol=1e-6)
    in_a_notebook = fig._repr_mimebundle_()
    assert in_a_notebook["text/plain"] == f"<figure: {fig.alt}>"
    assert len(fig.alt) > 7
    data = base64.b64decode(in_a_notebook["image/png"])
    assert len(data) <= 150_000
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    assert picture.getpixel((0, 0)) == (255, 255, 255, 255)
    assert picture.getextrema()[3] == (255, 255)


def test_readers_own_settings_neither_change_nor_are_changed():
    plain = figures.png_bytes(f1_bars({"none": metrics(0)}))
    with matplotlib.rc_context({"font.size": 40, "figure.facecolor": "black", "axes.facecolor": "black"}):
        assert figures.png_bytes(f1_bars({"none": metrics(0)})) == plain
        assert matplotlib.rcParams["font.size"] == 40


@pytest.mark.parametrize("settings", [
    {"text.usetex": True}, {"savefig.bbox": "tight", "savefig.dpi": 20, "savefig.transparent": True},
    {"font.family": "no such font", "axes.formatter.use_mathtext": True}])
def test_a_figure_that_is_drawn_later_does_not_depend_on_the_readers_settings_either(settings):
    def saved(settings):
        fig, file = training_curves(LOG), io.BytesIO()
        with matplotlib.rc_context(settings):
            fig.axes[0].text(0.1, 0.1, "later", fontsize=9, color="red")
            fig.savefig(file, format="png")
        return file.getvalue()

    assert saved(settings) == saved({})


def test_names_in_figures_are_no_mathematics_but_powers_and_formulas_are():
    names = ["$x^2$", "a$5_b$6", "$\\frac{$"]
    figs = [show_faces(GREYS[:3], names), contact_sheet(GREYS, names[:2], names), matrix(np.eye(3), names, "$t$"),
            f1_bars({name: metrics(0) for name in names}, title="$\\frac{$"), bars({"$a$": [1, 2]}, ["$b$", "c"])]
    for fig in figs:
        figures.png_bytes(fig)
        shown = [text for text in fig.findobj(Text) if "$" in text.get_text()]
        assert len(shown) >= 2
        assert not any(text.get_parse_math() for text in shown)
    fig = bars({"a": [1, 2000]}, ["$b$", "c"], log=True)
    figures.png_bytes(fig)
    assert all(label.get_parse_math() for label in fig.axes[0].yaxis.get_ticklabels())
    formula = plot_floor({"$BP4D$": {1: 0.2, 2: 0.3}})
    figures.png_bytes(formula)
    assert [t.get_text() for t in formula.findobj(Text) if "$" in t.get_text() and t.get_parse_math()] == [
        r"$\frac{2r}{1+r}$"]


def test_letters_that_our_font_lacks_come_from_another_or_are_said_once(capsys, monkeypatch, recwarn):
    fig = show_faces(GREYS[:2], ["ᶁ", "plain"])  # in the fonts that come with matplotlib, but not in ours
    figures.png_bytes(fig)
    first, second = (ax.title.get_fontfamily() for ax in fig.axes)
    assert first[0] == figures.FONT != first[1]
    assert second == [figures.FONT]
    monkeypatch.setattr(figures, "font_with", lambda c: None if c in "中文\x1b" else figures.FONT)
    monkeypatch.setattr(figures, "SAID", set())
    for _ in range(2):
        figures.png_bytes(show_faces(GREYS[:1], ["中文\x1b"]))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("a figure shows boxes for \\x1b 中 文: no font here has them")
    assert not recwarn


def test_what_is_not_known_is_a_dash_in_words_and_nothing_in_the_picture():
    fig = f1_bars({"none": {**metrics(0), "outputs": {"local": {"f1": [None] * 12, "mean_f1": None}}}})
    assert fig.alt.endswith("means: no relation –")
    figures.png_bytes(fig)
    assert "a –" in plot_estimates({"x": {"a": estimate(math.nan, math.nan)}}, "T", "F1").alt
    assert "–" in [t.get_text() for t in matrix([[0.1, math.nan]], ["q"], column_labels=["a", "b"]).axes[0].texts]
    floor = {"f1": [None] * 12, "mean_f1": 12.0}
    heights = [bar.get_height() for bar in f1_bars({"none": metrics(0)}, floor).axes[0].containers[0]]
    assert heights[-1] == 12  # the mean is given, not made of the bars that are there


def test_png_shrinks_colours_first_and_keeps_white_white():
    fig = show_faces([np.random.default_rng(0).random((200, 200, 3))] * 3)
    with pytest.raises(ValueError, match="does not fit into 100 bytes"):
        figures.png_bytes(fig, 100)
    small = Image.open(io.BytesIO(figures.png_bytes(fig, 120_000)))
    assert small.mode == "P"
    near = np.random.default_rng(1).integers(235, 256, (120, 120, 3), dtype=np.uint8)
    near[:20], near[20:40] = 255, (0, 114, 178)  # white and the blue of the style, among many pale shades
    kept = np.asarray(figures._quantise(Image.fromarray(near), 256).convert("RGB"))
    assert (kept[:40] == near[:40]).all()
    plain = figures.png_bytes(gain_plot([gain("mlp", 1.0)]))
    assert figures.shrink_png(plain) == plain
    fewer = Image.open(io.BytesIO(figures.shrink_png(plain, len(plain) * 2 // 3)))
    assert fewer.size == Image.open(io.BytesIO(plain)).size


def test_images_of_every_kind_show_the_same_pixels():
    whole = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    tensor = torch.tensor(whole.transpose(2, 0, 1)) / 255
    np.testing.assert_array_equal(figures.pixels(whole), whole)
    np.testing.assert_allclose(figures.pixels(tensor) * 255, whole, atol=1e-4)
    assert figures.pixels(whole[..., 0]).shape == (5, 7)


def test_overlay_always_warns_and_withholds_when_told():
    hidden = overlay(*face(), {12: 0.9}, withheld="the mirror image disagrees")
    for fig in (overlay(*face(), {12: 0.9}), hidden):
        assert fig._supxlabel.get_text() == "Trained on procedural faces, not validated on photographs."
    assert not hidden.axes[1].patches
    assert "the mirror image disagrees" in [t.get_text() for t in hidden.axes[1].texts]


def test_prediction_sheet_tells_found_missed_and_wrong_apart_and_shows_no_face_that_it_was_not_given():
    fig = prediction_sheet((1, 2, 4, 6), [[1, 1, 0, 0], [0, 0, -1, -1]], [[0.9, 0.1, 0.8, 0.2], [0.1, 0.1, 0.9, 0.1]],
                           [face()[1]] * 2)
    assert [[t.get_text() for t in ax.texts] for ax in fig.axes] == [["1", "(2)", "+4"], ["none, rightly"]]
    assert not any(ax.images for ax in fig.axes)


@pytest.mark.parametrize(("call", "message"), [
    (lambda p: show_faces([GREYS[0]], ["a", "b"]), "1 images need 1 titles, got 2"),
    (lambda p: show_faces([GREYS[0]], landmarks=[p[:48]]), r"must be \(49, 2\), got \(48, 2\)"),
    (lambda p: figures.pixels(np.zeros((2, 4, 4))), r"an image must be .*got \(2, 4, 4\)"),
    (lambda p: figures.pixels(np.full((4, 4, 3), 7.0)), "must lie in 0–1, got 7 to 7"),
    (lambda p: f1_bars({"none": metrics(0)}, output="best"), "unknown output 'best': choose from local, au"),
    (lambda p: f1_bars({"none": metrics(0), "mlp": {**metrics(0), "aus": [1]}}), "must have the same AUs"),
    (lambda p: matrix(np.zeros((2, 3)), ["a", "b"]), "do not fit 2 rows and 2 columns"),
    (lambda p: prediction_sheet((1, 2), [[1, 0]], [[0.1]], [p]), r"must be \(N, 2\)"),
    (lambda p: plot_estimates({"x": {"a": 1}, "y": {"b": 1}}, "t", "x"), "the same labels"),
])  # fmt: skip
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(face()[1])
