"""Pictures of the chapters: what is drawn is what was given or computed, and wrong input is named."""

import functools
import itertools

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lorral_lite import AU_SETS, BiLSTMRelation, HopfieldRelation, SelfAttentionRelation
from lorral_lite.course.ch01_faces import au_atlas, au_displacement, mean_movement
from lorral_lite.course.ch02_data import phi_ranges, timeline
from lorral_lite.course.ch03_04_layers import (
    architecture,
    architecture_flow,
    convolution_blocks,
    crop_figure,
    feature_maps,
    layer_stages,
    patch_model,
    receptive_figure,
    seen_pixels,
)
from lorral_lite.course.ch05_07_relations import (
    attention_on_face,
    attention_picture,
    attention_stages,
    bilstm_picture,
    energy_landscape,
    flow,
    hopfield_picture,
    order_picture,
    pair_scatter,
    plot_lines,
    recall_picture,
)
from lorral_lite.course.ch08_training import plot_schedule
from lorral_lite.course.ch09_evaluation import plot_audit, plot_floor, plot_published, plot_threshold
from lorral_lite.course.ch10_ablation import plot_gate, plot_relation_strength, plot_slopes
from lorral_lite.course.portraits import STUDIO, Sample, face_patterns, studio_face
from lorral_lite.draw.base import RED, png_bytes
from lorral_lite.faces import render_faces
from lorral_lite.faces.population import Population
from lorral_lite.landmarks import ruler
from lorral_lite.measure.statistics import jackknife
from lorral_lite.model.relations import NoRelation, hopfield_retrieve
from lorral_lite.report.published import FLOORS, audit_published
from lorral_lite.training.config import Schedule

AUS = AU_SETS["bp4d"]
TOKENS = torch.randn(12, 8, generator=torch.Generator().manual_seed(1))
TABLE = np.arange(9.0).reshape(3, 3)
MAPS = torch.zeros(9, 5, 5)
LIVELY = [1, 2, 4, 5, 7, 8]
MAPS[LIVELY, 0, 0] = torch.tensor([1.0, 5, 2, 6, 3, 4])
PLANE = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
HEARD = torch.rand(2, 4, 12, 12, generator=torch.Generator().manual_seed(5)).softmax(-1)
OFF = ~np.eye(12, dtype=bool)
SLOPE = {"name": "series", "values": [1.0, 2.0, 3.0], "estimate": jackknife(np.array([1.0, 2.0, 3.0])),
         "verdict": "gain"}


@functools.cache
def module(kind, **options):
    torch.manual_seed(4)
    return kind(8, 12, **options).eval()


@functools.cache
def sample():
    images, landmarks = map(np.stack, zip(*(studio_face({12: 1.0}, k, size=88) for k in (1, 2)), strict=True))
    return Sample(images, landmarks, np.eye(2, 12, dtype=int), torch.zeros(2, 12, 8))


def one_flow():
    maps = torch.rand(3, 5, 5, generator=torch.Generator().manual_seed(0))
    return {"image": sample().images[0], "landmarks": sample().landmarks[0], "patches": [maps, maps], "global": maps,
            "landmark": maps, "windows": {12: maps[None].repeat(2, 1, 1, 1)}, "tokens": maps[0, :2],
            "related": maps[0, :2], "local_chances": [0.1, 0.2], "chances": [0.25, 0.75]}


def shown(fig, panel=0, layer=0):
    return np.asarray(fig.axes[panel].images[layer].get_array())


def line(fig, panel=0, number=0):
    return fig.axes[panel].lines[number].get_xydata()


def bar_lengths(fig):
    """Of the bars of Figure 2, as shares of the longest that can be."""
    return [p.get_width() / 1.15 for p in fig.axes[0].patches if getattr(p, "get_height", lambda: 0)() == 0.12][1::2]


def strips(fig):
    """The columns of the BiLSTM picture, feature 0 first: tokens, forward and backward halves, new tokens."""
    return np.concatenate([image.get_array()[::-1, 0] for image in fig.axes[0].images])


def halves():
    with torch.no_grad():
        new = module(BiLSTMRelation)(TOKENS[None])[0]
    return torch.cat([part.flatten() for part in (TOKENS, new[:, :4], new[:, 4:], new)])


DRAWN = {
    "au_displacement": (lambda: au_displacement((1, 12), people=(3,)), lambda fig: (
        fig.axes[1].collections[0].U, [x for x, y in mean_movement((12,), (3,))[1][0] if np.hypot(x, y) > 0.02])),
    "phi_ranges": (lambda: phi_ranges([("12 with 15", -0.5, 0.12, 0.6), ("4 with 12", -0.57, -0.26, 0.4)]),
                   lambda fig: ([x.get_xdata()[0] for x in fig.axes[0].lines[2::2]], [0.12, -0.26])),
    "timeline": (lambda: timeline([[1, 0], [1, 0], [0, 1], [1, 1], [-1, 0]], (4, 12), 2.0), lambda fig: (
        [p.get_extents().intervalx for c in fig.axes[0].collections for p in c.get_paths()],
        [(0, 1), (1.5, 2), (1, 2)])),
    "architecture": (architecture, None),
    "convolution_blocks": (convolution_blocks, None),
    "receptive_figure": (lambda: receptive_figure(2, 5),
                         lambda fig: (shown(fig, 0, 1)[..., 3] > 0, seen_pixels(patch_model((8,)), (2, 5), 8) > 0)),
    "feature_maps": (lambda: feature_maps({"m": MAPS}),
                     lambda fig: ([shown(fig, k) for k in range(6)], MAPS[LIVELY])),
    "layer_stages": (lambda: layer_stages({"layer": [("whole", MAPS[1]), ("cut", torch.eye(4), 2)]}), lambda fig: (
        (shown(fig, layer=1)[..., :3] == 1).all(-1).all(1).nonzero()[0], [44, 45])),  # the white gap
    "architecture_flow": (lambda: architecture_flow(one_flow(), (1, 12), [1, 0]),
                          lambda fig: (bar_lengths(fig), [0.1, 0.2, 0.25, 0.75])),
    "bilstm_picture": (lambda: bilstm_picture(module(BiLSTMRelation), TOKENS, AUS),
                       lambda fig: (strips(fig), halves())),
    "attention_picture": (lambda: attention_picture(module(SelfAttentionRelation), TOKENS, AUS), lambda fig: (
        shown(fig, 5), attention_stages(module(SelfAttentionRelation), TOKENS)["weights"])),
    "hopfield_picture": (lambda: hopfield_picture(module(HopfieldRelation, steps=2), TOKENS, AUS), lambda fig: (
        shown(fig, 6), attention_stages(module(HopfieldRelation, steps=2), TOKENS)["weights"])),
    "hopfield_picture, one step": (lambda: hopfield_picture(module(HopfieldRelation, steps=1), TOKENS, AUS), None),
    "attention_on_face": (lambda: attention_on_face(sample(), HEARD, AUS, face=1, au=10), lambda fig: (
        [bar.get_height() for bar in fig.axes[1].patches], HEARD[1, :, AUS.index(10)].mean(0))),
    "energy_landscape": (lambda: energy_landscape(PLANE, [30], torch.tensor([[0.9, 0.1], [0.1, 0.6]])), lambda fig: (
        [x.get_xydata()[0] for x in fig.axes[0].lines if x.get_markersize() == 8], PLANE)),
    "flow": (lambda: flow([("first", TABLE, "×"), ("second", -TABLE, "")], (1, 2, 4), columns=2),
             lambda fig: ([shown(fig, 0), shown(fig, 1)], [TABLE, -TABLE])),
    "pair_scatter": (lambda: pair_scatter(TABLE, 2 * TABLE + 1, (1, 2, 4), "x", "y", "Title", named=1), lambda fig: (
        fig.axes[0].collections[0].get_offsets(), [[k, 2 * k + 1] for k in (1, 2, 3, 5, 6, 7)])),
    "plot_lines": (lambda: plot_lines([1, 2, 4], {"a": [1, 5, 3], "b": [3, 2, 1]}, "x", "y", logx=True,
                                      vertical={"v": 2}), lambda fig: (line(fig), [[1, 1], [2, 5], [4, 3]])),
    "plot_schedule": (lambda: plot_schedule(gamma=0.5, every=3), lambda fig: (
        line(fig)[:, 1], [Schedule(gamma=0.5, every=3).at(epoch) for epoch in range(30)])),
    "plot_floor": (lambda: plot_floor({"A": {1: 0.5, 2: 0.51, 4: 0.1}, "B": {12: 0.2}}),
                   lambda fig: (line(fig, 0, 1)[:, 1], [200 / 3, 102 / 1.51, 20 / 1.1])),
    "plot_threshold, an unknown label": (lambda: plot_threshold([0.1, 0.6, 0.9, 0.8], [0, 0, 1, -1], 0.3), lambda fig: (
        line(fig, 1, 2)[[0, 40, 80, 100], 1], [50, 200 / 3, 100, 0])),  # F1
    "plot_audit": (lambda: plot_audit(audit_published()), lambda fig: (
        sum(x.get_color() == RED and x.get_marker() == "o" for ax in fig.axes for x in ax.lines), 5)),
    "plot_relation_strength": (lambda: plot_relation_strength((0.0, 1.0)), lambda fig: (
        [shown(fig, k)[OFF] for k in (0, 1)], [np.zeros(132), Population().expected_phi[OFF]])),
    "plot_gate": (lambda: plot_gate({"hopfield": {"module": [88, 87], "twin": [80, 79]}}, 5), lambda fig: (
        [line(fig, 0, k)[:, 1] for k in (0, 3, 4, 7)], [[80, 88], [85, 85], [79, 87], [84, 84]])),
    "plot_slopes": (lambda: plot_slopes({"local": [SLOPE, SLOPE]}, 0.5), lambda fig: (
        [line(fig, 0, k)[:, 0].max() for k in (0, 1, 2, 3)], [0, 3, SLOPE["estimate"].high, 2])),
}
"""What a picture is about → how it is drawn, and what is seen of it beside what was given (diagrams: nothing)."""


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_shows_what_it_was_given_and_has_words(name):
    draw, seen_and_given = DRAWN[name]
    fig = draw()
    if seen_and_given:
        np.testing.assert_allclose(*seen_and_given(fig), atol=1e-6)
    assert png_bytes(fig).startswith(b"\x89PNG")
    assert len(fig.alt) > 7


@pytest.mark.parametrize(("draw", "message"), [
    (lambda: au_atlas(part="chin"), "part must be one of face, upper, lower, got 'chin'"),
    (lambda: timeline([[1, 0]], (4,), 2.0), "labels must be"),
    (lambda: receptive_figure(2, 5, "two PatchConvs"), "a row and a column from 0 to 3"),
    (lambda: feature_maps({}), "no map to draw"),
    (lambda: layer_stages({"layer": [("x", torch.eye(8), 3)]}), "a map of 8×8 cannot be cut into 3×3 equal parts"),
    (lambda: architecture_flow({k: v for k, v in one_flow().items() if k != "tokens"}, (1, 12), [1, 0]),
     "the flow lacks tokens"),
    (lambda: attention_on_face(sample(), HEARD, AUS, face=2), "face must be 0 to 1, got 2"),
    (lambda: recall_picture(torch.rand(4, 8, 8), which=4), "which must be 0 to 3, got 4"),
    (lambda: recall_picture(torch.rand(4, 8, 8), hidden=1.5), "hidden 0 to 1, got 1, 0.0 and 1.5"),
])  # fmt: skip
def test_wrong_input_is_named(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


# ------------------------------------------------------------------------------------------------ 01 to 04


def test_movement_is_the_mean_over_people_in_rulers():
    neutral, moved = mean_movement((12, 1), people=(3, 5))
    assert ruler(neutral) == pytest.approx(1, abs=1e-6)
    assert moved[0, 31, 1] < 0 < moved[0, 37, 0] - moved[0, 31, 0]  # AU12: mouth corners up and apart
    assert moved[1, [3, 4, 5, 6], 1].max() < -0.05  # AU1: inner brows up
    assert np.abs(moved[1, 31:]).max() < 0.05  # and the mouth stays
    alone = [mean_movement((12, 1), people=(person,))[1] for person in (3, 5)]
    np.testing.assert_allclose(np.mean(alone, 0), moved)


def test_the_atlas_keeps_person_pose_and_light_along_a_row():
    people, face = (7, 8), 64
    sheet = shown(au_atlas((12, 26), people, (0.4, 0.5, 1.0), face=face))
    h, w = (sheet.shape[0] - 1) // 2, (sheet.shape[1] - 7) // 8
    left, top = round((0.5 - 1.95 * 0.16) * face), round((0.475 - 2.4 * 0.16) * face)
    for (row, au), column in itertools.product(enumerate((12, 26)), range(8)):
        whole = render_faces({au: (0, 0.4, 0.5, 1.0)[column % 4]}, face, people[column // 4], **STUDIO)
        cell = sheet[row * (h + 1):row * (h + 1) + h, column * (w + 1):column * (w + 1) + w]
        expected = whole.images[0, :, top:top + h, left:left + w].permute(1, 2, 0)
        np.testing.assert_allclose(cell, expected, atol=1e-6)


@pytest.mark.parametrize(("grids", "part", "grid", "pixels"), [
    ((8,), (3, 4), 8, 13 * 13), ((8,), (0, 4), 8, 12 * 13), ((1,), (3, 4), 8, 15 * 15), ((8, 4), (1, 2), 4, 30 * 30),
    ((1, 1), (1, 2), 4, 34 * 34)])
def test_a_part_sees_itself_and_one_pixel_more_and_deeper_and_plain_layers_see_further(grids, part, grid, pixels):
    seen = seen_pixels(patch_model(grids), part, grid) > 0
    assert seen.sum() == pixels
    side = 88 // grid
    r, c = (side * k for k in part)
    assert seen[r : r + side, c : c + side].all()


def test_crops_follow_the_moved_landmarks():
    image, points = studio_face({}, 5, size=88)
    still, moved = crop_figure(12, person=5), crop_figure(12, 10, -6, person=5)
    middle = np.add(moved.axes[0].patches[0].get_xy(), 12)
    np.testing.assert_allclose(middle, points[31] + (10, -6), atol=1e-3)
    assert np.abs(shown(still, 1) - shown(moved, 1)).max() > 0.2
    # an independent cut: whole pixels around the rounded lip corner
    x, y = np.round(points[31] - 0.5).astype(int)
    cut = image[y - 11 : y + 13, x - 11 : x + 13] / 255
    assert np.abs(shown(still, 1) - cut).mean() < 0.02


# ------------------------------------------------------------------------------------------------ 05 to 07


@pytest.mark.parametrize("relation", [SelfAttentionRelation(8, 12), HopfieldRelation(8, 12, steps=3, beta=0.9)])
def test_stages_end_in_what_the_relation_does(relation):
    stages = attention_stages(relation, TOKENS, head=1)
    with torch.no_grad():
        new = relation(TOKENS[None])[0]
    assert_close(stages["new"], new)
    assert_close(stages["weights"], relation.attention[0, 1])
    assert_close(stages["input"], stages["preprocessed"] + stages["position"])
    assert_close(stages["heard"], stages["weights"] @ stages["values"])
    if "queries 2" in stages:
        assert_close(stages["queries 2"], hopfield_retrieve(stages["queries"], stages["keys"], 0.9, 2))
        assert_close(stages["queries 2"], stages["weights 2"] @ stages["keys"])


def test_the_order_is_undone_in_the_picture():
    """Each token hears the one read before it: in the picture column j must be the AU that was read before row i."""

    class Before(NoRelation):
        def forward(self, x):
            return torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)

    fig = order_picture(Before(8, 12), TOKENS[None], AUS, shuffle=5)
    table = shown(fig)
    read = [int(a) for a in fig.axes[0].get_title().removeprefix("read as ").split(", ")]
    for first, second in itertools.pairwise(read):
        assert table[AUS.index(second), AUS.index(first)] == pytest.approx(1)
    assert (table > 0).sum() == 11


def test_recall_finds_the_true_face_and_small_beta_the_mean():
    faces = face_patterns(5, seed=3)
    stored = (faces - faces.mean(0)).flatten(1)
    lengths = stored.norm(dim=1)
    fig = recall_picture(faces, beta=200.0, steps=3, hidden=0.3, which=2)
    true = stored[2] / lengths[2] * lengths.mean() + faces.mean(0).flatten()
    np.testing.assert_allclose(shown(fig, 1).ravel(), true.clamp(0, 1), atol=1e-3)
    assert "1.0 faces take part, face 2 most" in fig.alt
    assert "5.0 faces take part" in recall_picture(faces, beta=1e-6, steps=1, which=2).alt


# ------------------------------------------------------------------------------------------------ 09


def test_ours_is_marked_as_other_data_unless_it_is_not():
    for data, mean, title in (("procedural faces", 80.0, "OTHER DATA: procedural faces"),
                              ("BP4D", 60.0, "this run, one fold of BP4D")):
        ours = plot_published(audit_published(), FLOORS, {"mine": mean}, 46.0, data).axes[2]
        assert ours.get_title() == title
        assert any("not comparable" in text.get_text() for text in ours.texts) is (data != "BP4D")
