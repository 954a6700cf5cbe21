"""Where the constants of :mod:`lorral_lite.photo` come from: the face box (D50) and the limits of plausibility (D51).

They are measured with the weights that ship, on procedural faces as they lie in a wider picture, and on pictures in
which there is no face.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from skimage import data as skimage_data

from lorral_lite.faces import AUS, render_faces
from lorral_lite.faces.cohort import cohort
from lorral_lite.files import DataError, data_file
from lorral_lite.landmarks import alignment
from lorral_lite.photo import LIMITS, find_face, predict_image, to_photo_pixels
from lorral_lite.training.run_folder import load_model

from . import Table

PICTURES = ("coffee", "chelsea", "brick", "grass", "gravel", "rocket")
"""Of scikit-image, things and a cat: no human face is in them."""
QUANTILES = (0.05, 0.5, 0.95, 0.99)


def face_photos(count: int, seed: int = 0, size: int = 160) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Procedural faces with random AUs, each in the middle of a wider picture: (image, landmarks (49, 2))."""
    generator = torch.Generator().manual_seed(seed)
    strength = torch.rand(count, len(AUS), generator=generator)
    strength *= torch.rand(count, len(AUS), generator=generator) < 0.15
    edge, people = size // 4, cohort(seed + 1, count, 1)
    for k, (person, scene) in enumerate(zip(*people, strict=True)):
        drawn = render_faces(strength[k : k + 1], size, seed=[person], scene=[scene])
        image = np.pad(drawn.pictures[0], ((edge, edge), (edge, edge), (0, 0)), mode="edge")
        yield image, drawn.landmarks[0].cpu().numpy() + edge


def faceless_photos(count: int, seed: int = 0) -> Iterator[tuple[np.ndarray, tuple]]:
    """Squares of :data:`PICTURES` and of noise, in which no human face is: (image, box (x, y, side))."""
    rng = np.random.default_rng(seed)
    pictures = [getattr(skimage_data, name)() for name in PICTURES]
    pictures = [np.repeat(p[..., None], 3, 2) if p.ndim == 2 else p for p in pictures]
    pictures.append(rng.integers(0, 256, (300, 300, 3)).astype(np.uint8))
    for k in range(count):
        image = pictures[k % len(pictures)]
        side = rng.uniform(50, min(image.shape[:2]) / 2)
        x, y = rng.uniform(0.2 * side, np.array(image.shape[1::-1]) - 1.2 * side)
        yield image, (float(x), float(y), float(side))


def square_in_box(landmarks: np.ndarray, box: tuple) -> tuple[float, float, float]:
    """Centre (x, y) and side of the aligned square, as shares of the detector's box."""
    x, y, side = box
    matrix = alignment(landmarks, 200)
    centre = to_photo_pixels(np.full((1, 2), 99.5), matrix)[0] + 0.5
    return (centre[0] - x) / side, (centre[1] - y) / side, 200 / np.hypot(*matrix[0, :2]) / side


def measure(device, tiny: bool = False) -> Iterator[Table]:
    """Where the aligned square sits in the box, then the four measures of faces and of pictures without a face."""
    count = 4 if tiny else 100
    faces = []
    for image, landmarks in face_photos(count):
        with contextlib.suppress(DataError):  # the cascade misses a few
            faces.append((image, landmarks, find_face(image)))
    squares = [square_in_box(landmarks, box) for _, landmarks, box in faces]
    yield Table("The aligned square in the detector's box", ["centre x", "centre y", "side", "faces found, %"],
                [[*np.median(squares, axis=0).tolist(), 100 * len(faces) / count]], "Medians, in sides of the box.")

    model = load_model(data_file("weights", "faces_lite"), "self_attention", device)
    photos = {"faces": [(image, box) for image, _, box in faces], "no faces": list(faceless_photos(count))}
    rows = []
    for kind, shown in photos.items():
        predictions = [predict_image(model, image, box=box) for image, box in shown]
        accepted = 100 * float(np.mean([p.plausible for p in predictions]))
        for key, limit in LIMITS.items():
            spread = np.quantile([p.measures[key] for p in predictions], QUANTILES).tolist()
            rows.append([kind, key, *spread, limit, accepted])
    yield Table("The four measures of plausibility, % of the inter-ocular distance",
                ["of", "measure", *[f"{100 * q:g} %" for q in QUANTILES], "limit", "accepted, %"], rows,
                "Quantiles; accepted: below all four limits, the parts of the face in order.")
