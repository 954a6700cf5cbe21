"""Widgets of notebooks 01 to 04: traits in, pictures and scores out, no browser needed."""

import ast
import base64
import io
import itertools
import re

import ipywidgets as w
import numpy as np
import pytest
import torch
from PIL import Image, ImageColor
from sklearn.metrics import cohen_kappa_score, f1_score

from lorral_lite.course import ch01_faces, portraits
from lorral_lite.course import explore as widgets
from lorral_lite.course.ch01_faces import (
    QUIZ_AUS,
    CoderQuiz,
    Playground,
    QuizItem,
    agreement,
    playground_faces,
    playground_figure,
    quiz_faces,
    quiz_feedback,
    quiz_item,
    quiz_score,
)
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
from lorral_lite.course.portraits import STUDIO, draw_on, mark_face, portrait
from lorral_lite.draw import base as figures
from lorral_lite.draw.faces import part_grid
from lorral_lite.draw.results import bars
from lorral_lite.faces.render import render_faces
from lorral_lite.facs import ACTION_UNITS, AU_SETS, EXPRESSIONS, INTENSITY
from lorral_lite.landmarks import au_centers, ruler
from lorral_lite.model.lorral import LoRRaLConfig


@pytest.fixture(scope="module")
def playground():
    return Playground(person=3)


@pytest.fixture
def fresh(playground):
    """The playground with everything off; one is enough, because building it costs more than resetting it."""
    playground.show(())
    playground.side.value, playground.person.value = "both", 3
    for switch in playground.switches.values():
        switch.value = False
    for name, slider in playground.place.items():
        slider.value = round(STUDIO[name])
    return playground


# --------------------------------------------------------------------------------------------------------- explore


def test_explore_redraws_shows_errors_and_recovers():
    def draw(x):
        if x == 3:
            raise ValueError("x must not be 3")
        return bars({"s": [x]}, ["a"], title=f"x is {x}")

    box = widgets.explore(draw, x=w.IntSlider(1, 0, 5))
    first = box.picture.value
    assert 'alt="x is 1' in first
    box.controls["x"].value = 5
    assert 'alt="x is 5' in box.picture.value
    box.controls["x"].value = 3
    assert box.picture.value == "<p role='alert'>x must not be 3</p>"
    box.controls["x"].value = 1
    assert box.picture.value == first


def test_explore_lays_out_once_for_each_size_of_picture():
    drawn = []

    def draw(x):
        drawn.append(bars({"s": [1]}, ["a" * 8 * x]) if x < 5 else bars({"s": [1] * 9}, list("a" * 9)))
        return drawn[-1]

    box = widgets.explore(draw, x=w.IntSlider(1, 0, 9))
    box.controls["x"].value = 2
    box.controls["x"].value = 7
    boxes = [fig.axes[0].get_position().bounds for fig in drawn]
    assert boxes[0] == boxes[1]
    engines = [type(fig.get_layout_engine()).__name__ for fig in drawn]
    assert engines == ["ConstrainedLayoutEngine", "PlaceHolderLayoutEngine", "ConstrainedLayoutEngine"]


# ------------------------------------------------------------------------------------------------------- portraits


def test_only_the_aus_move_in_a_portrait():
    neutral, smile = portrait({}, 4), portrait({12: 1.0}, 4)
    assert neutral[0].shape == (150, 150, 3)
    assert neutral[0].dtype == np.uint8
    still = [*range(14), *range(19, 23), *range(25, 29)]  # brows, bridge of the nose, upper lids
    np.testing.assert_allclose(smile[1][still], neutral[1][still], atol=1e-3)
    assert (smile[1][[31, 37], 1] < neutral[1][[31, 37], 1] - 0.1 * ruler(neutral[1])).all()  # corners go up
    eyes = neutral[1][19:25].mean(0), neutral[1][25:31].mean(0)
    assert eyes[0][1] == pytest.approx(eyes[1][1], abs=1e-3)


def test_scene_0_is_the_studio_and_others_differ():
    faces = [portrait({}, 4, scene)[0] for scene in (0, 1, 2)]
    assert all((a != b).any() for a, b in itertools.combinations(faces, 2))
    corner = faces[0][2:8, 2:8].reshape(-1, 3).astype(float)
    assert corner.std(0).max() < 2  # plain ground


def test_no_grey_border_in_the_studio():
    for person in range(6):
        bottom = portrait({}, person, 0, 100)[0][-1].astype(int)
        assert not (np.abs(bottom - 128).max(1) < 2).all(), person


@pytest.mark.parametrize(("aus", "title"), [({}, "0"), ({12: 0.0}, "0"), ({1: 0.4, 12: (0.6, 0.0)}, "1B+L12C")])
def test_playground_figure_is_titled_in_facs_notation(aus, title):
    fig = playground_figure(aus, 3, size=100)
    assert [ax.get_title() for ax in fig.axes] == ["neutral", title]


def test_playground_figure_wraps_a_long_notation_without_losing_an_au():
    fig = playground_figure(dict.fromkeys(ACTION_UNITS, 1.0), 3, size=100)
    title = fig.axes[1].get_title()
    assert "\n" in title
    assert max(map(len, title.split("\n"))) <= 40
    assert title.replace("\n", "").split("+") == [f"{au}E" for au in ACTION_UNITS]


def near(image, colour, reach=40):
    """Where a picture has about this colour."""
    rgb = np.array(ImageColor.getrgb(colour))
    return np.abs(image.astype(int) - rgb).sum(-1) < reach


def test_marks_lie_where_landmarks_and_centres_are():
    image, points = portrait({}, 3, size=100)
    grey = np.full_like(image, 90)
    plain = mark_face(grey, points, (1, 12))
    assert (plain == 90).all()
    assert plain.shape == (200, 200, 3)
    drawn = mark_face(grey, points, landmarks=True)
    for x, y in np.round(2 * points + 1).astype(int):
        assert near(drawn, "white")[y - 1:y + 2, x - 1:x + 2].any()
    assert near(drawn, figures.SKY).any()
    for aus in ((1,), (12,), (1, 12)):
        dots = mark_face(grey, points, aus, centers=True)
        wanted = 2 * au_centers(points.astype(np.float64), aus).reshape(-1, 2) + 1
        assert all(near(dots, figures.ORANGE)[int(y), int(x)] for x, y in wanted)
        y, x = np.nonzero(near(dots, figures.ORANGE))
        away = np.hypot(x[:, None] - wanted[:, 0], y[:, None] - wanted[:, 1]).min(1)
        assert away.max() < 8


def test_a_crop_is_the_window_of_lite_around_the_centre():
    image, points = portrait({}, 3, size=88)
    frames = near(mark_face(np.full_like(image, 90), points, (12,), crops=True), figures.ORANGE)
    left = frames[:, :88]
    y, x = np.nonzero(left)
    side = LoRRaLConfig.lite().crop_size * 4  # cells of 4 pixels
    assert x.max() - x.min() == pytest.approx(2 * side, abs=2)
    assert (x.max() + x.min()) / 2 == pytest.approx(2 * points[31, 0] + 1, abs=1)
    assert (y.max() + y.min()) / 2 == pytest.approx(2 * points[31, 1] + 1, abs=1)


def test_switches_mark_both_faces_and_change_nothing_else():
    plain, _ = playground_faces({12: 1.0}, 3, size=100)
    for name in ("landmarks", "centers", "crops"):
        marked, titles = playground_faces({12: 1.0}, 3, size=100, **{name: True})
        assert titles == ["neutral", "12E"]
        for before, after in zip(plain, marked, strict=True):
            same = np.abs(after[::2, ::2].astype(int) - before).sum(-1) < 60
            assert 0.5 < same.mean() < 0.995, name
    none, _ = playground_faces({}, 3, size=100, centers=True)
    assert none[1].shape == (200, 200, 3)  # no AU, no centre


def test_a_named_pose_is_seen_and_a_scene_s_own_is_aligned_away():
    straight, tilted = portrait({}, 4)[1], portrait({}, 4, roll=10.0)[1]
    assert tilted[19, 1] < straight[19, 1] - 2  # clockwise: the left eye rises
    np.testing.assert_allclose(portrait({}, 4, roll=0.0)[1], straight)
    eyes = [portrait({}, 4, 2, **more)[1] for more in ({}, {"roll": 10.0})]
    level = [p[25:31, 1].mean() - p[19:25, 1].mean() for p in eyes]
    assert abs(level[0]) < 1e-3
    assert level[1] > 2
    assert (portrait({}, 4, light_azimuth=-60.0)[0] != portrait({}, 4)[0]).any()
    with pytest.raises(ValueError, match="yaw must lie between -20 and 20, got 40"):
        portrait({}, 4, yaw=40)


def test_playground_figure_names_a_wrong_argument():
    with pytest.raises(ValueError, match="unknown action unit 3"):
        playground_figure({3: 1.0})
    with pytest.raises(ValueError, match="intensity of AU12 must lie between 0 and 1"):
        playground_figure({12: 1.5})


# ------------------------------------------------------------------------------------------------------ playground


def test_a_slider_changes_the_picture_and_the_notation(fresh):
    before = fresh.picture.value
    assert "</b> 0" in fresh.readout.value
    fresh.sliders[12].value = 5
    assert fresh.picture.value != before
    assert fresh.readout.value.endswith("12E</span>")
    assert fresh.aus == {12: 1.0}
    fresh.sliders[12].value = 0
    assert fresh.picture.value == before


def test_there_is_a_slider_for_every_au_with_letters(fresh):
    assert list(fresh.sliders) == list(ACTION_UNITS)
    for au, slider in fresh.sliders.items():
        assert slider.description == ACTION_UNITS[au].label
        assert [label for label, _ in slider.options] == ["0", *INTENSITY]
    for level, intensity in enumerate(INTENSITY.values(), start=1):
        fresh.show((12,), level)
        assert fresh.aus == {12: pytest.approx(intensity)}


def test_sliders_are_grouped_by_region(fresh):
    groups, region = {}, None
    for child in (c for column in fresh.children[3].children[1:] for c in column.children):
        if isinstance(child, w.HTML):
            region = child.value
        else:
            groups.setdefault(region, []).append(next(au for au, s in fresh.sliders.items() if s is child))
    assert groups == {f"<b>{name} face</b>": [au for au, unit in ACTION_UNITS.items() if unit.region == name]
                      for name in ("upper", "middle", "lower")}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_preset_sets_its_aus_and_clears_the_others(fresh, name):
    fresh.sliders[14].value = 2
    fresh.presets[name].click()
    assert set(fresh.aus) == set(EXPRESSIONS[name])
    assert fresh.sliders[14].value == 0


def test_a_preset_draws_once(fresh, monkeypatch):
    calls = []
    monkeypatch.setattr(ch01_faces, "playground_faces", lambda *a, **k: calls.append(a) or ([], []))
    fresh.presets["fear"].click()
    assert len(calls) == 1


@pytest.mark.parametrize(("control", "value"), [("person", 8), ("side", "left"), ("light_azimuth", -40),
    ("light_elevation", 0), ("yaw", 10), ("pitch", -10), ("roll", 10), ("landmarks", True), ("centers", True),
    ("crops", True)])
def test_every_switch_changes_the_picture(fresh, control, value):
    fresh.sliders[12].value = 5
    before = fresh.picture.value
    controls = {"person": fresh.person, "side": fresh.side, **fresh.place, **fresh.switches}
    controls[control].value = value
    assert fresh.picture.value != before


def test_the_playground_says_in_text_what_it_shows(fresh):
    fresh.show((1, 2), level=3)
    for words in ('alt="neutral"', 'alt="1C+2C"', ">1C+<wbr>2C</figcaption>"):
        assert words in fresh.picture.value
    assert 'role="status"' in fresh.readout.value


def test_running_all_cells_again_leaves_each_widget_its_own_state():
    first, second = Playground(2), Playground(2)
    before = first.picture.value
    second.presets["happiness"].click()
    assert first.aus == {}
    assert first.picture.value == before != second.picture.value
    asked, again = CoderQuiz(0), CoderQuiz(0)
    asked.check()
    assert again.history == []
    assert not again.answer.disabled


def test_widgets_leave_the_colour_of_their_text_to_the_reader_s_theme(fresh):
    quiz = CoderQuiz(0)
    quiz.check()
    for text in (fresh.readout.value, fresh.picture.value, quiz.feedback.value, quiz.picture.value):
        words = re.sub(r'src="[^"]*"', "", text)
        assert "color" not in words
        assert "background" not in words
    for drawn in (fresh.picture.value, widgets.picture_html(crop_figure())):
        data = base64.b64decode(re.search(r"base64,([^\"]+)", drawn)[1])
        assert Image.open(io.BytesIO(data)).mode == "RGB"  # opaque: lines and text never stand on a dark page


def test_side_shows_an_au_on_one_side(fresh):
    fresh.sliders[12].value = 3
    for side, expected, notation in (("left", (0.6, 0.0), "L12C"), ("right", (0.0, 0.6), "R12C")):
        fresh.side.value = side
        assert fresh.aus == {12: expected}
        assert fresh.readout.value.endswith(f"{notation}</span>")
        assert f">{notation}</figcaption>" in fresh.picture.value


# ------------------------------------------------------------------------------------------------------------ quiz


@pytest.mark.parametrize("seed", range(5))
def test_agreement_is_scikit_learns(seed):
    random = np.random.default_rng(seed)
    truth, coded = random.random((7, 12)) < 0.3, random.random((7, 12)) < random.random()
    f1, kappa = agreement(truth, coded)
    assert f1 == pytest.approx(100 * f1_score(truth.ravel(), coded.ravel(), zero_division=0))
    assert kappa == pytest.approx(cohen_kappa_score(truth.ravel(), coded.ravel()))


def test_agreement_of_extreme_coders():
    truth = np.array([[1, 0, 0, 1], [0, 0, 1, 0]])
    assert agreement(truth, truth) == (100.0, 1.0)
    assert agreement(truth, 1 - truth)[0] == 0
    assert agreement(truth, 1 - truth)[1] < -0.8
    assert agreement(truth, np.ones_like(truth))[1] == 0  # whoever says yes to everything decides nothing
    assert np.isnan(agreement(np.zeros(4), np.zeros(4))[1])
    with pytest.raises(ValueError, match="same decisions, got 8 and 4"):
        agreement(truth, truth[0])


def test_quiz_items_are_reproducible_varied_and_solvable():
    items = [quiz_item(n) for n in range(40)]
    assert items == [quiz_item(n) for n in range(40)]
    assert items != [quiz_item(n, seed=1) for n in range(40)]
    assert {len(item.aus) for item in items} == {1, 2, 3}
    assert len({item.person for item in items}) > 30
    for item in items:
        assert set(item.aus) <= set(QUIZ_AUS) == set(AU_SETS["bp4d"])
        assert set(item.aus.values()) <= {0.6, 0.8, 1.0}


def test_the_picture_does_not_tell_the_answer_before_it_is_asked():
    item = QuizItem({4: 0.8, 15: 1.0}, person=7)
    hidden, shown = quiz_faces(item, size=100), quiz_faces(item, reveal=True, size=100)
    assert shown[1] == ["neutral", "4D+15E"]
    assert hidden[1] == ["neutral", "which AUs?"]
    np.testing.assert_array_equal(hidden[0], shown[0])


def test_feedback_sorts_the_ticks():
    item = QuizItem({4: 0.8, 15: 1.0}, person=7)
    assert quiz_feedback(item, [15, 1, 12]) == {"found": [15], "missed": [4], "claimed": [1, 12]}
    with pytest.raises(ValueError, match="unknown action unit 3"):
        quiz_feedback(item, [3])


@pytest.mark.parametrize(("ticked", "words"), [
    ([4, 15], "Found 2 of 2."), ([15, 1, 12], "Found 1 of 2, 2 claimed that are not there."),
    ([1], "Found 0 of 2, 1 claimed that is not there."), ([], "Found 0 of 2.")])
def test_the_score_is_one_sentence(ticked, words):
    assert quiz_score(QuizItem({4: 0.8, 15: 1.0}, person=7), ticked) == words


def test_the_quiz_scores_explains_and_runs_on():
    quiz = CoderQuiz()
    truth, coded = [], []
    for n in range(4):
        item, before = quiz.item, quiz.picture.value
        assert item == quiz_item(n)
        assert not any(tick.value for tick in quiz.ticks.values())
        assert quiz.feedback.value == ""
        ticked = {next(iter(item.aus)), 24}  # one right, one mostly wrong
        for au in ticked:
            quiz.ticks[au].value = True
        quiz.answer.click()
        truth += [au in item.aus for au in QUIZ_AUS]
        coded += [au in ticked for au in QUIZ_AUS]
        assert quiz.answer.disabled
        assert quiz.picture.value != before
        assert quiz_score(item, ticked) in quiz.feedback.value
        for au in ticked | set(item.aus):
            assert ACTION_UNITS[au].sign in quiz.feedback.value
        f1, kappa = 100 * f1_score(truth, coded), cohen_kappa_score(truth, coded)
        assert f"After {n + 1} face{'s' * (n > 0)}: F1 {f1:.0f} %, Cohen's kappa {kappa:.2f}" in quiz.feedback.value
        quiz.following.click()
    assert len(quiz.history) == 4


def test_a_second_check_of_the_same_face_does_not_count():
    quiz = CoderQuiz()
    quiz.answer.click()
    quiz.check()
    assert len(quiz.history) == 1


# -------------------------------------------------------------------------------- receptive fields and crops


@pytest.mark.parametrize(("part", "pixels"), [((3, 4), 13 * 13), ((0, 0), 12 * 12), ((0, 4), 12 * 13)])
def test_a_part_sees_itself_and_one_pixel_more(part, pixels):
    seen = seen_pixels(patch_model((8,)), part, 8) > 0
    assert seen.sum() == pixels
    r, c = (11 * k for k in part)
    assert seen[r : r + 11, c : c + 11].all()


@pytest.mark.parametrize(("grids", "side"), [((1,), 15), ((8, 4), 30), ((1, 1), 34)])
def test_deeper_and_plain_layers_see_further(grids, side):
    seen = seen_pixels(patch_model(grids), (1, 2) if grids[-1] != 1 or len(grids) == 2 else (3, 4),
                       8 if grids == (1,) else 4) > 0
    assert seen.sum() == side**2


def test_receptive_figure_counts_what_it_tints_and_refuses_parts_that_are_not_there():
    fig = receptive_figure(2, 5)
    assert [ax.get_title().split(":")[1] for ax in fig.axes] == [" 169 of 7744 pixels", " 225 of 7744 pixels"]
    with pytest.raises(ValueError, match="a row and a column from 0 to 3"):
        receptive_figure(2, 5, "two PatchConvs")
    with pytest.raises(ValueError, match="layers must be one of one PatchConv, two PatchConvs"):
        receptive_figure(2, 5, "three")


def test_crops_follow_the_moved_landmarks():
    image, points = portrait({}, 5, size=88)
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


# ------------------------------------------------------------------------------------------- figures of 01 to 04


def test_bars_have_the_given_heights_and_names():
    fig = bars({"a": [1, 20], "b": [3, 4]}, ["x", "y"], "T", "%", log=True)
    ax = fig.axes[0]
    assert [bar.get_height() for group in ax.containers for bar in group] == [1, 20, 3, 4]
    assert ax.get_yscale() == "log"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["x", "y"]
    with pytest.raises(ValueError, match="one value per label"):
        bars({"a": [1]}, ["x", "y"])


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


def test_part_grid_tints_what_is_seen():
    seen = np.zeros((16, 16))
    seen[4:8, 8:12] = 1
    fig = part_grid([np.zeros((16, 16, 3))], 4, ["t"], part=(1, 2), seen=[seen])
    tint = np.asarray(fig.axes[0].images[1].get_array())
    np.testing.assert_array_equal(tint[..., 3] > 0, seen > 0)
    assert fig.axes[0].patches[0].get_xy() == (7.5, 3.5)
    with pytest.raises(ValueError, match="need 1 titles"):
        part_grid([np.zeros((16, 16, 3))], 4, ["t", "u"])


def test_feature_maps_show_the_liveliest_channels_in_order():
    maps = torch.zeros(4, 5, 5)
    maps[1, 0, 0], maps[3, 2, 2] = 1.0, 5.0
    fig = feature_maps({"m": maps}, channels=2)
    np.testing.assert_array_equal(np.stack([ax.images[0].get_array() for ax in fig.axes]), maps[[1, 3]])
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
    image, points = portrait({12: 1.0}, 3, size=88)
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
    assert len(figures.png_bytes(fig)) <= figures.PNG_LIMIT
    flow = one_flow()
    del flow["tokens"], flow["image"]
    with pytest.raises(ValueError, match="the flow lacks image, tokens"):
        architecture_flow(flow, (1, 12), [1, 0])


def test_figure_3_names_every_layer():
    words = [t.get_text() for t in convolution_blocks().axes[0].texts]
    assert words.count("Conv2D") == 2 + 1 + 3
    assert words.count("BatchNorm") == words.count("PReLU") == 2 + 3
    assert words.count("MaxPool 2") == 1


def test_every_figure_of_notebooks_1_to_4_is_small_and_has_words():
    drawn = [playground_figure({12: 1.0}, 3, landmarks=True), receptive_figure(), crop_figure(),
             convolution_blocks()]
    for fig in drawn:
        assert len(figures.png_bytes(fig)) <= figures.PNG_LIMIT
        assert len(fig.alt) > 12
    assert ast.literal_eval(f'"{drawn[0].alt}"')  # no quotation mark that would end the alt attribute


def test_faces_are_drawn_on_the_device_that_was_asked_for(monkeypatch):
    seen = []
    original = render_faces
    monkeypatch.setattr(portraits, "render_faces",
                        lambda *a, **k: (seen.append(k["device"].type), original(*a, **k))[1])
    draw_on("cpu")
    first = portrait({12: 1.0}, 3, size=64)[0]
    draw_on("cpu")  # forgets what was drawn elsewhere
    assert (portrait({12: 1.0}, 3, size=64)[0] == first).all()
    assert seen == ["cpu"] * 4
    with pytest.raises(ValueError, match="cannot be used here"):
        draw_on("abacus")
