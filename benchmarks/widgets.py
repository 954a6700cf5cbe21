"""``python -m benchmarks widgets``: milliseconds from a control's change to its new picture, every widget once.

Measured in the kernel: the callback with all that it draws and packs, without the way to the browser.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

import ipywidgets
import numpy as np
import torch

from lorral_lite.course.ch01_faces import CoderQuiz, Playground
from lorral_lite.course.ch03_04_layers import crop_figure, receptive_figure
from lorral_lite.course.ch05_07_relations import attention_on_face, order_picture, recall_picture
from lorral_lite.course.ch08_training import schedule_explorer
from lorral_lite.course.ch09_evaluation import threshold_explorer
from lorral_lite.course.ch10_ablation import relation_dial
from lorral_lite.course.explore import explore
from lorral_lite.course.portraits import Sample, draw_on, face_patterns, portrait
from lorral_lite.device import threads
from lorral_lite.facs import AU_SETS
from lorral_lite.model.relations import make_relation

from . import Goal, Table
from .timing import per, seconds

LIMIT = 150  # ms
TIMES = 6


def measure(device: torch.device, tiny: bool) -> Iterator[Table]:
    """One table; nothing seen before is shown again, so no reaction comes from memory alone."""
    rows, goals = [], []
    with threads(1):
        draw_on(device.type)
        for name, step, change in reactions(tiny):
            fresh = count()
            seconds(lambda step=step, fresh=fresh: step(next(fresh)))
            times = [seconds(lambda step=step, fresh=fresh: step(next(fresh))) for _ in range(2 if tiny else TIMES)]
            rows.append([name, change, per(times)])
            goals.append(Goal(f"{name}, {change}, ms", rows[-1][2].median, LIMIT))
        draw_on("cpu")
    yield Table("Reactions of the widgets", ["widget", "what the reader does", "ms"], rows,
                f"Median (quartiles) of {2 if tiny else TIMES}, one thread.", goals)


def reactions(tiny: bool) -> Iterator[tuple[str, Callable[[int], object], str]]:
    """(widget, step, what is done): ``step(k)`` does it the k-th time and returns when the picture is there."""
    play = Playground(2)

    def turn(control, values):
        def step(k):
            control.value = values[k % len(values)]
        return step

    def press(k):
        list(play.sliders.values())[k % len(play.sliders)].value = 3

    yield "Playground", press, "AU slider"
    yield "Playground", lambda k: list(play.presets.values())[1 + k % (len(play.presets) - 1)].click(), "preset"
    yield "Playground", turn(play.person, range(3, 40)), "person"
    yield "Playground", turn(play.place["light_azimuth"], [*range(-60, 60, 10)]), "light"
    yield "Playground", turn(play.place["yaw"], [-20, -15, -10, -5, 0, 5, 10, 15, 20]), "pose"
    for switch in play.switches.values():
        switch.value = True
    play.show(())
    yield "Playground", press, "AU slider, all switches on"
    quiz = CoderQuiz(0)
    yield "CoderQuiz", lambda k: quiz.next_face(), "next face"

    def answer(k):
        quiz.answer.disabled = False
        quiz.check()

    yield "CoderQuiz", answer, "check"

    def explored(draw, values, name="x"):
        control = ipywidgets.Dropdown(options=values)
        explore(lambda **given: draw(**given), **{name: control})
        return turn(control, [*values[1:], values[0]])

    yield "receptive_figure", explored(receptive_figure, [2, 3, 4, 5], "row"), "part"
    yield "crop_figure", explored(crop_figure, [-6.0, 0.0, 6.0], "right"), "moved landmarks"
    yield "schedule_explorer", turn(schedule_explorer().controls["gamma"], [0.1, 0.4, 0.7]), "gamma"
    rng = np.random.default_rng(0)
    chances = rng.random((2000, 12))
    box = threshold_explorer(chances, (rng.random((2000, 12)) < chances).astype(int), AU_SETS["bp4d"])
    yield "threshold_explorer", turn(box.controls["threshold"], [0.1, 0.3, 0.7]), "threshold"
    yield "relation_dial", turn(relation_dial().controls["strength"], [0.2, 0.5, 0.8]), "strength"

    faces = 4
    tokens = torch.from_numpy(rng.standard_normal((faces, 12, 24)).astype(np.float32))
    aus = AU_SETS["bp4d"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bilstm = make_relation("bilstm", 24, 12)
    draw = partial(order_picture, bilstm, tokens, aus)
    yield "order_picture", explored(draw, [2, 3, 4, 5], "shuffle"), "order"
    image, points = portrait({12: 1.0}, 3, size=88)
    sample = Sample(np.stack([image] * faces), np.stack([points] * faces), np.ones((faces, 12), int), tokens)
    attention = torch.from_numpy(rng.random((faces, 2, 12, 12)).astype(np.float32))
    draw = partial(attention_on_face, sample, attention, aus)
    yield "attention_on_face", explored(draw, list(aus), "au"), "AU"
    stored = face_patterns(3 if tiny else 9)
    yield "recall_picture", explored(partial(recall_picture, stored), [5.0, 10.0, 20.0], "beta"), "beta"
