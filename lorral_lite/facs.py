"""The action units: number, name, muscle, what shows, and the rule for the two centres of each.

Source of names and muscles: the Facial Action Coding System (Ekman and Friesen 1978; Ekman, Friesen and Hager 2002).
Source of the centre rules: the rules shared by the public code of JAA-Net, which the paper's Figure 4 draws
(paper section 3). AUs 5, 20 and 43 have no published centre: those are ours (D1 in DEVIATIONS.md).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ActionUnit:
    """One action unit of FACS.

    ``points`` are two indices into the 49-point scheme of :mod:`lorral_lite.landmarks`, ``shift`` moves both down the
    face (negative: up) by that many rulers, the distance between the inner eye corners.
    """

    number: int
    name: str
    muscle: str
    sign: str
    region: str
    points: tuple[int, int]
    shift: float = 0.0

    @property
    def label(self) -> str:
        """``AU12 lip corner puller``, for titles and messages."""
        return f"AU{self.number} {self.name.lower()}"


_TABLE = [
    ActionUnit(1, "Inner brow raiser", "frontalis, medial part",
               "inner brows rise, short wrinkles in the middle of the forehead", "upper", (4, 5), -1 / 2),
    ActionUnit(2, "Outer brow raiser", "frontalis, lateral part",
               "outer brows rise and arch, wrinkles over the outer brows", "upper", (1, 8), -1 / 3),
    ActionUnit(4, "Brow lowerer", "corrugator supercilii, depressor supercilii",
               "brows down and together, vertical furrows between them", "upper", (2, 7), 1 / 3),
    ActionUnit(5, "Upper lid raiser", "levator palpebrae superioris",
               "upper lids rise, white shows above the iris", "upper", (20, 27), -1 / 6),  # D1 centres of AU 5, 20, 43
    ActionUnit(6, "Cheek raiser", "orbicularis oculi, orbital part",
               "cheeks rise, crow's feet, pouches under the eyes", "upper", (24, 29), 1.0),
    ActionUnit(7, "Lid tightener", "orbicularis oculi, palpebral part",
               "lower lids tighten and rise, eyes narrow", "upper", (21, 26)),
    ActionUnit(9, "Nose wrinkler", "levator labii superioris alaeque nasi",
               "wrinkles across the root and sides of the nose, nostrils lift", "middle", (15, 17), -1 / 2),
    ActionUnit(10, "Upper lip raiser", "levator labii superioris",
               "upper lip rises, upper nasolabial furrow deepens", "middle", (43, 45)),
    ActionUnit(12, "Lip corner puller", "zygomaticus major",
               "lip corners go up and out, nasolabial furrow deepens", "lower", (31, 37)),
    ActionUnit(14, "Dimpler", "buccinator",
               "lip corners tighten inwards, dimples beside them", "lower", (31, 37)),
    ActionUnit(15, "Lip corner depressor", "depressor anguli oris",
               "lip corners go down, pouches below them", "lower", (31, 37)),
    ActionUnit(17, "Chin raiser", "mentalis",
               "chin boss pushes up and dimples, lower lip goes up", "lower", (39, 41), 1 / 2),
    ActionUnit(20, "Lip stretcher", "risorius with platysma",
               "lips stretch sideways and flatten", "lower", (31, 37), 1 / 4),  # D1 centres of AU 5, 20, 43
    ActionUnit(23, "Lip tightener", "orbicularis oris",
               "lips narrow and tighten, small wrinkles around them", "lower", (34, 40)),
    ActionUnit(24, "Lip pressor", "orbicularis oris",
               "lips press together, their red thins, bulges above and below", "lower", (34, 40)),
    ActionUnit(25, "Lips part", "depressor labii inferioris or relaxed mentalis",
               "lips part, teeth may show", "lower", (34, 40)),
    ActionUnit(26, "Jaw drop", "masseter relaxed",
               "jaw falls, the mouth can open wide", "lower", (39, 41), 1 / 2),
    ActionUnit(43, "Eyes closed", "levator palpebrae relaxed",
               "upper lids come down to the lower lids", "upper", (20, 27), 1 / 6),  # D1 centres of AU 5, 20, 43
]

ACTION_UNITS: dict[int, ActionUnit] = {au.number: au for au in _TABLE}
"""Number → action unit, in ascending order: the AUs of BP4D and DISFA, and 5, 20, 43."""

AU_SETS: dict[str, tuple[int, ...]] = {
    "bp4d": (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24),
    "disfa": (1, 2, 4, 6, 9, 12, 25, 26),
}
"""The AUs that the paper evaluates on each data set (section 4.1)."""

EXPRESSIONS: dict[str, tuple[int, ...]] = {
    "neutral": (),
    "surprise": (1, 2, 5, 25, 26),
    "happiness": (6, 12),
    "anger": (4, 5, 7, 23),
    "disgust": (9, 15),
    "sadness": (1, 4, 15),
    "fear": (1, 2, 4, 5, 7, 20, 25, 26),
}
"""Presets for the playground: which AUs a textbook expression shows."""

INTENSITY = {"A": 0.2, "B": 0.4, "C": 0.6, "D": 0.8, "E": 1.0}
"""FACS intensity letters (trace, slight, marked, severe, maximum) on the renderer's scale."""


def check_aus(aus) -> tuple[int, ...]:
    """The given AU numbers as a tuple of ints; ValueError names the first one that is unknown or twice there."""
    result = tuple(int(a) for a in aus)
    for au in result:
        if au not in ACTION_UNITS:
            raise ValueError(f"unknown action unit {au}: choose from {', '.join(map(str, ACTION_UNITS))}")
        if result.count(au) > 1:
            raise ValueError(f"action unit {au} is listed twice")
    return result


def facs_notation(intensities: dict) -> str:
    """FACS notation of {AU number: 0–1 or (left, right)}, e.g. ``1B+2B+L14C``; ``0`` when nothing is shown.

    Left is the left of the image, where FACS means the person's own (D73).
    """

    def letter(x: float) -> str:
        return next((name for name, top in INTENSITY.items() if x <= top + 1e-6), "E") if x >= 0.05 else ""

    terms = []
    for au in sorted(intensities):
        value = intensities[au]
        left, right = value if isinstance(value, (tuple, list)) else (value, value)
        if letter(left) == letter(right):
            terms += [f"{au}{letter(left)}"] if letter(left) else []
        else:
            terms += [f"{side}{au}{letter(x)}" for side, x in (("L", left), ("R", right)) if letter(x)]
    return "+".join(terms) or "0"
