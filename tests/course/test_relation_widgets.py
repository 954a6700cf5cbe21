"""What notebooks 05 to 07 measure and draw: against definitions written out here, and wrong input is named."""

import itertools
import math
from functools import partial

import ipywidgets
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch.testing import assert_close

from lorral_lite import AU_SETS, BiLSTMRelation, HopfieldRelation, LoRRaL, LoRRaLConfig, SelfAttentionRelation
from lorral_lite.course import explore as widgets
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
from lorral_lite.course.check import exercises, is_correct
from lorral_lite.course.portraits import face_patterns, sample_faces
from lorral_lite.datasets.prepared import FaceDataset
from lorral_lite.datasets.synthetic import prepare_faces
from lorral_lite.draw.base import png_bytes
from lorral_lite.model.lorral import LocalHead
from lorral_lite.model.relations import NoRelation, hopfield_retrieve
from lorral_lite.study.influence import effective_number, influence, pair_correlation, retrieval_rate, swap_effect

AUS = AU_SETS["bp4d"]


@pytest.fixture(scope="module")
def model() -> LoRRaL:
    torch.manual_seed(0)
    return LoRRaL(LoRRaLConfig.lite())


@pytest.fixture(scope="module")
def sample(model):
    return sample_faces(model, subjects=2, frames=3)


@pytest.fixture
def tokens():
    torch.manual_seed(1)
    return torch.randn(3, 12, 8)


def test_sample_is_what_the_model_reads(model, sample):
    assert sample.images.shape == (6, 88, 88, 3)
    assert sample.landmarks.shape == (6, 49, 2)
    assert sample.labels.shape == (6, 12)
    assert set(np.unique(sample.labels)) <= {0, 1}
    assert 0 < sample.landmarks.min() < sample.landmarks.max() < 88
    inputs = (torch.from_numpy(sample.images.copy()).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    with torch.no_grad():
        assert_close(sample.tokens, model.eval().features(inputs).local, rtol=1e-4, atol=1e-5)
    same_person = np.abs(sample.images[0].astype(int) - sample.images[1]).mean()
    assert same_person > 1  # other AUs, pose and light in each frame


def test_sample_is_what_prepare_faces_makes(tmp_path, sample):
    folder = prepare_faces(tmp_path / "faces", subjects=2, frames=3, seed=1, progress=False)
    views = FaceDataset(folder, range(6), 88, train=False)[range(6)]
    seen = torch.from_numpy(sample.images.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert_close(seen, views["image"])
    np.testing.assert_allclose(sample.landmarks, views["landmarks"].numpy(), atol=1e-4)
    assert np.array_equal(sample.labels, views["labels"].numpy())


def test_sample_repeats_and_seeds_differ(model, sample):
    again = sample_faces(model, subjects=2, frames=3)
    assert np.array_equal(again.images, sample.images)
    other = sample_faces(model, subjects=2, frames=3, seed=2)
    assert not np.array_equal(other.images, sample.images)


def test_sample_refuses_other_aus():
    with pytest.raises(ValueError, match="this model knows \\(1, 2, 4, 6, 9, 12, 25, 26\\)"):
        sample_faces(LoRRaL(LoRRaLConfig.lite(aus=AU_SETS["disfa"])))


def test_influence_of_a_linear_map_is_its_norm(tokens):
    class Listen(NoRelation):
        """AU i hears 3 × AU i − 1, and nothing of itself."""

        def forward(self, x):
            return 3 * x.roll(1, dims=1)

    expected = torch.zeros(12, 12)
    for i in range(12):
        expected[i, i - 1] = 3 * math.sqrt(8)  # Frobenius norm of 3 × identity
    assert_close(influence(Listen(8, 12), tokens), expected)


def test_influence_matches_finite_differences(tokens):
    torch.manual_seed(2)
    relation = BiLSTMRelation(8, 12).double()
    x = tokens.double()
    found = influence(relation, x)
    block = torch.zeros(3, 8, 8, dtype=torch.float64)
    for m in range(8):
        step = torch.zeros_like(x)
        step[:, 5, m] = 1e-5
        block[:, :, m] = (relation(x + step) - relation(x - step))[:, 9].detach() / 2e-5
    assert_close(found[9, 5], block.square().sum((1, 2)).sqrt().mean(), rtol=1e-6, atol=1e-8)


def test_swap_effect_of_a_known_rule():
    """AU1's logit is minus AU2's first feature, which is 1 where AU2 is shown: the effect is −1, all else 0 off ±1."""
    labels = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 1], [0, 0, 0]])
    tokens = torch.zeros(4, 3, 2)
    tokens[..., 0] = labels.float()

    class Oppose(NoRelation):
        def forward(self, x):
            return torch.stack([-x[:, 1], x[:, 1], x[:, 2]], dim=1)

    head = LocalHead(2, 3)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0], [1, 0], [1, 0]]))
    effect = swap_effect(Oppose(2, 3), head, tokens, labels.numpy())
    assert_close(effect, torch.tensor([[0.0, -1, 0], [0, 1, 0], [0, 0, 1]]))


def test_pair_correlation_ignores_the_diagonal_and_finds_chance():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(12, 12))
    b = -2 * a + 5
    np.fill_diagonal(b, 1e6)
    r, p = pair_correlation(a, b, permutations=199)
    assert r == pytest.approx(-1)
    assert p == pytest.approx(1 / 200)  # of the random renamings only the table itself does as well
    r, p = pair_correlation(a, rng.normal(size=(12, 12)), permutations=199)
    assert abs(r) < 0.3
    assert p > 0.05


def test_pair_correlation_has_the_right_error_rate():
    """Tables whose rows share a level are what fools a plain test; renaming whole AUs keeps 5 % at 5 %."""
    rng = np.random.default_rng(1)
    rejected = 0
    for _ in range(100):
        a, b = (np.add.outer(x, x) + 0.3 * rng.normal(size=(8, 8)) for x in rng.normal(size=(2, 8)))
        rejected += pair_correlation(a, b, permutations=99)[1] <= 0.05
    assert 0 <= rejected <= 14


def test_pair_correlation_refuses_tables_that_do_not_fit():
    with pytest.raises(ValueError, match="two square tables of equal size are needed"):
        pair_correlation(np.eye(3), np.eye(4))


def test_effective_number():
    assert_close(effective_number(torch.full((2, 12), 1 / 12)), torch.full((2,), 12.0))
    assert_close(effective_number(torch.tensor([0.0, 1.0, 0.0])), torch.tensor(1.0))
    assert_close(effective_number(torch.tensor([0.5, 0.0, 0.5])), torch.tensor(2.0))


def test_retrieval_rate_is_all_or_nothing_at_the_ends():
    assert retrieval_rate(64, 1.0) == 1.0
    assert retrieval_rate(64, 0.0) == 0.0  # the mean of all is nobody
    assert retrieval_rate(8, 0.05) < retrieval_rate(4, 0.05)


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


def drawings(sample, tokens):
    torch.manual_seed(3)
    bilstm, attention = BiLSTMRelation(8, 12), SelfAttentionRelation(8, 12).eval()
    with torch.no_grad():
        attention(torch.randn(len(sample.images), 12, 8))
        heard = attention.attention
    plane = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    return {
        "bilstm": bilstm_picture(bilstm, tokens[0], AUS),
        "order": order_picture(bilstm, tokens, AUS, shuffle=3),
        "attention": attention_picture(attention, tokens[0], AUS),
        "hopfield": hopfield_picture(HopfieldRelation(8, 12, steps=2), tokens[0], AUS),
        "one step": hopfield_picture(HopfieldRelation(8, 12, steps=1), tokens[0], AUS),
        "on face": attention_on_face(sample, heard, AUS, face=1, au=6),
        "landscape": energy_landscape(plane, [1, 20], 0.3 * plane, steps=5),
        "recall": recall_picture(face_patterns(4), beta=20, steps=2),
        "scatter": pair_scatter(torch.rand(12, 12), torch.rand(12, 12), AUS, "x", "y", "Title"),
        "lines": plot_lines([1, 2, 4], {"a": [1, 2, 3], "b": [3, 2, 1]}, "x", "y", logx=True,
                                    vertical={"v": 2}),
        "flow": flow([("a", torch.eye(3), "then"), ("b", -torch.eye(3), "")], (1, 2, 4), "Two", columns=2),
    }


def test_every_picture_is_small_and_has_words(sample, tokens):
    for name, fig in drawings(sample, tokens).items():
        assert len(png_bytes(fig)) <= 150_000, name
        assert len(fig.alt) > 12, name


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
    torch.manual_seed(5)
    attention = torch.rand(6, 4, 12, 12).softmax(-1)
    fig = attention_on_face(sample, attention, AUS, face=2, au=10)
    heights = [bar.get_height() for bar in fig.axes[1].patches]
    np.testing.assert_allclose(heights, attention[2, :, AUS.index(10)].mean(0).numpy(), rtol=1e-6)
    for wrong, words in ((partial(attention_on_face, face=6), "face must be 0 to 5, got 6"),
                         (partial(attention_on_face, au=9), "AU9 is not one of 1, 2, 4")):
        with pytest.raises(ValueError, match=words):
            wrong(sample, attention, AUS)


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


def test_lines_are_what_was_given():
    fig = plot_lines([1, 2, 4], {"a": [1, 5, 3]}, "x", "y", "Title")
    np.testing.assert_array_equal(fig.axes[0].lines[0].get_xydata(), [[1, 1], [2, 5], [4, 3]])
    assert fig.axes[0].get_legend() is None


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


def test_a_picture_without_a_title_says_only_what_it_shows():
    assert flow([("a", torch.eye(2), ""), ("b", torch.eye(2), "")], (1, 2), columns=2).alt == "a, then b"


def test_a_slider_redraws(tokens):
    draw = partial(order_picture, BiLSTMRelation(8, 12), tokens[:1], AUS)
    box = widgets.explore(draw, shuffle=ipywidgets.IntSlider(0, 0, 5))
    before = box.picture.value
    box.controls["shuffle"].value = 3
    assert box.picture.value != before
    assert "read as" in box.picture.value


def test_energy_landscape_paths_end_in_fixed_points():
    plane = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    fig = energy_landscape(plane, [30], torch.tensor([[0.9, 0.1], [0.1, 0.6]]))
    ends = sorted(tuple(np.round(line.get_xydata()[0], 3)) for line in fig.axes[0].lines if line.get_markersize() == 8)
    assert ends == [(0.0, 1.0), (1.0, 0.0)]
    assert isinstance(fig, Figure)


TRUE = {"5.1": 8 * 80 * (160 + 80 + 2), "5.2": 3, "5.3": 0.9389, "5.4": False, "5.5": 6,
        "6.1": math.sin(6 / 10000 ** (2 / 24)),
        "6.2": [math.exp(s) / (math.exp(2) + 1 + math.exp(-3)) for s in (2, 0, -3)], "6.3": -2.5,
        "6.4": math.exp(6**0.5) / (math.exp(6**0.5) + 11 * math.exp(-(6**0.5))),
        "7.1": math.tanh(1), "7.2": 0.25, "7.3": 1 / (1 + math.exp(-2)),
        "7.4": 1.0}  # fmt: skip


@pytest.mark.parametrize("number", TRUE)
def test_exercises_know_the_truth(number):
    assert is_correct(number, TRUE[number])
    wrong = not TRUE[number] if isinstance(TRUE[number], bool) else np.asarray(TRUE[number]) + 0.2
    assert not is_correct(number, wrong)
    assert len(exercises()[number].hint) > 20


def test_answers_leave_the_readers_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    for number in TRUE:
        exercises()[number].answer()
    assert_close(torch.rand(3), expected)
