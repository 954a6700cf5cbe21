"""Markers drawn where the landmarks are: after the whole way through a data set's files they lie where we say they do.

A landmark file that counts pixels from 1 and is read as if it counted from 0 moves every landmark by a source pixel;
the last test shows that this would be seen.
"""

import csv

import numpy as np
import pytest
from PIL import Image
from preparations import prepare
from scipy.io import savemat

from lorral_lite.datasets.stand_in import with_jaw, write_bp4d_labels, write_csv, write_v73_landmarks
from lorral_lite.facs import AU_SETS
from lorral_lite.files import data_file

WIDTH, HEIGHT, SIGMA, WINDOW = 300, 360, 2.0, 8


def face(degrees: float) -> np.ndarray:
    """The 49 points measured on a portrait, turned, in the middle of the picture; eyes 62 px apart."""
    with open(data_file("protocol", "astronaut_49.csv"), newline="") as file:
        points = np.array([[float(row["x"]), float(row["y"])] for row in csv.DictReader(file)])
    points -= points.mean(0)
    points *= 62 / np.linalg.norm(points[19:25].mean(0) - points[25:31].mean(0))
    turn = np.radians(degrees)
    return points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + (WIDTH / 2, HEIGHT / 2)


def marked(x: float, y: float) -> Image.Image:
    """A black picture with one smooth white marker at (x, y), counted from 0 at the middle of the first pixel."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    marker = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * SIGMA**2))
    return Image.fromarray(np.repeat(marker.round().astype(np.uint8)[..., None], 3, axis=2))


def write_bp4d_with_markers(root, points, shift):
    """One sequence of 49 frames, all with the same landmarks; frame k + 1 shows landmark k."""
    write_bp4d_labels(root / "AUCoding" / "F001_T1.csv", range(1, 50), np.zeros((49, 12), int), AU_SETS["bp4d"])
    write_v73_landmarks(root / "2DFeatures" / "F001_T1.mat", [points + shift] * 49)
    return root / "Sequences(2D+3D)" / "F001" / "T1"


def write_disfa_with_markers(root, points, shift):
    for au in AU_SETS["disfa"]:
        write_csv(root / f"ActionUnit_Labels/SN001/SN001_au{au}.txt", [(n, 0) for n in range(1, 50)])
    place = root / "Landmark_Points" / "SN001" / "tmp_frame_lm"
    place.mkdir(parents=True)
    for k in range(49):
        savemat(place / f"SN001_{k:04d}_lm.mat", {"pts": with_jaw(points) + 1 + shift})
    return root / "Videos_LeftCamera" / "frames_SN001"


def errors(tmp_path, name, degrees, size, shift=0.0) -> np.ndarray:
    """(49,) distance in aligned pixels of each marker, found by its centroid, from the landmark of the folder."""
    points = face(degrees)
    write = {"bp4d": write_bp4d_with_markers, "disfa": write_disfa_with_markers}[name]
    folder = write(tmp_path / name, points, shift)
    folder.mkdir(parents=True)
    for k, (x, y) in enumerate(points):
        marked(x, y).save(folder / f"{k + 1}.png")
    made = prepare(name, tmp_path / name, tmp_path / "out", size)
    found = []
    for k in range(49):
        x, y = np.rint(made.landmarks[k, k]).astype(int)
        left, top = max(x - WINDOW, 0), max(y - WINDOW, 0)
        part = made.images[k, top : y + WINDOW + 1, left : x + WINDOW + 1, 0].astype(float)
        rows, columns = np.mgrid[: part.shape[0], : part.shape[1]]
        assert part.max() > 100
        found.append(((columns * part).sum() / part.sum() + left, (rows * part).sum() / part.sum() + top))
    return np.linalg.norm(found - made.landmarks[np.arange(49), np.arange(49)], axis=1)


@pytest.mark.parametrize("size", [100, 200])
@pytest.mark.parametrize("degrees", [0, 17])
@pytest.mark.parametrize("name", ["bp4d", "disfa"])
def test_markers_lie_on_the_landmarks(tmp_path, name, degrees, size):
    assert errors(tmp_path, name, degrees, size).max() < 0.3


@pytest.mark.parametrize("name", ["bp4d", "disfa"])
def test_a_landmark_counted_from_one_and_read_as_from_zero_would_be_seen(tmp_path, name):
    assert errors(tmp_path, name, 17, 200, shift=1.0).min() > 0.3
    # the folder's landmarks are then 1 source pixel right and down, as when the reader forgets to subtract 1
