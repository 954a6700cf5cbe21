"""Faces for pictures and widgets: one face in a studio, samples of a population, marks drawn on a face."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from ..datasets.prepared import as_input
from ..datasets.synthetic import DISTRACTORS, RENDER_SCALE
from ..draw.base import INK, ORANGE, SKY
from ..faces import AUS, render_faces
from ..faces.cohort import UNSEEN, cohort
from ..faces.population import Population
from ..facs import check_aus
from ..landmarks import LINES, align_face, alignment, au_centers, transform, warp
from .parameters import ParameterError

STUDIO = {
    "yaw": 0.0, "pitch": 0.0, "roll": 0.0, "zoom": 1.0, "shift_x": 0.0, "shift_y": -0.2, "light_azimuth": 25.0,
    "light_elevation": 35.0, "light_strength": 0.6, "light_warmth": 0.1, "exposure": 0.0, "background": "plain",
    "background_hue": 0.45, "background_light": 0.75, "focus": 1.0, "noise": 0.0,
}  # fmt: skip
"""From the front in even light, so that nothing but the expression tells two pictures apart."""
LITE_CROP = 6 / 22
"""Side of an AU's crop as a share of the image in ``lite()``: 6 of 22 cells."""


# ------------------------------------------------------------------------------------------- samples of a population


class Sample(NamedTuple):
    """Procedural faces as the model sees them: images (N, s, s, 3) uint8 and landmarks (N, 49, 2) in their pixels,
    labels (N, A), and the local AU features (N, A, D) before the relation."""

    images: np.ndarray
    landmarks: np.ndarray
    labels: np.ndarray
    tokens: torch.Tensor


@torch.no_grad()
def sample_faces(model, subjects: int = 12, frames: int = 6, seed: int = 1) -> Sample:
    """Faces of the BP4D population, aligned and cropped as ``lorral prepare faces`` and the tests do it.

    ``seed`` chooses people, labels and scenes: people whom no run has learned from, whatever its seed and this one
    (:data:`lorral_lite.faces.cohort.UNSEEN`). ParameterError when the model's AUs are not those of BP4D.
    """
    seed += UNSEEN
    config, people = model.config, Population("bp4d", seed=seed)
    if config.aus != people.aus:
        known, drawn = (" ".join(map(str, aus)) for aus in (config.aus, people.aus))
        raise ParameterError(f"run: its model knows AU {known}, but the faces drawn here show those of BP4D, AU "
                             f"{drawn}; name a run on these, or none")
    drawn = people.subjects(subjects, frames)
    strengths = people.to_render(drawn, DISTRACTORS, people.unrest, seed).reshape(subjects * frames, -1)
    person, scene = cohort(seed, subjects, frames)
    faces = render_faces(strengths, round(RENDER_SCALE * config.frame_size), seed=person, scene=scene)
    aligned = [align_face(image, points, config.frame_size)
               for image, points in zip(faces.pictures, faces.landmarks.numpy(), strict=True)]
    margin = (config.frame_size - config.image_size) // 2
    window = slice(margin, margin + config.image_size)
    images = np.stack([image[window, window] for image, _ in aligned])
    device = next(model.parameters()).device
    inputs = as_input(images).to(device)
    tokens = model.eval().features(inputs).local.cpu()
    return Sample(images, np.stack([p for _, p in aligned]) - margin, drawn.labels.reshape(len(person), -1), tokens)


def face_patterns(people: int = 9, size: int = 40, seed: int = 0) -> torch.Tensor:
    """Small grey faces of different people and expressions as patterns to store, (people, size, size) in 0–1."""
    shown = np.zeros((people, len(AUS)), dtype=np.float32)
    rng = np.random.default_rng(seed)
    for row in shown:
        row[rng.choice(len(AUS), 3, replace=False)] = 1
    faces = render_faces(shown, 2 * size, seed=seed + np.arange(people), scene=seed)
    return torch.nn.functional.avg_pool2d(faces.images.mean(1), 2)


# ------------------------------------------------------------------------------------------------ faces to play with

def studio_face(aus: dict | None = None, person: int = 1, scene: int = 0, size: int = 150, *, device=None,
                **place: float) -> tuple[np.ndarray, np.ndarray]:
    """One face, cropped and turned upright by the alignment of its own neutral face: only the AUs move.

    ``aus``: {AU: 0–1 or (left, right)}. ``scene`` 0 is :data:`STUDIO`, any other number draws pose, light and
    background. ``place`` names factors of :func:`lorral_lite.render_faces` that win over the scene; a yaw, pitch or
    roll named there is seen, because the alignment is that of the neutral face without it. ``device`` as there.
    → image (size, size, 3) uint8, landmarks (49, 2) float32 in its pixels.
    """
    if scene == 0:
        place = {name: value for name, value in place.items() if STUDIO.get(name) != value}
    pose = [(name, 0.0) for name in ("pitch", "roll", "yaw") if name in place and scene != 0]
    _, neutral = _rendered((), person, scene, size, tuple(pose), device)
    shown = tuple(sorted((aus or {}).items()))
    image, points = _rendered(shown, person, scene, size, tuple(sorted(place.items())), device)
    matrix = alignment(neutral, size)
    return warp(image, matrix, size), transform(points, matrix)


@lru_cache(maxsize=64)
def _rendered(aus: tuple, person: int, scene: int, size: int, place: tuple, device):
    """(H, W, 3) uint8 and landmarks (49, 2), not aligned."""
    where = (STUDIO if scene == 0 else {"scene": scene}) | dict(place)
    face = render_faces(dict(aus), max(48, round(RENDER_SCALE * size)), seed=person, device=device, **where)
    return face.pictures[0], face.landmarks[0].cpu().numpy()


def mark_face(image: np.ndarray, points, aus=(), *, landmarks: bool = False, centers: bool = False,
              crops: bool = False) -> np.ndarray:
    """A copy of the image at twice its size with the 49 landmarks, the centres of ``aus`` and their crops drawn in.

    image (H, W, 3) uint8, points (49, 2) in its pixels → (2H, 2W, 3) uint8. A crop is the window of ``lite()``, 24 of
    88 pixels wide. AUs that share a centre share its label.
    """
    aus, scale = check_aus(aus), 2
    picture = Image.fromarray(image).resize((scale * image.shape[1], scale * image.shape[0]), Image.Resampling.BICUBIC)
    draw, p = ImageDraw.Draw(picture), scale * (np.asarray(points, dtype=np.float64) + 0.5)
    spots: dict[tuple, list[int]] = {}
    for au, pair in zip(aus, au_centers(p, aus), strict=True):
        for spot in pair:
            spots.setdefault(tuple(spot.round(1)), []).append(au)
    if landmarks:
        for line in LINES.values():
            draw.line([tuple(p[i]) for i in line], SKY, 2)
        for x, y in p:
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), "white", SKY)
    half = scale * image.shape[1] * LITE_CROP / 2
    for x, y in spots if crops else ():
        draw.rectangle((x - half, y - half, x + half, y + half), outline=ORANGE, width=2)
    for (x, y), here in spots.items() if centers or crops else ():
        if centers:
            draw.ellipse((x - 5, y - 5, x + 5, y + 5), ORANGE, INK)
        place, words = (x, y - 8 if centers else y - half), " ".join(map(str, here))
        draw.rectangle(draw.textbbox(place, words, _label_font(), "mb"), "white")
        draw.text(place, words, INK, _label_font(), "mb")
    return np.asarray(picture)


@lru_cache(maxsize=1)
def _label_font():
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans:bold"), 15)
