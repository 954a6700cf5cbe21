"""Chapter 1, action units and faces: the atlas, the playground, the coder's quiz, exercises."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import ipywidgets as w
import numpy as np
import torch
from sklearn.metrics import cohen_kappa_score, f1_score

from ..device import pick_device
from ..draw.base import BLUE, GREY, RED, Picture, new_grid, styled
from ..draw.faces import blank_axes, contact_sheet, draw_face, show_faces
from ..faces import AUS, render_faces
from ..faces.population import Population
from ..faces.render import EYE_LINE, IMAGE_RULER
from ..facs import ACTION_UNITS, AU_SETS, EXPRESSIONS, INTENSITY, check_aus, facs_notation
from ..landmarks import NUM_LANDMARKS, alignment, ruler, transform
from .check import exercise
from .explore import SLIDER, faces_html
from .portraits import STUDIO, mark_face, studio_face


@exercise("1.1", "rows = mean_movement(list(ACTION_UNITS))[1].reshape(18, 98); scale each to length 1, then multiply")
def _against_au12():
    _, moved = mean_movement(ACTION_UNITS)
    rows = moved.reshape(len(moved), -1)
    cosines = rows @ rows[list(ACTION_UNITS).index(12)] / np.linalg.norm(rows, axis=1)
    return list(ACTION_UNITS)[int(cosines.argmin())]


@exercise("1.2", "compare EXPRESSIONS['fear'] with EXPRESSIONS['surprise']; a set difference does it in one line")
def _fear_without_surprise():
    return set(EXPRESSIONS["fear"]) - set(EXPRESSIONS["surprise"])


@exercise("1.3", "coded = np.isin(QUIZ_AUS, [6, 12]) for every face; cohen_kappa_score wants both raveled",
          tolerance=0.005)
def _kappa_of_the_smiler():
    items = [quiz_item(n) for n in range(20)]
    truth = [au in item.aus for item in items for au in QUIZ_AUS]
    return cohen_kappa_score(truth, [au in (6, 12) for au in QUIZ_AUS] * len(items))


@exercise("1.4", "copy the truth (20 × 12), set the first True of each row to False (argmax finds it); F1 in percent",
          tolerance=0.5)
def _f1_of_the_careful():
    items = [quiz_item(n) for n in range(20)]
    found = sum(len(item.aus) - 1 for item in items)
    return 100 * 2 * found / (2 * found + len(items))


ATLAS_PEOPLE = (652, 92, 216)
_PARTS = {"face": (1.95, -2.2, 2.9), "upper": (1.75, -1.6, 0.5), "lower": (1.45, -0.1, 2.75)}  # half width, from, to


def au_atlas(aus: Sequence[int] | None = None, people: Sequence[int] = ATLAS_PEOPLE,
             intensities: Sequence[float] = tuple(INTENSITY.values()), *, part: str = "face", face: int = 180,
             device=None) -> Picture:
    """The AU atlas: one row per AU, for each person the same face, pose and light from neutral up the ``intensities``.

    ``people`` are seeds of :func:`lorral_lite.render_faces`, seen in the :data:`STUDIO`. ``part`` shows the whole
    "face" or cuts out what moves: "upper" (forehead to lower lids), "lower" (nose to chin). ``face`` pixels before
    the cut; ``device`` as in :func:`lorral_lite.device.pick_device`. Default: all 18 AUs at A to E. ValueError for an
    unknown AU, part or intensity.
    """
    aus = check_aus(AUS if aus is None else aus)
    if part not in _PARTS:
        raise ValueError(f"part must be one of {', '.join(_PARTS)}, got {part!r}")
    steps = [0.0, *intensities]
    shown = torch.zeros(len(aus), len(people), len(steps), len(AUS))
    for i, au in enumerate(aus):
        shown[i, :, :, AUS.index(au)] = torch.tensor(steps)
    seeds = [person for _ in aus for person in people for _ in steps]
    images = render_faces(shown.flatten(0, 2), face, seed=seeds, device=pick_device(device), **STUDIO).images.cpu()
    half, top, low = _PARTS[part]  # in rulers
    rows = [round((EYE_LINE + IMAGE_RULER * (v + STUDIO["shift_y"])) * face) for v in (top, low)]
    columns = [round((0.5 + IMAGE_RULER * u) * face) for u in (-half, half)]
    images = images[:, :, max(rows[0], 0):rows[1], columns[0]:columns[1]]
    letters = {x: letter for letter, x in INTENSITY.items()}
    names = ["0", *[letters.get(x, f"{x:g}") for x in intensities]]
    return contact_sheet(images, [f"AU{a} {ACTION_UNITS[a].name.lower()}" for a in aus], names * len(people),
                         "Action units at rising intensity", groups=[f"person {p}" for p in people],
                         size=min(0.95, 11.0 / len(names) / len(people)))


def mean_movement(aus: Sequence[int], people: Sequence[int] = tuple(range(8))) -> tuple[np.ndarray, np.ndarray]:
    """What each AU at full intensity does to the landmarks of procedural faces, mean over ``people``, in rulers.

    Each face is brought upright by its own neutral face (:func:`lorral_lite.landmarks.alignment`), so head
    pose does not blur the arrows. → neutral face (49, 2), movement (A, 49, 2).
    """
    aus = check_aus(aus)
    shown = np.zeros((len(people), 1 + len(aus), len(AUS)), dtype=np.float32)  # neutral, then one AU at a time
    for i, au in enumerate(aus, start=1):
        shown[:, i, AUS.index(au)] = 1
    seeds = np.repeat(people, 1 + len(aus))
    faces = render_faces(torch.from_numpy(shown.reshape(len(seeds), -1)), size=64, seed=seeds, scene=0)
    points = faces.landmarks.numpy().astype(np.float64).reshape(*shown.shape[:2], NUM_LANDMARKS, 2)
    upright = np.stack([transform(person, alignment(person[0])) for person in points])
    unit = ruler(upright[:, 0])[:, None, None]
    neutral = upright[:, 0] / unit
    moved = upright[:, 1:] / unit[:, None] - neutral[:, None]
    return neutral.mean(0), moved.mean(0)


@styled
def au_displacement(aus: Sequence[int] | None = None, people: Sequence[int] = tuple(range(8))) -> Picture:
    """The arrows of :func:`mean_movement`, drawn at true length, the longest printed in rulers (inner eye corner to
    corner). Default: all 18 AUs.
    """
    aus = check_aus(AUS if aus is None else aus)
    neutral, moved = mean_movement(aus, people)
    fig, axes = new_grid(len(aus), 6, 2.15, 2.75, f"How AUs {', '.join(map(str, aus))} move the 49 landmarks")
    fig.get_layout_engine().set(h_pad=0.12)
    box = np.concatenate([neutral, *(neutral + moved)])
    for ax, au, d in zip(axes, aus, moved, strict=True):
        blank_axes(ax, None, box)
        draw_face(ax, neutral, colour="#b4b4b4", width=1.2, dots=False)
        length = np.hypot(*d.T)
        big = length > 0.02
        ax.quiver(*neutral[big].T, *d[big].T, angles="xy", scale_units="xy", scale=1, color=RED, width=0.012,
                  headwidth=3.4, headlength=4, headaxislength=3.6)
        if ax is axes[0]:  # the unit, where it is measured
            ax.annotate("", neutral[22], neutral[25], arrowprops={"arrowstyle": "|-|,widthA=0.25,widthB=0.25",
                                                                  "color": BLUE, "lw": 1.4, "shrinkA": 0, "shrinkB": 0})
            ax.text(*neutral[[22, 25]].mean(0) - [0, 0.1], "1 ruler", ha="center", va="bottom", fontsize=10, color=BLUE)
        ax.set_title(f"AU{au}\n{ACTION_UNITS[au].name.lower()}", fontsize=12)
        ax.text(0.5, 0.0, f"up to {length.max():.2f} rulers", transform=ax.transAxes, ha="center", va="top",
                fontsize=11, color=GREY)
    return fig


SHEET = {
    "neutral": {}, "1+2+5+26": {1: 0.8, 2: 0.8, 5: 0.6, 25: 0.8, 26: 0.8},
    "1+4+15+17": {1: 0.7, 4: 0.7, 15: 0.7, 17: 0.4},
    "4+5+7+23": {4: 0.9, 5: 0.4, 7: 0.7, 23: 0.8}, "6+12+25": {6: 0.9, 12: 0.9, 25: 0.6},
    "9+10+17": {9: 0.9, 10: 0.4, 17: 0.4}, "R12+R14": {14: (0, 1), 12: (0, 0.3)}, "4+24": {24: 0.9, 4: 0.3},
}
SHEET_PEOPLE = (607, 108, 11, 604, 2041, 92, 240, 127)


def people_sheet() -> Picture:
    """Each person of :data:`SHEET_PEOPLE` neutral and with seven AU combinations: the picture of the README."""
    images = [render_faces(aus, seed=person).images[0] for person in SHEET_PEOPLE for aus in SHEET.values()]
    names = [f"person {i + 1}" for i in range(len(SHEET_PEOPLE))]
    return contact_sheet(images, names, list(SHEET), size=1.25)


def playground_faces(aus: dict | None = None, person: int = 1, *, landmarks: bool = False, centers: bool = False,
                     crops: bool = False, size: int = 200, **place: float):
    """The person's neutral face and the same face showing ``aus``: two images (uint8) and their titles.

    ``landmarks`` draws the 49 points, ``centers`` the centres of the shown AUs (paper Figure 4), ``crops`` the windows
    around them that the model looks at; ``place`` is light and pose, see
    :func:`~lorral_lite.course.portraits.studio_face`. The second title is the FACS notation. ValueError for an AU
    that does not exist, an intensity outside 0–1 and a factor outside its range.
    """
    shown = {au: value for au, value in (aus or {}).items() if np.any(np.asarray(value, dtype=float) != 0)}
    faces = [studio_face(aus, person, size=size, **place) for aus in ({}, shown)]
    if landmarks or centers or crops:
        marks = {"landmarks": landmarks, "centers": centers, "crops": crops}
        images = [mark_face(image, points, shown, **marks) for image, points in faces]
    else:
        images = [image for image, _ in faces]
    return images, ["neutral", facs_notation(shown)]


def playground_figure(aus: dict | None = None, person: int = 1, **switches) -> Picture:
    """The two faces of :func:`playground_faces` (same arguments) as a figure, which a notebook can store."""
    images, (neutral, notation) = playground_faces(aus, person, **switches)
    lines = textwrap.wrap(notation.replace("+", "+ "), 48)  # breaks behind a plus
    return show_faces(images, [neutral, "\n".join(line.replace(" ", "") for line in lines)], size=3.3)


class Playground(w.VBox):
    """A slider per AU (0, A to E), presets, person, light, pose and side, switches, and the face in FACS notation.

    Attributes, all widgets: ``sliders`` {AU: slider with values 0–5}, ``presets`` {name: button}, ``person``,
    ``place`` {factor of :func:`lorral_lite.render_faces`: slider} for light and pose, ``side``, ``switches``
    {landmarks, centers, crops: checkbox}, ``readout``, ``picture``. Every callback is :func:`playground_faces`.
    """

    def __init__(self, person: int = 1) -> None:
        look = {"layout": w.Layout(width="25em"), "style": {"description_width": "14em"}}
        letters = [("0", 0), *((letter, k) for k, letter in enumerate(INTENSITY, start=1))]
        self.sliders = {
            au: w.SelectionSlider(options=letters, value=0, description=unit.label, **look)
            for au, unit in ACTION_UNITS.items()
        }
        self.presets = {name: w.Button(description=name, layout=w.Layout(width="7em")) for name in EXPRESSIONS}
        self.person = w.IntSlider(person, 0, max(50, person), description="person", layout=SLIDER)
        self.place = {
            name: w.IntSlider(round(STUDIO[name]), low, high, step=5, description=words, layout=SLIDER)
            for name, words, low, high in (
                ("light_azimuth", "light right °", -80, 80), ("light_elevation", "light up °", -20, 75),
                ("yaw", "turn right °", -20, 20), ("pitch", "tip up °", -15, 15), ("roll", "tilt °", -20, 20))
        }
        self.side = w.Dropdown(options=["both", "left", "right"], description="side", layout=w.Layout(width="14em"))
        self.switches = {
            name: w.Checkbox(False, description=words, indent=False, layout=w.Layout(width="8em"))
            for name, words in (("landmarks", "landmarks"), ("centers", "AU centres"), ("crops", "crops"))
        }
        self.readout, self.picture = w.HTML(), w.HTML()
        self._held = False
        for name, button in self.presets.items():
            button.on_click(lambda _, name=name: self.show(EXPRESSIONS[name]))
        for control in [*self.sliders.values(), self.person, *self.place.values(), self.side, *self.switches.values()]:
            control.observe(self._redraw, names="value")
        groups = {region: [w.HTML(f"<b>{region} face</b>"),
                           *(self.sliders[au] for au, unit in ACTION_UNITS.items() if unit.region == region)]
                  for region in ("upper", "middle", "lower")}
        wrap = w.Layout(flex_flow="row wrap")
        super().__init__([
            w.HBox(list(self.presets.values()), layout=wrap),
            w.HBox([self.person, *self.place.values()], layout=wrap),
            w.HBox([self.side, *self.switches.values()], layout=wrap),
            w.HBox([w.VBox([self.readout, self.picture]), w.VBox(groups["upper"] + groups["middle"]),
                    w.VBox(groups["lower"])], layout=wrap),
        ])
        self._redraw()

    @property
    def aus(self) -> dict:
        """{AU: intensity 0–1, or (left, right) when one side is chosen}: what the sliders say."""
        shown = {au: slider.value / len(INTENSITY) for au, slider in self.sliders.items() if slider.value}
        sides = {"both": lambda x: x, "left": lambda x: (x, 0.0), "right": lambda x: (0.0, x)}
        return {au: sides[self.side.value](x) for au, x in shown.items()}

    def show(self, aus, level: int = 4) -> None:
        """Set the sliders of ``aus`` to ``level`` (4 is D, severe), all others to 0, and draw once."""
        self._held = True
        for au, slider in self.sliders.items():
            slider.value = level if au in aus else 0
        self._held = False
        self._redraw()

    def _redraw(self, _=None) -> None:
        if self._held:
            return
        self.readout.value = f'<span role="status"><b>FACS notation:</b> {facs_notation(self.aus)}</span>'
        place = {name: float(slider.value) for name, slider in self.place.items()}
        switches = {name: box.value for name, box in self.switches.items()}
        self.picture.value = faces_html(*playground_faces(self.aus, self.person.value, **switches, **place))


# ------------------------------------------------------------------------------------------------- be the coder

QUIZ_AUS = AU_SETS["bp4d"]


@dataclass(frozen=True)
class QuizItem:
    """One face to code: what it shows, {AU: 0–1}, and who it is."""

    aus: dict
    person: int


def quiz_item(number: int, seed: int = 0) -> QuizItem:
    """Face ``number`` of the quiz: one to three of the 12 AUs of BP4D, together as often as there, at C, D or E."""
    random = np.random.default_rng([seed, number])
    labels = _quiz_labels(seed)[number % len(_quiz_labels(seed))]
    shown = {au: float(random.choice([0.6, 0.8, 1.0])) for au, label in zip(QUIZ_AUS, labels, strict=True) if label}
    return QuizItem(shown, int(random.integers(1, 1000)))


@lru_cache(maxsize=4)
def _quiz_labels(seed: int) -> np.ndarray:
    labels = Population("bp4d", seed=seed).draw(400)
    return labels[(labels.sum(1) >= 1) & (labels.sum(1) <= 3)]


def quiz_faces(item: QuizItem, reveal: bool = False, size: int = 200):
    """The neutral face and the face to code, two images, and their titles; ``reveal`` makes the answer a title."""
    faces = [studio_face(aus, item.person, size=size)[0] for aus in ({}, item.aus)]
    return faces, ["neutral", facs_notation(item.aus) if reveal else "which AUs?"]


def quiz_feedback(item: QuizItem, ticked) -> dict[str, list[int]]:
    """The ticked AUs sorted into ``found``, ``missed`` and ``claimed`` (not there)."""
    ticked, truth = set(check_aus(ticked)), set(item.aus)
    groups = {"found": ticked & truth, "missed": truth - ticked, "claimed": ticked - truth}
    return {name: sorted(aus) for name, aus in groups.items()}


def quiz_score(item: QuizItem, ticked) -> str:
    """One sentence: how many of the shown AUs were found, and how many were claimed that are not there."""
    counts = {name: len(aus) for name, aus in quiz_feedback(item, ticked).items()}
    total = counts["found"] + counts["missed"]
    wrong = f", {counts['claimed']} claimed that {'is' if counts['claimed'] == 1 else 'are'} not there"
    return f"Found {counts['found']} of {total}{wrong if counts['claimed'] else ''}."


class CoderQuiz(w.VBox):
    """A face beside the same person's neutral: tick the AUs, check, read why, go on; F1 and kappa run along.

    Attributes: ``ticks`` {AU: checkbox}, buttons ``answer`` and ``following``, ``picture``, ``feedback`` (HTML),
    ``item`` (the truth) and ``history``, one (truth, coded) pair of 0/1 rows per face answered.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.number, self.history = seed, -1, []
        self.ticks = {
            au: w.Checkbox(False, description=ACTION_UNITS[au].label, indent=False, layout=w.Layout(width="17em"))
            for au in QUIZ_AUS
        }
        self.answer = w.Button(description="check", button_style="primary")
        self.following = w.Button(description="next face")
        self.picture, self.feedback = w.HTML(), w.HTML()
        self.answer.on_click(lambda _: self.check())
        self.following.on_click(lambda _: self.next_face())
        side = w.VBox([*self.ticks.values(), w.HBox([self.answer, self.following])])
        super().__init__([w.HBox([self.picture, side], layout=w.Layout(flex_flow="row wrap")), self.feedback])
        self.next_face()

    def next_face(self) -> None:
        self.number += 1
        self.item = quiz_item(self.number, self.seed)
        for tick in self.ticks.values():
            tick.value = False
        self.answer.disabled, self.feedback.value = False, ""
        self.picture.value = faces_html(*quiz_faces(self.item))

    def check(self) -> None:
        """Score what is ticked, once for each face."""
        if self.answer.disabled:
            return
        self.answer.disabled = True
        ticked = [au for au, tick in self.ticks.items() if tick.value]
        self.history.append(([au in self.item.aus for au in QUIZ_AUS], [au in ticked for au in QUIZ_AUS]))
        truth, coded = map(np.ravel, zip(*self.history, strict=True))
        f1, kappa = 100 * f1_score(truth, coded), cohen_kappa_score(truth, coded)
        rows = [
            f"<li>{word} <b>{ACTION_UNITS[au].label}</b>: {ACTION_UNITS[au].sign}</li>"
            for word, group in (("found", "found"), ("missed", "missed"), ("not there:", "claimed"))
            for au in quiz_feedback(self.item, ticked)[group]
        ]
        self.picture.value = faces_html(*quiz_faces(self.item, reveal=True))
        faces = f"{len(self.history)} face{'s' * (len(self.history) > 1)}"
        self.feedback.value = (
            f'<div role="status"><p>{quiz_score(self.item, ticked)}</p><ul>{"".join(rows)}</ul>'
            f"<p>After {faces}: F1 {f1:.0f} %, Cohen's kappa {kappa:.2f}</p></div>")
