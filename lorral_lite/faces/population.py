"""Who shows what: action units drawn with the rates, relations, subject spread and run lengths of BP4D or DISFA.

The relations are a Gaussian copula. Every AU has a latent normal variable z with mean 0 and variance 1; the AU is
shown where z is above the threshold that its rate sets, and the AUs are related because their z are correlated::

    z[subject, frame] = b[subject] + w[subject, frame],    b ~ N(0, B),  w ~ N(0, W),  B + W = R

R is the latent correlation of ``data/protocol/au_statistics.json``. B is how subjects differ: it is set so that the
rate of an AU varies between subjects as it does in the data. In clips, w moves smoothly in time, as fast as makes
bouts (uninterrupted runs of an AU) as long as the real ones. Thresholds, and so the rates, never change.

What the data do not say, and so is ours: how B splits over pairs of AUs (D45), the process in time (D46),
how strong a shown AU is (D47).
"""

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import ndtr, ndtri

from ..files import MOST_SEED, data_file
from .cohort import UNSEEN
from .correlation import (
    between_subjects,
    bisect,
    factor,
    lowest_phi,
    nearest_correlation,
    phi,
    phi_of,
    rate_spread,
    runs_of,
    smoothed,
)
from .coverings import OCCLUDERS
from .expression import AUS

FRAMES_PER_SECOND = {"bp4d": 25, "disfa": 20}

STRUCTURES = ("real", "cooccurrence", "exclusion", "copy")

EXCLUSION_PAIRS: dict[str, tuple[tuple[int, int], ...]] = {
    "bp4d": ((4, 12), (12, 15), (10, 24)),
    "disfa": ((4, 12), (4, 25)),
}
"""Pairs that ``structure="exclusion"`` keeps apart: smiles from frowns, open from pressed lips."""

COPIED, COPY = (7, 12), 0.99
"""The pair that ``structure="copy"`` relates, AUs of equal rates in BP4D, and its latent correlation."""

EXCLUSION_SHARE = 0.9
"""An excluded pair is pushed to this share of the lowest phi that its two rates allow."""

FAINTNESS: dict[int, float] = {
    1: 5.0, 2: 2.6, 4: 3.5, 6: 4.0, 7: 4.0, 9: 4.0, 10: 3.0, 12: 3.0, 14: 5.0, 15: 6.0, 17: 5.0, 23: 2.0, 24: 4.0,
    25: 3.0, 26: 5.0,
}  # fmt: skip
"""Exponent of each AU's intensity, see :meth:`Population.intensity`. Larger: more of its frames are faint. Chosen so
that a trained lite model finds the AUs easy and hard that the paper's finds easy and hard on BP4D (D47)."""

DIFFICULTIES: dict[str, tuple[float, float]] = {"easy": (0.25, 0.0), "default": (1.0, 0.18), "hard": (2.0, 0.19)}
"""What multiplies the exponents of :data:`FAINTNESS`, and the unrest of :meth:`Population.to_render`."""

TRACE = 0.2
"""Intensity A (trace). B to E are 0.4, 0.6, 0.8 and 1."""

TRACES_PER_POSITIVE = 0.5
"""DISFA profile: frames with a trace that is not yet labelled, per frame that is (D47)."""

_SUBJECT, _FRAMES, _CLIP, _DRAW, _DISTRACTOR, _CALIBRATION, _UNREST = range(7)  # one stream of random numbers each


# --- the population ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DrawnFrames:
    """Frames of several subjects: who shows what, and how strongly.

    labels: (subjects, frames, A) int8, 1 or 0. intensity: (subjects, frames, A) float32, 0 or 0.2–1 (A–E).
    """

    labels: np.ndarray
    intensity: np.ndarray


class Population:
    """People who show the AUs of ``profile`` as the subjects of BP4D or DISFA do.

    profile: "bp4d" (12 AUs, labelled at any intensity) or "disfa" (8 AUs, labelled from B).
    relation_strength: 0 to 1, scales the latent correlations between AUs; the rates stay.
    structure: "real"; "cooccurrence", negative pairs set to 0; "exclusion", :data:`EXCLUSION_PAIRS` pushed to 90 %
        of the lowest phi that their rates allow. Both change other pairs where they must, see :meth:`describe`.
        "copy" (BP4D only): AU 7 does as AU 12 does, all others are independent; for tests of who can listen.
    subject_effects: whether subjects differ in their rates.
    difficulty: "easy", "default" or "hard": fewer or more faint AUs.
    hidden: AUs whose own place on the face is to be covered, see :attr:`occluders`. Labels do not change.
    seed: a whole number, 0 or more. The same arguments give the same people and the same labels.
    """

    def __init__(
        self,
        profile: str = "bp4d",
        relation_strength: float = 1.0,
        structure: str = "real",
        subject_effects: bool = True,
        difficulty: str = "default",
        hidden: tuple[int, ...] = (),
        seed: int = 0,
    ) -> None:
        _one_of("profile", profile, tuple(EXCLUSION_PAIRS))
        _one_of("structure", structure, STRUCTURES)
        _one_of("difficulty", difficulty, tuple(DIFFICULTIES))
        _count("seed", seed, 0, UNSEEN + MOST_SEED)
        statistics = json.loads(data_file("protocol", "au_statistics.json").read_text(encoding="utf-8"))[profile]
        self.profile, self.structure, self.difficulty = profile, structure, difficulty
        self.subject_effects, self.seed = bool(subject_effects), int(seed)
        self.aus: tuple[int, ...] = tuple(statistics["aus"])
        self.rates = np.array(statistics["rate"])
        self.exponents = np.array([FAINTNESS[au] for au in self.aus]) * DIFFICULTIES[difficulty][0]
        self.unrest = DIFFICULTIES[difficulty][1]
        self.frames_per_second = FRAMES_PER_SECOND[profile]
        self._real_spread = np.array(statistics["subject_rate_sd"])
        self._real_bouts = np.array(statistics["bout_frames_median"])
        self._thresholds = ndtri(1 - self.rates)
        self.hidden = self._different(hidden)
        self.exclusion_pairs = EXCLUSION_PAIRS[profile] if structure == "exclusion" else ()
        target, fixed = self._structured(np.array(statistics["latent_correlation"]))
        whole = nearest_correlation(target, fixed)
        self.largest_strength = float(1 / (1 - np.linalg.eigvalsh(whole)[0]))  # beyond it: no distribution
        self.relation_strength = self._strength(relation_strength)
        self.latent_correlation = np.where(np.eye(len(self.aus)) > 0, 1.0, self.relation_strength * whole)
        self._repaired = self._phi(whole) - self._phi(target)

    def _different(self, aus) -> tuple[int, ...]:
        aus = tuple(aus) if np.iterable(aus) else (aus,)
        if not set(aus) <= set(self.aus) or len(set(aus)) < len(aus):
            raise ValueError(f"hidden must be different AUs of {self.profile} {self.aus}, got {aus}")
        return tuple(int(au) for au in aus)

    def _strength(self, strength: float) -> float:
        if not np.isscalar(strength) or not 0 <= strength <= 1:
            raise ValueError(
                f"relation_strength must be between 0 and 1, got {strength}; the largest admissible value is 1, the "
                f'relations of {self.profile} with structure "{self.structure}" themselves (no latent correlations '
                f"exist above {self.largest_strength:.3f})"
            )
        return float(strength)

    def _structured(self, latent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The latent correlations that ``structure`` asks for, and which of them a repair has to keep."""
        fixed = np.zeros(latent.shape, bool)
        if self.structure == "copy":
            if not set(COPIED) <= set(self.aus):
                raise ValueError(f'structure "copy" needs AU {COPIED[0]} and {COPIED[1]}: choose the profile "bp4d"')
            mine = np.isin(self.aus, COPIED)
            fixed = np.outer(mine, mine)
            return np.where(np.eye(len(latent)) > 0, 1.0, np.where(fixed, COPY, 0.0)), fixed
        if self.structure == "cooccurrence":
            fixed = latent < 0
            return np.where(fixed, 0.0, latent), fixed
        latent = latent.copy()
        for pair in self.exclusion_pairs:
            i, j = (self.aus.index(au) for au in pair)
            a, b = self.rates[i], self.rates[j]
            wanted = EXCLUSION_SHARE * lowest_phi(a, b)
            # −0.999: with common AUs the probability of neither binds, and the lowest phi needs a correlation of −1
            found = bisect(lambda r, a=a, b=b, w=wanted: phi_of(a, b, r) - w, np.array(-0.999), np.array(0.0))
            latent[i, j] = latent[j, i] = found
            fixed[i, j] = fixed[j, i] = True
        return latent, fixed

    def _phi(self, latent: np.ndarray) -> np.ndarray:
        pairs = np.where(np.eye(len(self.aus)) > 0, 0.0, latent)
        return phi_of(self.rates[:, None], self.rates[None, :], pairs) + np.eye(len(self.aus))

    @property
    def expected_phi(self) -> np.ndarray:
        """(A, A) phi that the labels of very many frames have."""
        return self._phi(self.latent_correlation)

    @property
    def occluders(self) -> tuple[str, ...]:
        """The occluders of the renderer that cover the places of the ``hidden`` AUs."""
        return tuple(name for name, aus in OCCLUDERS.items() if set(aus) & set(self.hidden))

    @property
    def covered(self) -> tuple[int, ...]:
        """All AUs of the profile under :attr:`occluders`: whoever covers one mouth AU covers its neighbours too."""
        return tuple(au for au in self.aus if any(au in OCCLUDERS[name] for name in self.occluders))

    def covers(self) -> dict:
        """Arguments of ``render_faces`` that cover the ``hidden`` AUs; empty when nothing is hidden."""
        return {"occluder": "+".join(self.occluders)} if self.hidden else {}

    @cached_property
    def _between(self) -> np.ndarray:
        """B, (A, A): latent covariance between subjects."""
        if not self.subject_effects:
            return np.zeros_like(self.latent_correlation)
        low, high = np.zeros(len(self.aus)), np.full(len(self.aus), 0.99)
        variances = bisect(lambda v: rate_spread(self.rates, v) - self._real_spread, low, high)
        return between_subjects(self.latent_correlation, variances)

    @property
    def subject_rate_sd(self) -> np.ndarray:
        """(A,) standard deviation of the rate between subjects."""
        return rate_spread(self.rates, np.diag(self._between))

    # --- draws ---

    def latent(self, n: int) -> np.ndarray:
        """(n, A) float64 latent variables behind ``draw(n)``: independent frames, each of a new subject."""
        _count("n", n)
        normal = np.random.default_rng([self.seed, _DRAW]).standard_normal((n, len(self.aus)))
        return normal @ factor(self.latent_correlation).T

    def draw(self, n: int) -> np.ndarray:
        """(n, A) int8 labels of independent frames, without subject effects."""
        return self.labels(self.latent(n))

    def subjects(self, n_subjects: int, frames: int, first: int = 0) -> DrawnFrames:
        """Independent frames of subjects ``first``, ``first + 1``, …, who differ in their rates.

        Subject k is the same however many are asked for, so a long set can be drawn in blocks.
        """
        noise = self._noise(_FRAMES, n_subjects, frames, first)
        within = noise @ factor(self.latent_correlation - self._between).T
        return self._frames(self._persons(n_subjects, first)[:, None] + within)

    def clips(self, n_subjects: int, frames: int) -> DrawnFrames:
        """One clip of each subject: AUs come, stay as long as real ones (at ``frames_per_second``) and go.

        Median bouts are the real ones to about 10 %, 15 % for DISFA; with structure="exclusion" to 33 %, because
        there the slower AUs leave the fastest little noise of its own. Mean bouts of fast AUs come out shorter than
        the real ones, by up to half (D46). The first call on a population measures :attr:`correlation_frames`, which
        takes two seconds.
        """
        _count("frames", frames)
        noise = self._noise(_CLIP, n_subjects, frames + 2)  # 2 more, see smoothed
        order, mixing = self._mixing
        moving = np.stack([smoothed(noise[..., k], self.correlation_frames[au]) for k, au in enumerate(order)], -1)
        latent = np.empty_like(moving)
        latent[..., order] = moving @ mixing.T
        return self._frames(self._persons(n_subjects)[:, None] + latent)

    def _persons(self, n_subjects: int, first: int = 0) -> np.ndarray:
        """(n_subjects, A) b: how each subject differs; the same person in ``subjects`` and ``clips``."""
        normal = [
            np.random.default_rng([self.seed, _SUBJECT, k]).standard_normal(len(self.aus))
            for k in range(first, first + n_subjects)
        ]
        return np.array(normal) @ factor(self._between).T

    def _noise(self, stream: int, n_subjects: int, frames: int, first: int = 0) -> np.ndarray:
        _count("n_subjects", n_subjects)
        _count("frames", frames)
        _count("first", first, smallest=0)
        shape = (frames, len(self.aus))
        return np.stack([
            np.random.default_rng([self.seed, stream, k]).standard_normal(shape)
            for k in range(first, first + n_subjects)
        ])

    def _frames(self, latent: np.ndarray) -> DrawnFrames:
        return DrawnFrames(self.labels(latent), self.intensity(latent))

    # --- time ---

    @property
    def _mixing(self) -> tuple[np.ndarray, np.ndarray]:
        """Order of the AUs, slowest first, and triangular L with L Lᵀ = W in that order.

        Triangular: an AU mixes its own noise with that of slower AUs only, so a fast AU never makes a slow one
        flicker, and the correlations at each instant are exactly W.
        """
        order = np.argsort(-self._real_bouts, kind="stable")
        return order, factor((self.latent_correlation - self._between)[np.ix_(order, order)])

    @cached_property
    def correlation_frames(self) -> np.ndarray:
        """(A,) correlation time, in frames, of each AU's own noise in :meth:`clips`.

        Measured, not tabled, because it depends on relations and subjects: AU after AU, slowest first, by bisection
        on the median bout of 400 clips of 2,400 frames. The seed is fixed: a population's constants do not depend
        on its ``seed``.
        """
        clips, frames = 400, 2400
        random = np.random.default_rng(_CALIBRATION)
        persons = random.standard_normal((clips, len(self.aus))) @ factor(self._between).T
        order, mixing = self._mixing
        times = np.empty(len(self.aus))
        slower: list[np.ndarray] = []
        for k, au in enumerate(order):
            noise = random.standard_normal((clips, frames + 2))
            given = persons[:, au, None] + sum(mixing[k, j] * one for j, one in enumerate(slower))
            low, high = np.log(1.0), np.log(500.0)
            for _ in range(9):
                times[au] = np.exp((low + high) / 2)
                own = smoothed(noise, times[au])
                median = np.median(runs_of(given + mixing[k, k] * own > self._thresholds[au]))
                if median > self._real_bouts[au]:
                    high = np.log(times[au])
                else:
                    low = np.log(times[au])
            slower.append(own)
        return times

    # --- labels and intensities ---

    def labels(self, latent: np.ndarray) -> np.ndarray:
        """(..., A) latent → int8, 1 above the threshold."""
        return (np.asarray(latent) > self._thresholds).astype(np.int8)

    def intensity(self, latent: np.ndarray) -> np.ndarray:
        """(..., A) latent → float32 intensity: 0, or 0.2 to 1 for A to E; it rises and falls with the latent.

        With v in [0, 1) the place of the latent among all frames that show the AU (0 at the threshold):

        - BP4D profile, labelled when shown at all: 0.2 + 0.8 v^k, and 0 below the threshold;
        - DISFA profile, labelled from B: 0.4 + 0.6 v^k, and below the threshold a band of unlabelled traces, 0.2 to
          0.4, half as frequent as the labelled frames.

        The exponent k of each AU is that of :data:`FAINTNESS` times that of :data:`DIFFICULTIES`. BP4D profile: among
        the frames that show an AU, the share 0.25^(1/k) is at A or B. No data set publishes these shares for all AUs:
        k and the traces are ours (D47).
        """
        latent = np.asarray(latent, float)
        tail = ndtr(-latent)  # share of all frames with a higher latent
        strong = np.clip(1 - tail / self.rates, 0, 1) ** self.exponents
        start = 2 * TRACE if self.profile == "disfa" else TRACE
        below = 0.0
        if self.profile == "disfa":
            trace = 1 - (tail / self.rates - 1) / TRACES_PER_POSITIVE
            below = np.where(trace > 0, np.minimum(TRACE + TRACE * trace, 0.399), 0.0)
        return np.where(latent > self._thresholds, start + (1 - start) * strong, below).astype(np.float32)

    def to_render(self, intensity: np.ndarray | DrawnFrames, distractors: float = 0.0, unrest: float = 0.0,
                  seed: int = 0) -> np.ndarray:
        """(..., A) intensities of the profile's AUs, or DrawnFrames → (..., 18) in the order of ``faces.AUS``.

        distractors: share of frames, 0 to 0.5, in which each AU that the profile does not label is shown too,
        independently, at 0.2 to 0.8; 43 never. A jaw drop (26) also parts the lips (25),
        and lips that press (24) do not part.
        unrest: below 0.2; the profile's AUs that are not shown move by up to this, which no coder would score (D67).
        Both frame by frame, so leave them 0 for clips.
        """
        intensity = np.asarray(intensity.intensity if isinstance(intensity, DrawnFrames) else intensity, np.float32)
        if intensity.ndim == 0 or intensity.shape[-1] != len(self.aus):
            raise ValueError(f"intensity must be (..., {len(self.aus)}) for {self.profile}, got {intensity.shape}")
        if not ((intensity >= 0) & (intensity <= 1)).all():
            raise ValueError("intensity must lie between 0 and 1")
        if not 0 <= distractors <= 0.5:
            raise ValueError(f"distractors must lie between 0 and 0.5, got {distractors}")
        if not 0 <= unrest < TRACE:
            raise ValueError(f"unrest must lie between 0 and {TRACE}, the faintest that is coded, got {unrest}")
        if unrest:
            random = np.random.default_rng([seed, _UNREST])
            below = random.uniform(0, unrest, intensity.shape)
            intensity = np.where(intensity > 0, intensity, below).astype(np.float32)
        faces = np.zeros((*intensity.shape[:-1], len(AUS)), np.float32)
        faces[..., [AUS.index(au) for au in self.aus]] = intensity
        if distractors:
            random = np.random.default_rng([seed, _DISTRACTOR])
            shown = random.random(faces.shape) < distractors
            strength = random.uniform(TRACE, 0.8, faces.shape)
            free = np.array([au not in self.aus and au != 43 for au in AUS])
            faces = np.where(shown & free, strength, faces).astype(np.float32)
            lips, jaw, press = (AUS.index(au) for au in (25, 26, 24))
            if free[lips]:
                faces[..., lips] = np.maximum(faces[..., lips], faces[..., jaw])
                faces[..., [lips, jaw]] *= faces[..., [press]] == 0
        return faces

    # --- what is true ---

    def describe(self, labels=None) -> dict:
        """The true parameters, ready for ``meta.json``: numbers, strings, lists.

        labels: (..., A) labels that were drawn; adds the phi they realise (None where an AU is constant).
        ``phi_changed_by_repair`` names the pairs whose phi is not what ``structure`` asked for (at strength 1, by more
        than 0.01): no distribution has all the phi asked for, and this is the nearest one.
        """
        truth = {
            "source": "aggregate statistics of the public frame labels, data/protocol/au_statistics.json",
            "profile": self.profile,
            "aus": list(self.aus),
            "relation_strength": self.relation_strength,
            "largest_strength": self.largest_strength,
            "structure": self.structure,
            "exclusion_pairs": [list(pair) for pair in self.exclusion_pairs],
            "subject_effects": self.subject_effects,
            "difficulty": self.difficulty,
            "intensity_exponents": self.exponents.tolist(),
            "unrest": self.unrest,
            "label_rule": "intensity B or more" if self.profile == "disfa" else "any intensity",
            "hidden": list(self.hidden),
            "occluders": list(self.occluders),
            "covered": list(self.covered),
            "seed": self.seed,
            "frames_per_second": self.frames_per_second,
            "rates": self.rates.tolist(),
            "subject_rate_sd": self.subject_rate_sd.round(4).tolist(),
            "latent_correlation": self.latent_correlation.round(4).tolist(),
            "expected_phi": self.expected_phi.round(4).tolist(),
            "largest_phi_change_by_repair": float(np.abs(self._repaired).max().round(4)),
            "phi_changed_by_repair": {
                f"{self.aus[i]}-{self.aus[j]}": round(float(self._repaired[i, j]), 4)
                for i, j in np.argwhere(np.triu(np.abs(self._repaired) > 0.01, 1))
            },
        }
        if labels is not None:
            realised = phi(labels)
            if len(realised) != len(self.aus):
                raise ValueError(f"labels must be (..., {len(self.aus)}), got {np.shape(labels)}")
            truth["realised_phi"] = [
                [None if np.isnan(v) else round(float(v), 4) for v in row] for row in realised
            ]
        return truth


def _one_of(name: str, value, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def _count(name: str, value, smallest: int = 1, most: int = MOST_SEED) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not smallest <= value <= most:
        raise ValueError(f"{name} must be a whole number from {smallest} to {most}, got {value!r}")
