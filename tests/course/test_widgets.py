"""Widgets of the notebooks: controls in, pictures and scores out, no browser needed."""

import base64
import io
import re
from functools import partial

import ipywidgets as w
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import cohen_kappa_score, f1_score

from lorral_lite import BiLSTMRelation
from lorral_lite.course import ch01_faces
from lorral_lite.course.ch01_faces import (
    QUIZ_AUS,
    CoderQuiz,
    Playground,
    QuizItem,
    playground_figure,
    quiz_faces,
    quiz_feedback,
    quiz_item,
    quiz_score,
)
from lorral_lite.course.ch03_04_layers import crop_figure, receptive_figure
from lorral_lite.course.ch05_07_relations import attention_on_face, order_picture, recall_picture
from lorral_lite.course.ch08_training import LiveCurves, plot_schedule, schedule_explorer
from lorral_lite.course.ch09_evaluation import threshold_explorer
from lorral_lite.course.ch10_ablation import relation_dial
from lorral_lite.course.explore import explore, picture_html
from lorral_lite.course.portraits import STUDIO, Sample, face_patterns, studio_face
from lorral_lite.draw.results import bars
from lorral_lite.facs import ACTION_UNITS, AU_SETS, EXPRESSIONS, INTENSITY
from lorral_lite.measure.metrics import at_threshold

AUS = AU_SETS["bp4d"]


def parts(box):
    """({description: control}, picture) of what :func:`explore` gives, or of the playground."""
    if isinstance(box, Playground):
        controls = [*box.sliders.values(), box.person, *box.place.values(), box.side, *box.switches.values()]
        return {control.description: control for control in controls}, box.picture
    row, picture = box.children
    return {control.description: control for control in row.children}, picture


def alt(picture) -> str:
    return re.search(r'alt="([^"]*)"', picture.value)[1]


def assert_readable(*texts: str) -> None:
    """Every picture has words and is opaque, and no text has a colour of its own: the reader's theme gives it."""
    for text in texts:
        assert all(len(words) > 1 for words in re.findall(r'<img alt="([^"]*)"', text))
        for data in re.findall(r"base64,([^\"]+)", text):
            assert Image.open(io.BytesIO(base64.b64decode(data))).mode == "RGB"
        words = re.sub(r'src="[^"]*"', "", text)
        assert "color" not in words
        assert "background" not in words


# ---------------------------------------------------------------------------------------------- what all have in common


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


def smiling():
    playground = Playground(person=3)
    playground.sliders[12].value = 3  # a side and centres are seen of a face that shows something
    return playground


def whole_steps(most: int, value: int = 0) -> w.IntSlider:
    return w.IntSlider(value, 0, most)


def of_order():
    torch.manual_seed(0)
    return explore(partial(order_picture, BiLSTMRelation(8, 12), torch.randn(1, 12, 8), AUS), shuffle=whole_steps(5))


def of_attention():
    images, landmarks = map(np.stack, zip(*(studio_face({12: 1.0}, k, size=88) for k in (1, 2)), strict=True))
    sample = Sample(images, landmarks, np.eye(2, 12, dtype=int), torch.zeros(2, 12, 1))
    torch.manual_seed(0)
    draw = partial(attention_on_face, sample, torch.rand(2, 4, 12, 12).softmax(-1), AUS)
    return explore(draw, face=whole_steps(1), au=w.SelectionSlider(options=AUS, value=12))


def of_thresholds():
    chances = np.linspace(0.05, 0.95, 40).reshape(20, 2)
    return threshold_explorer(chances, (chances + np.tile([[-0.3], [0.3]], (10, 1)) > 0.6).astype(int), [6, 12])


EXPLORERS = {
    "playground": smiling, "schedule": schedule_explorer, "thresholds": of_thresholds, "dial": relation_dial,
    "order": of_order, "attention": of_attention,
    "receptive": lambda: explore(receptive_figure, row=whole_steps(7, 2), column=whole_steps(7, 3),
                                 layers=w.Dropdown(options=["one PatchConv", "two PatchConvs"]), person=whole_steps(9)),
    "crops": lambda: explore(crop_figure, au=w.Dropdown(options=AUS), right=w.FloatSlider(0, min=-20, max=20),
                             down=w.FloatSlider(0, min=-20, max=20), person=whole_steps(9), scene=whole_steps(9)),
    "recall": lambda: explore(partial(recall_picture, face_patterns(4)), beta=w.FloatLogSlider(20, min=0, max=2),
                              steps=whole_steps(5, 1), noise=w.FloatSlider(0, min=0, max=3),
                              hidden=w.FloatSlider(0.5, min=0, max=0.9), which=whole_steps(3)),
}


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_control_has_a_name_and_moves_the_picture_over_its_range(name):
    controls, picture = parts(EXPLORERS[name]())
    assert_readable(picture.value)
    assert all(controls), "a control without a name cannot be found by a screen reader"
    for said, control in controls.items():
        start, seen = control.value, {picture.value}
        ends = (control.min, control.max) if hasattr(control, "max") else (
            (not start,) if isinstance(start, bool) else (control._options_values[0], control._options_values[-1]))
        for value in ends:
            control.value = value
            seen.add(picture.value)
        assert len(seen) > 1, said
        assert not any("alert" in shown for shown in seen), said
        control.value = start


def test_explore_redraws_shows_errors_and_recovers():
    def draw(x):
        if x == 3:
            raise ValueError("x must not be 3")
        return bars({"s": [x]}, ["a"], title=f"x is {x}")

    controls, picture = parts(explore(draw, x=w.IntSlider(1, 0, 5)))
    first = picture.value
    assert 'alt="x is 1' in first
    controls["x"].value = 5
    assert 'alt="x is 5' in picture.value
    controls["x"].value = 3
    assert picture.value == "<p role='alert'>x must not be 3</p>"
    controls["x"].value = 1
    assert picture.value == first


def test_a_picture_of_another_size_or_with_other_axes_is_laid_out_anew():
    controls, picture = parts(explore(lambda x: (plot_schedule() if x else bars({"s": [1]}, ["a"])), x=whole_steps(1)))
    first = picture.value
    controls["x"].value = 1
    assert "Learning rate" in alt(picture)
    controls["x"].value = 0
    assert picture.value == first


def test_words_of_a_picture_cannot_break_the_page():
    fig = bars({"s": [1]}, ["a"])
    fig.alt = 'a "b" <c>'
    assert 'alt="a &quot;b&quot; &lt;c&gt;"' in picture_html(fig)


# ------------------------------------------------------------------------------------------ training and evaluation


def test_live_curves_grow_with_the_log():
    log = [{"epoch": e, "train_loss": 2.0 - e / 4, "lr": 0.01} for e in range(3)]
    curves = LiveCurves("Step 1")
    for done, words in ((1, "Step 1: 1 epoch done"), (3, "Step 1: 3 epochs done")):
        curves.update(log[:done])
        assert words in alt(curves.picture)


def test_the_threshold_explorer_starts_at_the_datas_own_rate():
    y = np.array([[1, 0], [0, 1], [0, 1], [0, 1], [-1, -1]])  # 25 and 75 % of what is known
    p = np.linspace(0.1, 0.9, 10).reshape(5, 2)
    controls, picture = parts(threshold_explorer(p, y, [6, 12]))
    assert controls["base rate %"].value == 25
    assert "AU6 cheek raiser at threshold 0.50 and base rate 25 %" in alt(picture)
    controls["AU"].value = 12
    assert controls["base rate %"].value == 75
    controls["threshold"].value = 0.0
    controls["base rate %"].value = 5
    assert f"F1 {at_threshold(p[:, 1], y[:, 1], 0.0, 0.05)['f1']:.0f}" in alt(picture)


# ------------------------------------------------------------------------------------------------------ playground


def test_playground_figure_wraps_a_long_notation_without_losing_an_au():
    title = playground_figure(dict.fromkeys(ACTION_UNITS, 1.0), 3, size=100).axes[1].get_title()
    assert max(map(len, title.split("\n"))) <= 40
    assert title.replace("\n", "").split("+") == [f"{au}E" for au in ACTION_UNITS]


def test_there_is_a_slider_for_every_au_with_letters(fresh):
    assert list(fresh.sliders) == list(ACTION_UNITS)
    assert [label for label, _ in fresh.sliders[12].options] == ["0", *INTENSITY]
    for level, intensity in enumerate(INTENSITY.values(), start=1):
        fresh.show((12,), level)
        assert fresh.aus == {12: pytest.approx(intensity)}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_preset_sets_its_aus_clears_the_others_and_draws_once(fresh, name, monkeypatch):
    fresh.sliders[14].value = 2
    drawn = []
    monkeypatch.setattr(ch01_faces, "playground_faces", lambda aus, *a, **k: drawn.append(set(aus)) or ([], []))
    fresh.presets[name].click()
    assert drawn == [set(EXPRESSIONS[name])]


@pytest.mark.parametrize(("side", "one", "notation"), [
    ("both", 0.6, "12C"), ("left", (0.6, 0.0), "L12C"), ("right", (0.0, 0.6), "R12C")])
def test_the_playground_says_in_text_what_it_shows_and_on_which_side(fresh, side, one, notation):
    fresh.side.value = side
    fresh.show((12,), level=3)
    assert fresh.aus == {12: one}
    assert f'alt="{notation}"' in fresh.picture.value
    assert f"</b> {notation}</span>" in fresh.readout.value
    assert_readable(fresh.readout.value)


# ------------------------------------------------------------------------------------------------------------ quiz


def test_quiz_items_are_reproducible_varied_and_solvable():
    items = [quiz_item(n) for n in range(40)]
    assert items == [quiz_item(n) for n in range(40)]
    assert items != [quiz_item(n, seed=1) for n in range(40)]
    assert {len(item.aus) for item in items} == {1, 2, 3}
    assert len({item.person for item in items}) > 30
    assert {au for item in items for au in item.aus} <= set(QUIZ_AUS) == set(AUS)


ITEM = QuizItem({4: 0.8, 15: 1.0}, person=7)


def test_the_picture_does_not_tell_the_answer_before_it_is_asked():
    hidden, shown = quiz_faces(ITEM, size=100), quiz_faces(ITEM, reveal=True, size=100)
    assert shown[1] == ["neutral", "4D+15E"]
    assert hidden[1] == ["neutral", "which AUs?"]
    np.testing.assert_array_equal(hidden[0], shown[0])


@pytest.mark.parametrize(("ticked", "groups", "words"), [
    ([4, 15], ([4, 15], [], []), "Found 2 of 2."),
    ([15, 1, 12], ([15], [4], [1, 12]), "Found 1 of 2, 2 claimed that are not there."),
    ([1], ([], [4, 15], [1]), "Found 0 of 2, 1 claimed that is not there.")])
def test_feedback_sorts_the_ticks_and_the_score_is_one_sentence(ticked, groups, words):
    assert quiz_feedback(ITEM, ticked) == dict(zip(("found", "missed", "claimed"), groups, strict=True))
    assert quiz_score(ITEM, ticked) == words


def test_the_quiz_scores_explains_and_runs_on():
    quiz = CoderQuiz()
    truth, coded = [], []
    for n in range(3):
        item, before = quiz.item, quiz.picture.value
        assert item == quiz_item(n)
        assert not any(tick.value for tick in quiz.ticks.values())
        assert quiz.feedback.value == ""
        ticked = {next(iter(item.aus)), 24}  # one right, one mostly wrong
        for au in ticked:
            quiz.ticks[au].value = True
        quiz.answer.click()
        quiz.check()  # a second check of the same face does not count
        truth += [au in item.aus for au in QUIZ_AUS]
        coded += [au in ticked for au in QUIZ_AUS]
        assert quiz.picture.value != before
        assert quiz_score(item, ticked) in quiz.feedback.value
        for au in ticked | set(item.aus):
            assert ACTION_UNITS[au].sign in quiz.feedback.value
        f1, kappa = 100 * f1_score(truth, coded), cohen_kappa_score(truth, coded)
        assert f"F1 {f1:.0f} %, Cohen's kappa {kappa:.2f}" in quiz.feedback.value
        assert_readable(quiz.feedback.value, quiz.picture.value)
        quiz.following.click()
    assert len(quiz.history) == 3
