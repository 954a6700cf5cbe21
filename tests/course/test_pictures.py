"""Pictures of the chapters: what is drawn is what was given or computed, and wrong input is named."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch.testing import assert_close

from lorral_lite import AU_SETS, BiLSTMRelation, HopfieldRelation, SelfAttentionRelation
from lorral_lite.course.ch02_data import phi_ranges, timeline
from lorral_lite.course.ch03_04_layers import (
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
from lorral_lite.course.ch10_ablation import plot_relation_strength
from lorral_lite.course.portraits import Sample, face_patterns, studio_face
from lorral_lite.draw.base import PNG_LIMIT, RED, png_bytes
from lorral_lite.draw.faces import part_grid
from lorral_lite.draw.results import bars, plot_estimates
from lorral_lite.faces.population import Population
from lorral_lite.measure.statistics import Estimate
from lorral_lite.model.relations import NoRelation, hopfield_retrieve
from lorral_lite.report.published import FLOORS, audit_published
from lorral_lite.training.config import Schedule

AUS = AU_SETS["bp4d"]


@pytest.fixture
def tokens():
    torch.manual_seed(1)
    return torch.randn(3, 12, 8)


@pytest.fixture(scope="module")
def sample():
    images, landmarks = map(np.stack, zip(*(studio_face({12: 1.0}, k, size=88) for k in (1, 2, 3)), strict=True))
    return Sample(images, landmarks, np.eye(3, 12, dtype=int), torch.zeros(3, 12, 8))


def heard(sample):
    torch.manual_seed(5)
    return torch.rand(len(sample.images), 4, 12, 12).softmax(-1)


# ------------------------------------------------------------------------------------------------ 02 to 04


def test_phi_ranges_put_the_dot_where_phi_is():
    fig = phi_ranges([("12 with 15", -0.5, 0.12, 0.6), ("4 with 12", -0.57, -0.26, 0.4)])
    lines = fig.axes[0].lines[1:]
    assert [tuple(map(float, line.get_xdata())) for line in lines[::2]] == [(-0.5, 0.6), (-0.57, 0.4)]
    assert [float(line.get_xdata()[0]) for line in lines[1::2]] == [0.12, -0.26]
    assert "4 with 12 phi -0.26" in fig.alt


def test_timeline_draws_each_bout_once():
    labels = np.array([[1, 0], [1, 0], [0, 1], [1, 1], [-1, 0]])
    fig = timeline(labels, (4, 12), 2.0)
    spans = [[(p.get_extents().x0, p.get_extents().x1) for p in c.get_paths()] for c in fig.axes[0].collections]
    assert spans == [[(0.0, 1.0), (1.5, 2.0)], [(1.0, 2.0)]]
    with pytest.raises(ValueError, match="labels must be"):
        timeline(labels, (4,), 2.0)


@pytest.mark.parametrize(("grids", "part", "grid", "pixels"), [
    ((8,), (3, 4), 8, 13 * 13), ((8,), (0, 0), 8, 12 * 12), ((8,), (0, 4), 8, 12 * 13), ((1,), (3, 4), 8, 15 * 15),
    ((8, 4), (1, 2), 4, 30 * 30), ((1, 1), (1, 2), 4, 34 * 34)])
def test_a_part_sees_itself_and_one_pixel_more_and_deeper_and_plain_layers_see_further(grids, part, grid, pixels):
    seen = seen_pixels(patch_model(grids), part, grid) > 0
    assert seen.sum() == pixels
    side = 88 // grid
    r, c = (side * k for k in part)
    assert seen[r : r + side, c : c + side].all()


def test_receptive_figure_counts_what_it_tints_and_refuses_parts_that_are_not_there():
    fig = receptive_figure(2, 5)
    assert [ax.get_title().split(":")[1] for ax in fig.axes] == [" 169 of 7744 pixels", " 225 of 7744 pixels"]
    with pytest.raises(ValueError, match="a row and a column from 0 to 3"):
        receptive_figure(2, 5, "two PatchConvs")
    with pytest.raises(ValueError, match="layers must be one of one PatchConv, two PatchConvs"):
        receptive_figure(2, 5, "three")


def test_part_grid_tints_what_is_seen():
    seen = np.zeros((16, 16))
    seen[4:8, 8:12] = 1
    fig = part_grid([np.zeros((16, 16, 3))], 4, ["t"], part=(1, 2), seen=[seen])
    tint = np.asarray(fig.axes[0].images[1].get_array())
    np.testing.assert_array_equal(tint[..., 3] > 0, seen > 0)
    assert fig.axes[0].patches[0].get_xy() == (7.5, 3.5)
    with pytest.raises(ValueError, match="need 1 titles"):
        part_grid([np.zeros((16, 16, 3))], 4, ["t", "u"])


def test_crops_follow_the_moved_landmarks():
    image, points = studio_face({}, 5, size=88)
    windows = []
    for right, down in ((0, 0), (10, -6)):
        fig = crop_figure(12, right, down, person=5)
        shown = np.concatenate([np.asarray(ax.images[0].get_array()) for ax in fig.axes[1:]])
        windows.append(shown)
        frame = fig.axes[0].patches[0]
        middle = np.add(frame.get_xy(), 12)
        np.testing.assert_allclose(middle, points[31] + (right, down), atol=1e-3)
    assert np.abs(windows[0] - windows[1]).max() > 0.2
    # an independent cut: whole pixels around the rounded lip corner
    x, y = np.round(points[31] - 0.5).astype(int)
    cut = image[y - 11 : y + 13, x - 11 : x + 13] / 255
    assert np.abs(windows[0][:24] - cut).mean() < 0.02


def test_feature_maps_show_the_liveliest_channels_in_order():
    maps = torch.zeros(9, 5, 5)
    lively = [1, 2, 4, 5, 7, 8]
    maps[lively, 0, 0] = torch.tensor([1.0, 5, 2, 6, 3, 4])
    fig = feature_maps({"m": maps})
    np.testing.assert_array_equal(np.stack([ax.images[0].get_array() for ax in fig.axes]), maps[lively])
    with pytest.raises(ValueError, match="no map to draw"):
        feature_maps({})


def test_stages_keep_their_size_and_are_cut_where_asked():
    values = torch.arange(64.0).view(8, 8)
    fig = layer_stages({"layer": [("whole", values), ("cut", values, 2), ("pooled", values[:4, :4])]})
    whole, cut, pooled = fig.axes[0].images
    widths = [image.get_extent()[1] - image.get_extent()[0] for image in (whole, cut, pooled)]
    assert widths == pytest.approx([widths[0], widths[0], widths[0] / 2])
    side = whole.get_array().shape[0]
    white = (cut.get_array()[..., :3] == 1).all(-1)
    assert white.all(1).nonzero()[0].tolist() == white.all(0).nonzero()[0].tolist() == [side // 2, side // 2 + 1]
    kept = np.delete(np.delete(cut.get_array(), [side // 2, side // 2 + 1], 0), [side // 2, side // 2 + 1], 1)
    np.testing.assert_array_equal(kept, whole.get_array())
    assert fig.alt == "layer: whole, then cut, then pooled"
    with pytest.raises(ValueError, match="a map of 8×8 cannot be cut into 3×3 equal parts"):
        layer_stages({"layer": [("x", values, 3)]})
    for empty in ({}, {"layer": []}):
        with pytest.raises(ValueError, match="no map to draw"):
            layer_stages(empty)


def one_flow():
    maps = torch.rand(3, 5, 5, generator=torch.Generator().manual_seed(0))
    image, points = studio_face({12: 1.0}, 3, size=88)
    return {"image": image, "landmarks": points, "patches": [maps, maps], "global": maps, "landmark": maps,
            "windows": {12: maps[None].repeat(2, 1, 1, 1)}, "tokens": maps[0, :2], "related": maps[0, :2],
            "local_chances": [0.1, 0.2], "chances": [0.25, 0.75]}


def test_the_flow_through_figure_2_draws_what_it_is_given():
    fig = architecture_flow(one_flow(), (1, 12), [1, 0])
    assert fig.alt.endswith("AUs claimed: 12; shown: 1")
    bars = {round(p.get_width() / 1.15, 6): p.get_facecolor() for p in fig.axes[0].patches
            if getattr(p, "get_height", lambda: 0)() == pytest.approx(0.12)}
    assert {0.1, 0.2, 0.25, 0.75} <= set(bars)
    assert bars[0.25][:3] == bars[0.1][:3] != bars[0.75][:3] == bars[0.2][:3]  # AU1 is shown, AU12 is not
    assert len(fig.axes[0].images) == 2 + 4 + 3 + 3 + 2 + 2  # faces, patches, global, landmark, windows, tokens
    flow = one_flow()
    del flow["tokens"], flow["image"]
    with pytest.raises(ValueError, match="the flow lacks image, tokens"):
        architecture_flow(flow, (1, 12), [1, 0])


# ------------------------------------------------------------------------------------------------ 05 to 07


@pytest.mark.parametrize("relation", [SelfAttentionRelation(8, 12), HopfieldRelation(8, 12, steps=3, beta=0.9)])
def test_stages_end_in_what_the_relation_does(relation, tokens):
    stages = attention_stages(relation, tokens[0], head=1)
    with torch.no_grad():
        new = relation(tokens[:1])[0]
    assert_close(stages["new"], new)
    assert_close(stages["weights"], relation.attention[0, 1])
    assert_close(stages["input"], stages["preprocessed"] + stages["position"])
    assert_close(stages["heard"], stages["weights"] @ stages["values"])
    states = [name for name in stages if name.startswith("queries")]
    assert len(states) == getattr(relation.layers[0], "steps", 1)
    if "queries 2" in stages:
        assert_close(stages["queries 2"], hopfield_retrieve(stages["queries"], stages["keys"], 0.9, 2))
        assert_close(stages["queries 2"], stages["weights 2"] @ stages["keys"])


def test_the_influence_picture_shows_the_influence_whatever_is_read(tokens):
    class Deaf(NoRelation):
        pass

    fig = order_picture(Deaf(8, 12), tokens, AUS, shuffle=4)
    assert_close(torch.from_numpy(np.array(fig.axes[0].images[0].get_array())), torch.eye(12).double())
    assert "read as" in fig.axes[0].get_title()
    natural = order_picture(Deaf(8, 12), tokens, AUS)
    assert natural.axes[0].get_title() == "read as " + ", ".join(map(str, AUS))


def test_the_order_is_undone_in_the_picture(tokens):
    """Each token hears the one read before it: in the picture column j must be the AU that was read before row i."""

    class Before(NoRelation):
        def forward(self, x):
            return torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)

    fig = order_picture(Before(8, 12), tokens, AUS, shuffle=5)
    table = np.array(fig.axes[0].images[0].get_array())
    read = [int(a) for a in fig.axes[0].get_title().removeprefix("read as ").split(", ")]
    for first, second in itertools.pairwise(read):
        assert table[AUS.index(second), AUS.index(first)] == pytest.approx(1)
    assert (table > 0).sum() == 11


def test_bilstm_picture_shows_the_two_halves(tokens):
    torch.manual_seed(4)
    relation = BiLSTMRelation(8, 12)
    fig = bilstm_picture(relation, tokens[0], AUS)
    strips = [np.array(image.get_array())[::-1, 0] for image in fig.axes[0].images]  # 4 rows of 12, feature 0 first
    with torch.no_grad():
        out = relation(tokens[:1])[0]
    for x in range(12):
        assert_close(torch.from_numpy(strips[x].copy()), tokens[0, x])
        assert_close(torch.from_numpy(strips[12 + x].copy()), out[x, :4])
        assert_close(torch.from_numpy(strips[24 + x].copy()), out[x, 4:])
        assert_close(torch.from_numpy(strips[36 + x].copy()), out[x])


def test_attention_on_face_draws_the_mean_over_heads(sample):
    attention = heard(sample)
    fig = attention_on_face(sample, attention, AUS, face=2, au=10)
    heights = [bar.get_height() for bar in fig.axes[1].patches]
    np.testing.assert_allclose(heights, attention[2, :, AUS.index(10)].mean(0).numpy(), rtol=1e-6)
    for wrong, words in (({"face": 3}, "face must be 0 to 2, got 3"), ({"au": 9}, "AU9 is not one of 1, 2, 4")):
        with pytest.raises(ValueError, match=words):
            attention_on_face(sample, attention, AUS, **wrong)


def test_recall_finds_the_true_face_and_small_beta_the_mean():
    faces = face_patterns(5, seed=3)
    assert faces.shape == (5, 40, 40)
    assert 0 <= faces.min() < faces.max() <= 1
    stored = (faces - faces.mean(0)).flatten(1)
    lengths = stored.norm(dim=1)
    shown = recall_picture(faces, beta=200.0, steps=3, hidden=0.3, which=2)
    recalled = np.array(shown.axes[1].images[0].get_array())
    true = stored[2] / lengths[2] * lengths.mean() + faces.mean(0).flatten()
    np.testing.assert_allclose(recalled.ravel(), true.clamp(0, 1), atol=1e-3)
    assert "1.0 faces take part, face 2 most" in shown.alt
    blurred = recall_picture(faces, beta=1e-6, steps=1, which=2)
    assert "5.0 faces take part" in blurred.alt
    cue = np.array(recall_picture(faces, steps=0, hidden=0.5, which=1).axes[0].images[0].get_array())
    np.testing.assert_allclose(cue[20:], faces.mean(0)[20:].clamp(0, 1), atol=1e-5)


def test_noise_lies_on_what_is_seen_of_the_cue_and_is_as_long_as_said():
    faces = face_patterns(5, size=40, seed=3)
    length, mean = (faces - faces.mean(0)).flatten(1).norm(dim=1).mean(), faces.mean(0)

    def cue(**how):
        shown = recall_picture(faces, steps=0, which=1, **how).axes[0].images[0].get_array()
        return (torch.from_numpy(np.array(shown)) - mean) / length

    grains = cue(hidden=0.0, noise=0.2) - cue(hidden=0.0)  # short enough to stay between black and white
    assert grains.norm() == pytest.approx(0.2, rel=0.1)
    assert_close(cue(hidden=0.5, noise=0.2)[20:], torch.zeros(20, 40), rtol=0, atol=1e-5)
    assert_close(cue(hidden=0.5, noise=0.2)[:20], cue(hidden=0.0, noise=0.2)[:20])
    assert torch.equal(cue(noise=0.2), cue(noise=0.2))
    assert "noise 0.2:" in recall_picture(faces, noise=0.2).alt


@pytest.mark.parametrize(("wrong", "words"), [({"which": 4}, "which must be 0 to 3, got 4"),
                                              ({"steps": -1}, "steps and noise must be 0 or more and .* got -1"),
                                              ({"noise": -0.1}, "steps and noise must be 0 or more .* -0.1 and 0.5"),
                                              ({"hidden": 1.5}, "hidden 0 to 1, got 1, 0.0 and 1.5")])
def test_recall_refuses(wrong, words):
    with pytest.raises(ValueError, match=words):
        recall_picture(torch.rand(4, 8, 8), **wrong)


def test_energy_landscape_paths_end_in_fixed_points():
    plane = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    fig = energy_landscape(plane, [30], torch.tensor([[0.9, 0.1], [0.1, 0.6]]))
    ends = sorted(tuple(np.round(line.get_xydata()[0], 3)) for line in fig.axes[0].lines if line.get_markersize() == 8)
    assert ends == [(0.0, 1.0), (1.0, 0.0)]


def test_flow_draws_the_tables_in_order():
    tables = [torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[-1.0, 0.5, 0.0], [0.0, 2.0, 0.0]])]
    fig = flow([("first", tables[0], "×"), ("second", tables[1], "")], (1, 2), columns=2)
    for ax, table in zip(fig.axes, tables, strict=True):
        np.testing.assert_allclose(ax.images[0].get_array(), table)
    low, high = fig.axes[1].images[0].get_clim()
    assert (low, high) == (-2, 2)  # signed: 0 in the middle


def test_pair_scatter_draws_every_pair_once_and_names_the_extreme_ones():
    x = torch.arange(9.0).view(3, 3)
    fig = pair_scatter(x, 2 * x + 1, (1, 2, 4), "x", "y", "Title", named=1)
    dots = fig.axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(dots, [[k, 2 * k + 1] for k in (1, 2, 3, 5, 6, 7)])
    np.testing.assert_allclose(fig.axes[0].lines[-1].get_xydata(), [[1, 3], [7, 15]], atol=1e-9)
    assert [text.get_text() for text in fig.axes[0].texts] == ["1 ← 2", "4 ← 2"]


def test_lines_are_what_was_given():
    fig = plot_lines([1, 2, 4], {"a": [1, 5, 3]}, "x", "y", "Title")
    np.testing.assert_array_equal(fig.axes[0].lines[0].get_xydata(), [[1, 1], [2, 5], [4, 3]])
    assert fig.axes[0].get_legend() is None


# ------------------------------------------------------------------------------------------------ 08 to 10


def test_bars_have_the_given_heights_and_names():
    fig = bars({"a": [1, 20], "b": [3, 4]}, ["x", "y"], "T", "%", log=True)
    ax = fig.axes[0]
    assert [bar.get_height() for group in ax.containers for bar in group] == [1, 20, 3, 4]
    assert ax.get_yscale() == "log"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["x", "y"]
    with pytest.raises(ValueError, match="one value per label"):
        bars({"a": [1]}, ["x", "y"])


@pytest.mark.parametrize(("gamma", "every"), [(0.3, 2), (0.5, 3), (1.0, 1)])
def test_the_schedule_picture_is_the_schedule(gamma, every):
    fig = plot_schedule(gamma=gamma, every=every)
    rates = [Schedule(gamma=gamma, every=every).at(e) for e in range(30)]
    np.testing.assert_allclose(fig.axes[0].lines[0].get_ydata(), rates)
    spent = np.cumsum(rates) / sum(rates)
    np.testing.assert_allclose(fig.axes[1].lines[0].get_ydata(), 100 * spent)
    assert f"after epoch {1 + int(np.argmax(spent >= 0.999))} of 30" in fig.alt
    with pytest.raises(ValueError, match="a schedule needs"):
        plot_schedule(gamma=1.1)


def test_the_threshold_picture_draws_what_it_scores(rng):
    y = np.where(np.arange(400) % 40 == 0, -1, rng.random(400) < 0.3)  # some labels are unknown
    p = 1 / (1 + np.exp(-(rng.normal(size=400) + 2 * y - 1.2)))
    fig = plot_threshold(p, y, 0.3, name="AU12")
    left, right = fig.axes
    lines = {line.get_label(): line for line in right.lines}
    known = y >= 0
    expected = [100 * f1_score(y[known], p[known] >= t, zero_division=0) for t in np.linspace(0, 1, 101)]
    np.testing.assert_allclose(lines["F1"].get_ydata(), expected)
    assert np.isnan(lines["precision"].get_ydata()[-1])
    assert sum(patch.get_height() for patch in left.patches) == pytest.approx(100)
    assert f"F1 {expected[30]:.0f}" in fig.alt
    assert "AU12 at threshold 0.30" in fig.alt


def test_floors_lie_on_their_curve():
    fig = plot_floor({"A": {1: 0.5, 2: 0.51, 4: 0.1}, "B": {12: 0.2}})
    curve, first, *_ = fig.axes[0].lines
    assert np.interp(50, curve.get_xdata(), curve.get_ydata()) == pytest.approx(200 / 3)
    assert first.get_ydata() == pytest.approx([200 / 3, 102 / 1.51, 20 / 1.1])
    assert "1, 2" in [text.get_text() for text in fig.axes[0].texts]
    assert "B 33.33 %" in fig.alt


def test_estimates_are_drawn_with_their_ends():
    def estimate(value, half):
        return Estimate(value, 0.0, value - half, value + half, math.nan, 5)

    fig = plot_estimates(
        {"x": {"a": estimate(1, 0.5), "b": estimate(2, math.nan)}, "y": {"a": estimate(3, 1), "b": estimate(4, 1)}},
        "Two", "points", zero=True)
    drawn = [tuple(line.get_xdata()) for line in fig.axes[0].lines]
    assert (0.5, 1.5) in drawn
    assert (2, 4) in drawn
    assert (1, 2) in drawn  # the marks of x
    assert "a 1.0 (0.5 to 1.5), b 2.0; y: a 3.0 (2.0 to 4.0)" in fig.alt
    for wrong in ({}, {"x": {"a": estimate(1, 1)}, "y": {"b": estimate(1, 1)}}):
        with pytest.raises(ValueError, match="the same labels"):
            plot_estimates(wrong, "t", "x")


def test_the_audit_picture_marks_the_rows_that_do_not_match():
    audit = audit_published()
    fig = plot_audit(audit)
    dots = [line for ax in fig.axes for line in ax.lines if line.get_marker() == "o"]
    marked = [dot for dot in dots if dot.get_color() == RED]
    assert len(marked) == sum(row["mismatch"] for row in audit) == 5
    assert "EAC-Net on DISFA -8.9" in fig.alt


def test_ours_is_marked_as_other_data_unless_it_is_not():
    apart = plot_published(audit_published(), FLOORS, {"mine": 80.0}, 46.0)
    assert [ax.get_title() for ax in apart.axes] == ["BP4D", "DISFA", "OTHER DATA: procedural faces"]
    assert any("not comparable" in text.get_text() for text in apart.axes[2].texts)
    same = plot_published(audit_published(), FLOORS, {"mine": 60.0}, 48.0, "BP4D")
    assert same.axes[2].get_title() == "this run, one fold of BP4D"
    assert not any("not comparable" in text.get_text() for text in same.axes[2].texts)
    assert len(plot_published(audit_published(), FLOORS).axes) == 2


def test_relation_strength_shows_the_true_phi():
    fig = plot_relation_strength((0.0, 1.0))
    shown = [ax.images[0].get_array() for ax in fig.axes[:2]]
    off = ~np.eye(12, dtype=bool)
    np.testing.assert_allclose(shown[0][off], 0, atol=1e-9)
    np.testing.assert_allclose(shown[1][off], Population().expected_phi[off])
    assert [t.get_text() for t in fig.axes[2].get_yticklabels()][-1] == "AU4 with 12"
    with pytest.raises(ValueError, match="relation_strength must be between 0 and 1"):
        plot_relation_strength([2.0])


# ---------------------------------------------------------------------------------------------------- all


def drawings(sample, tokens):
    torch.manual_seed(3)
    bilstm, attention = BiLSTMRelation(8, 12), SelfAttentionRelation(8, 12)
    plane = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    return {
        "receptive": receptive_figure(), "crops": crop_figure(), "figure 3": convolution_blocks(),
        "figure 2": architecture_flow(one_flow(), (1, 12), [1, 0]),
        "bilstm": bilstm_picture(bilstm, tokens[0], AUS), "order": order_picture(bilstm, tokens, AUS, shuffle=3),
        "attention": attention_picture(attention, tokens[0], AUS),
        "hopfield": hopfield_picture(HopfieldRelation(8, 12, steps=2), tokens[0], AUS),
        "one step": hopfield_picture(HopfieldRelation(8, 12, steps=1), tokens[0], AUS),
        "on face": attention_on_face(sample, heard(sample), AUS, face=1, au=6),
        "landscape": energy_landscape(plane, [1, 20], 0.3 * plane),
        "recall": recall_picture(face_patterns(4), beta=20, steps=2),
        "scatter": pair_scatter(torch.rand(12, 12), torch.rand(12, 12), AUS, "x", "y", "Title"),
        "lines": plot_lines([1, 2, 4], {"a": [1, 2, 3], "b": [3, 2, 1]}, "x", "y", logx=True, vertical={"v": 2}),
        "schedule": plot_schedule(),
    }


def test_every_picture_is_small_and_has_words(sample, tokens):
    for name, fig in drawings(sample, tokens).items():
        assert len(png_bytes(fig)) <= PNG_LIMIT, name
        assert len(fig.alt) > 12, name
        assert '"' not in fig.alt, f"{name}: a quotation mark would end the alt attribute"
