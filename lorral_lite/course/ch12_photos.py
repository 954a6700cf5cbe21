"""Chapter 12, photographs: the same people, poses and AUs drawn in several skin tones, exercises.

Only the factor ``skin`` of :func:`lorral_lite.render_faces` changes between tones (lips follow it, and so do hair, eyes
and exposure, as :mod:`lorral_lite.faces` draws them), so a difference has no other cause. It is measured on drawings:
what it is on photographs of people is not known.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from ..datasets.prepared import as_input
from ..datasets.synthetic import DISTRACTORS, RENDER_SCALE
from ..faces import render_faces
from ..faces.cohort import UNSEEN, cohort
from ..faces.population import Population
from ..files import DataError, data_file
from ..landmarks import align_face, interocular
from ..measure.metrics import landmark_nme, summarise
from ..measure.statistics import Estimate, jackknife, mean_f1_interval, paired_gain
from ..photo import find_face, mean_landmarks, portrait, predict_image
from ..training.run_folder import load_model
from .check import exercise


@lru_cache(maxsize=1)
def _shipped_model():
    return load_model(data_file("weights", "faces_lite"), "self_attention", "cpu")


@exercise("12.1", "np.hypot of x1 − x2 and y1 − y2 of every point, its mean, divided by interocular(reference)",
          tolerance=0.02)
def _how_well_an_eye_repeats_itself():
    passes = np.loadtxt(data_file("protocol", "astronaut_49_passes.csv"), delimiter=",", skiprows=1)
    apart = np.hypot(passes[:, 1] - passes[:, 3], passes[:, 2] - passes[:, 4]).mean()
    return float(100 * apart / interocular(portrait()[1]))


@exercise("12.2", "two views lie at the mean of all ten, eight lie 6 px right or left and 6 px up or down of it", 0.2)
def _view_disagreement_of_the_blind():
    c = _shipped_model().config
    away = (c.frame_size - c.image_size) / 2
    return float(100 * 0.8 * away * 2**0.5 / interocular(mean_landmarks(_shipped_model())))


@exercise("12.3", "of 100 shown AUs, 95 or 70 are looked at and 80 % of these found; precision stays 0.8", 0.1)
def _f1_when_silence_is_a_miss():
    return [100 * 2 * 0.8 * r / (0.8 + r) for r in (0.8 * 0.95, 0.8 * 0.70)]


@exercise("12.4", "per person: true alarms 0.02 × 0.8, false alarms 0.98 × 0.05; the false ones over all", 0.005)
def _share_of_false_alarms():
    return 0.98 * 0.05 / (0.98 * 0.05 + 0.02 * 0.8)


TONES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Values of the factor ``skin``, from the lightest to the darkest."""


@dataclass(frozen=True)
class Tone:
    """What the model did on all people in one skin tone.

    ``example`` (S, S, 3) uint8 is the first aligned face; ``per_subject`` {person: counts} as in a ``metrics.json``.
    One number per person: ``nme``, mean landmark error in % of the inter-ocular distance of aligned faces; ``found``,
    share of the person's unaligned pictures in which the detector finds a face; ``answered``, share in which the AUs
    are not withheld either (D51).
    """

    skin: float
    example: np.ndarray
    per_subject: dict
    nme: np.ndarray
    found: np.ndarray
    answered: np.ndarray

    def f1(self) -> Estimate:
        """Mean F1 of the AU output in %, with a 95 % interval over people."""
        return mean_f1_interval(self.per_subject)

    def error(self) -> Estimate:
        """Mean landmark error, with a 95 % interval over people."""
        return jackknife(self.nme)

    def f1_gap(self, other: "Tone") -> Estimate:
        """F1 here minus F1 in another tone, in points, paired by person."""
        return paired_gain(self.per_subject, other.per_subject)

    def error_gap(self, other: "Tone") -> Estimate:
        """Landmark error here minus that in another tone, paired by person."""
        return jackknife(self.nme - other.nme)


def measure_tones(model, tones: Sequence[float] = TONES, people: int = 20, frames: int = 8, photos: int = 1,
                  seed: int = 1) -> list[Tone]:
    """Draw ``people`` × ``frames`` faces in every tone and let the model look at them.

    AUs and landmarks are judged on faces aligned with their true landmarks, as in every evaluation. The first
    ``photos`` frames of each person are also shown as pictures that are not aligned, as :mod:`lorral_lite.photo`
    meets a photograph. People and frames are drawn as ``lorral prepare faces`` draws them, but with every ``seed`` they
    are people whom no run has learned from (:data:`lorral_lite.faces.cohort.UNSEEN`). ValueError names a number that is
    too small, a tone outside 0–1 and a model whose AUs are not those of BP4D.
    """
    if people < 2:
        raise ValueError(f"people must be at least 2, or there is no interval over people, got {people}")
    if not 0 <= photos <= frames:
        raise ValueError(f"photos must lie between 0 and frames ({frames}), got {photos}")
    crowd = Population("bp4d", seed=UNSEEN + seed)
    if model.config.aus != crowd.aus:
        raise ValueError(f"the AUs drawn are those of BP4D {crowd.aus}, but this model knows {model.config.aus}")
    names = np.repeat([f"P{k + 1:03d}" for k in range(people)], frames)
    result = []
    for skin in tones:
        examples, persons = [], []
        for images, landmarks, labels in pictures(crowd, float(skin), people, frames, model.config.frame_size):
            aligned = [align_face(i, p, model.config.frame_size) for i, p in zip(images, landmarks, strict=True)]
            logits, error = answers(model, np.stack([a for a, _ in aligned]), np.stack([p for _, p in aligned]))
            examples.append(aligned[0][0])
            persons.append((logits, labels, error.mean(), [as_photo(model, image) for image in images[:photos]]))
        logits, labels, errors, seen = zip(*persons, strict=True)
        share = np.array(seen, dtype=float).reshape(people, photos, 2)
        found, answered = share.mean(1).T if photos else np.full((2, people), np.nan)
        counts = summarise(np.concatenate(logits), np.concatenate(labels), names)["per_subject"]
        result.append(Tone(float(skin), examples[0], counts, np.array(errors), found, answered))
    return result


def pictures(crowd: Population, skin: float, people: int, frames: int, size: int) -> Iterator[tuple]:
    """Per person: pictures (F, S, S, 3) uint8 that are not aligned, their landmarks (F, 49, 2) and labels (F, A)."""
    drawn = crowd.subjects(people, frames)
    strengths = crowd.to_render(drawn, DISTRACTORS, crowd.unrest, crowd.seed)
    persons, scenes = cohort(crowd.seed, people, frames)
    for k in range(people):
        own = slice(k * frames, (k + 1) * frames)
        faces = render_faces(strengths[k], round(RENDER_SCALE * size), seed=persons[own], scene=scenes[own], skin=skin)
        yield faces.pictures, faces.landmarks.numpy(), drawn.labels[k]


@torch.no_grad()
def answers(model, aligned: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AU logits (N, A) of the centre crops of aligned faces (N, S, S, 3), and the landmark error of each in %."""
    size = model.config.image_size
    edge = (aligned.shape[1] - size) // 2
    answer = model.eval()(as_input(aligned[:, edge : edge + size, edge : edge + size]).to(model.mean_shape.device))
    return answer.au_logits.cpu().numpy(), landmark_nme(answer.landmarks, landmarks - edge)


def as_photo(model, image: np.ndarray) -> tuple[bool, bool]:
    """Whether the detector finds the face of a picture (S, S, 3) that is not aligned, and whether AUs are given."""
    edge = len(image) // 4
    wide = np.pad(image, ((edge, edge), (edge, edge), (0, 0)), mode="edge")
    try:
        box = find_face(wide)
    except DataError:
        return False, False
    return True, predict_image(model, wide, box=box).plausible
