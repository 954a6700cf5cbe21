"""From a photograph to landmarks and action units, and the honesty that goes with it.

    load_photo → find_face → first pass: mean shape placed in the face box → align → the model's landmarks
               → second pass: align with those, as a training face is aligned → landmarks and AUs → plausible?

The model has only seen procedural faces (D26). So every output carries :data:`NOTE`, and where the landmarks do not
hold together, the points are drawn but the AUs are withheld, with the reason in one line.
"""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data as skimage_data
from skimage.feature import Cascade

from .datasets.prepared import as_input
from .draw import faces as face_pictures
from .draw.base import Picture, styled
from .facs import ACTION_UNITS
from .files import DataError, data_file, write_text, write_whole
from .landmarks import NUM_LANDMARKS, alignment, interocular, mirror_landmarks, ruler, warp
from .output import plain
from .pictures import A_FOLDER, NO_PICTURE, TOO_LARGE, UPRIGHT, PictureError, read_picture

NOTE = face_pictures.PHOTO_WARNING
"""What every output about a photograph says."""

BOX_CENTRE = (0.5, 0.625)
"""Centre of the aligned square in a box of the face detector, as shares of the box (D50).

``python -m benchmarks photo`` says (0.506, 0.616) and side 1.18 on 100 procedural faces, all of them found. The
portrait, which was not used, has (0.488, 0.548) and 1.289. The second pass takes up the difference.
"""
BOX_SIDE = 1.2
"""Side of the aligned square as a multiple of the side of the detector's box (D50)."""
DETECT_AT = 640
"""The detector looks at the photo shrunk to at most this many pixels: cascades need no more, and are slow on more."""
SMALLEST_FACE = 24
"""Side of the detector's window; smaller faces cannot be found."""
ALSO_A_FACE = 0.6
"""In the portrait of Eileen Collins the detector finds a second face, half as large, in her suit."""

LIMITS = {"mirror": 12.0, "view": 15.0, "move": 10.0, "shape": 10.0}
"""A face is plausible below all four, in % of the inter-ocular distance (D51).

``python -m benchmarks photo`` with the weights that ship (self-attention, 100 faces), quantiles 95 % and 99 % of
procedural faces, then 5 % of pictures without a face: mirror 4.6, 5.8, 2.0; view 19.7, 23.5, 17.6; move 8.2, 9.9,
2.4; shape 2.2, 2.4, 0.9. Below these limits 90 % of the faces and 1 % of the pictures without a face are accepted. Only
the view tells faces from no faces: a model that sees no face answers the mean shape, which mirrors well and stays where
it is. The others catch broken landmarks.
"""


@dataclass
class Prediction:
    """What the model sees in one photograph.

    ``landmarks`` (49, 2) in photo pixels and ``box`` (x, y, size) likewise; ``aligned`` (s, s, 3) uint8 is the model's
    input of the last pass and ``aligned_landmarks`` (49, 2) the points in it. ``probabilities`` (A,) go with ``aus``
    and are None when withheld, i.e. when not ``plausible``; ``reason`` says why in one line. ``measures``: mirror,
    view, move and shape disagreement in % of the inter-ocular distance, compared with :data:`LIMITS`.
    ``nme_percent`` is the error against reference points where there are some. ``faces``: how many were found in the
    photo; this is the largest.
    """

    name: str
    aus: tuple[int, ...]
    landmarks: np.ndarray
    box: tuple[float, float, float]
    aligned: np.ndarray
    aligned_landmarks: np.ndarray
    probabilities: np.ndarray | None
    plausible: bool
    reason: str
    measures: dict[str, float]
    nme_percent: float | None = None
    faces: int = 1

    @property
    def line(self) -> str:
        """All in one line: the AUs or why there are none, the landmark error where it is known, and the note."""
        if self.probabilities is None:
            parts = [f"action units withheld, {self.reason}"]
        else:
            # D28 threshold
            shown = [f"AU{a} {p:.2f}" for a, p in zip(self.aus, self.probabilities, strict=True) if p >= 0.5]
            parts = [", ".join(shown) or "no action unit reaches 0.5"]
        if self.faces > 1:
            parts[0] = f"the largest of {self.faces} faces: {parts[0]}"
        if self.nme_percent is not None:
            parts.append(f"landmark error {self.nme_percent:.1f} % of the inter-ocular distance")
        return "; ".join([*parts, NOTE])


def load_photo(path) -> np.ndarray:
    """A photo as (H, W, 3) uint8, turned as its EXIF orientation says; anything unreadable is a DataError."""
    path = Path(path)
    try:
        return read_picture(path, UPRIGHT)[0]
    except PictureError as error:
        said = {NO_PICTURE: "no such file; give the path of a photo",
                A_FOLDER: "is a folder; give the path of one photo",
                TOO_LARGE: "has more pixels than is safe to open; shrink it first"}
        other = f"not readable as an image ({error}); save it again as JPEG or PNG"
        raise DataError(f"{path}: {said.get(str(error), other)}") from None


def find_face(image: np.ndarray, name: str = "the photo") -> tuple[float, float, float]:
    """The largest of :func:`find_faces`."""
    return find_faces(image, name)[0]


def find_faces(image: np.ndarray, name: str = "the photo") -> list[tuple[float, float, float]]:
    """Frontal faces of an (H, W, 3) uint8 photo as boxes (x of its left, y of its top, side) in pixels, largest first.

    scikit-image's cascade of local binary patterns, which ships with its trained weights. It also finds small faces
    where there are none: those below :data:`ALSO_A_FACE` of the largest do not count. No face is a DataError.
    """
    height, width = image.shape[:2]
    shrink = max(1.0, max(height, width) / DETECT_AT)
    small = image
    if shrink > 1:
        size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    found = []
    if min(small.shape[:2]) >= SMALLEST_FACE:
        cascade = Cascade(skimage_data.lbp_frontal_face_cascade_filename())
        least = max(SMALLEST_FACE, min(small.shape[:2]) // 12)
        found = cascade.detect_multi_scale(small, scale_factor=1.1, step_ratio=1, min_size=(least, least),
                                           max_size=(max(small.shape[:2]),) * 2)
    if not found:
        raise DataError(
            f"no face found in {name}: it must show one face from the front, upright, at least {SMALLEST_FACE} pixels "
            "and a twelfth of the photo high; crop or turn the photo, or choose another"
        )
    faces: list[dict] = []
    for face in sorted(found, key=lambda face: -face["width"]):
        apart = all(max(abs(face["c"] - one["c"]), abs(face["r"] - one["r"])) > one["width"] / 2 for one in faces)
        if not faces or (apart and face["width"] >= ALSO_A_FACE * faces[0]["width"]):
            faces.append(face)
    x_scale, y_scale = width / small.shape[1], height / small.shape[0]
    return [(float(f["c"] * x_scale), float(f["r"] * y_scale), float(f["width"] * x_scale)) for f in faces]


def mean_landmarks(model) -> np.ndarray:
    """The training set's mean shape, where the landmark head starts (D6): (49, 2) pixels of the aligned face."""
    c = model.config
    shares = model.mean_shape.detach().cpu().double().numpy()  # of the model's input
    return shares * c.image_size - 0.5 + (c.frame_size - c.image_size) // 2


def place_mean_shape(model, box) -> np.ndarray:
    """The training set's mean landmarks put into a box of the face detector: (49, 2) photo pixels (D50)."""
    x, y, side = box
    centre = np.array([x + BOX_CENTRE[0] * side, y + BOX_CENTRE[1] * side]) - 0.5  # the detector counts pixel corners
    size = model.config.frame_size
    return centre + (mean_landmarks(model) - (size - 1) / 2) * (BOX_SIDE * side / size)


def aligned_crop(image: np.ndarray, landmarks: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Align a photo by its landmarks → ((size, size, 3) uint8, the (2, 3) matrix from photo to aligned pixels).

    As :func:`lorral_lite.landmarks.align_face`, but a photo much larger than ``size`` is first averaged down by a whole
    number, because bilinear sampling would skip most of its pixels.
    """
    matrix = alignment(landmarks, size)
    factor = int(1 / np.hypot(*matrix[0, :2]))
    if factor < 2:
        return warp(image, matrix, size), matrix
    small = np.asarray(Image.fromarray(image).reduce(factor))
    onto = matrix.copy()  # pixel i of the small photo has its centre at factor · i + (factor − 1) / 2
    onto[:, 2] += matrix[:, :2] @ np.full(2, (factor - 1) / 2)
    onto[:, :2] *= factor
    return warp(small, onto, size), matrix


@torch.no_grad()
def ten_views(model, aligned: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Show the model one aligned face (S, S, 3) in ten views: centre and corner crops, each also mirrored.

    Returns the landmarks (10, 49, 2) that it sees, all in pixels of the aligned face (mirrored views mirrored back; row
    0 centre, row 1 its mirror), the AU logits (A,) of the centre crop, and the centre crop itself.
    """
    s = model.config.image_size
    margin = aligned.shape[0] - s
    corners = [(margin // 2, margin // 2), (0, 0), (0, margin), (margin, 0), (margin, margin)]
    crops = np.stack([aligned[y : y + s, x : x + s] for y, x in corners])
    device = model.mean_shape.device
    was_training = model.training
    model.eval()
    plain, mirrored = (model(as_input(x).to(device)) for x in (crops, crops[:, :, ::-1].copy()))
    model.train(was_training)
    offsets = np.array([(x, y) for y, x in corners], dtype=np.float64)[:, None]
    seen = plain.landmarks.cpu().double().numpy() + offsets
    back = mirror_landmarks(mirrored.landmarks.cpu().double().numpy(), s) + offsets
    points = np.stack([seen, back], axis=1).reshape(-1, NUM_LANDMARKS, 2)
    return points, plain.au_logits[0].cpu().double().numpy(), crops[0]


def _percent(a: np.ndarray, b: np.ndarray) -> float:
    """Mean distance of two sets of landmarks in % of the inter-ocular distance of the first."""
    return float(100 * np.hypot(*(a - b).reshape(-1, 2).T).mean() / max(float(interocular(a)), 1e-9))


def nme(prediction, reference: np.ndarray) -> float:
    """Mean landmark error in % of the reference's inter-ocular distance; of a Prediction or of (49, 2) points."""
    points = getattr(prediction, "landmarks", prediction)
    return _percent(np.asarray(reference, dtype=np.float64), np.asarray(points, dtype=np.float64))


def shape_residual(points: np.ndarray, mean: np.ndarray) -> float:
    """What no similarity removes between landmarks and the mean shape (Procrustes), in % of inter-ocular distance."""
    a, b = (p - p.mean(0) for p in (np.asarray(points, float), np.asarray(mean, float)))
    to_complex = np.array([1, 1j])
    z, w = a @ to_complex, b @ to_complex
    fitted = w * (np.vdot(w, z) / np.vdot(w, w))  # the best rotation and scale of the mean, as one complex number
    return float(100 * np.abs(z - fitted).mean() / max(float(interocular(a)), 1e-9))


def out_of_order(points: np.ndarray) -> str:
    """The first rule of facial geometry that aligned landmarks break, or an empty string."""
    left, right, mouth = points[19:25].mean(0), points[25:31].mean(0), points[31:43].mean(0)
    eyes = (left + right) / 2
    rules = [
        (np.isfinite(points).all(), "a landmark is not a number"),
        (left[0] < right[0], "the eyes have changed sides"),
        (0.3 < ruler(points) / max(float(interocular(points)), 1e-9) < 0.8, "the eyes' inner corners are misplaced"),
        (eyes[1] < points[13, 1] < mouth[1], "eyes, nose and mouth are not one below the other"),
        (points[:10, 1].mean() < eyes[1], "the brows are not above the eyes"),
        (points[31, 0] < points[37, 0], "the mouth corners have changed sides"),
    ]
    return next((text for holds, text in rules if not holds), "")


def verdict(measures: dict[str, float], order: str = "") -> tuple[bool, str]:
    """(plausible, reason): every measure is compared with its limit (D51), the first that fails gives the reason."""
    if order:
        return False, f"no plausible face: {order}"
    texts = {
        "mirror": "landmarks of the mirrored face differ by",
        "view": "landmarks do not follow the face when the crop is shifted, they differ by",
        "move": "the last pass still moved the landmarks by",
        "shape": "the landmarks differ from the mean face by",
    }
    for key, limit in LIMITS.items():
        if not measures[key] <= limit:  # not a number fails too
            value = f"{measures[key]:.1f} % of the inter-ocular distance, at most {limit:g} is plausible"
            return False, f"no plausible face: {texts[key]} {value}"
    return True, "landmarks hold together"


def predict_image(model, image: np.ndarray, name: str = "the photo", box=None) -> Prediction:
    """Landmarks and AUs of the largest face of an (H, W, 3) uint8 photo.

    ``box`` (x, y, size) skips the detector. The model looks twice: at the face as the box places it, then at the face
    aligned with the landmarks of the first pass. The landmarks of a pass are the mean over ten views (D52); AUs come
    from the centre crop alone, as in every evaluation.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
    box = find_face(image, name) if box is None else tuple(float(v) for v in box)
    size = model.config.frame_size
    points, seen, broken = place_mean_shape(model, box), None, ""
    for _ in range(2):
        try:
            aligned, matrix = aligned_crop(image, points, size)
        except ValueError as error:
            if seen is None:
                raise DataError(f"{name}: the model's mean face is no face ({error}); train it first") from None
            broken = str(error)  # landmarks that span no face cannot be aligned again
            break
        before = points
        views, logits, crop = ten_views(model, aligned)
        seen = views.mean(0)
        points = to_photo_pixels(seen, matrix)
    inner = seen - (size - model.config.image_size) // 2
    measures = {
        "mirror": _percent(views[0], views[1]),
        "view": float(np.mean([_percent(seen, view) for view in views])),
        "move": _percent(points, before),
        "shape": shape_residual(seen, mean_landmarks(model)),
    }
    plausible, reason = verdict(measures, broken or out_of_order(seen))
    probabilities = 1 / (1 + np.exp(-logits)) if plausible else None
    return Prediction(name, tuple(model.config.aus), points, box, crop, inner, probabilities, plausible, reason,
                      measures)


def to_photo_pixels(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Aligned pixels → photo pixels: the inverse of the (2, 3) ``matrix``."""
    return (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


def predict_photo(model, path, out_dir, made_by: dict | None = None) -> Prediction:
    """Predict one photo file and write ``overlay.png``, ``aus.csv``, ``landmarks.csv`` and ``prediction.json``.

    ``out_dir`` is one folder per photo. The portrait of :func:`portrait` is recognised by its pixels and measured
    against its reference points. ``made_by`` is kept too: what :func:`lorral_lite.training.origin.results_of` says of
    the model. A file that cannot be read, a photo without a face and an unwritable folder are
    DataErrors of one line.
    """
    path = Path(path)
    image = load_photo(path)
    faces = find_faces(image, str(path))
    prediction = predict_image(model, image, plain(path.name), faces[0])
    prediction.faces = len(faces)
    if np.array_equal(image, skimage_data.astronaut()):
        prediction.nme_percent = nme(prediction, portrait()[1])
    write_prediction(prediction, image, out_dir, made_by)
    return prediction


def portrait_file() -> Path:
    """The file of the portrait inside scikit-image."""
    return Path(skimage_data.__file__).with_name("astronaut.png")


def portrait() -> tuple[np.ndarray, np.ndarray]:
    """The portrait of Eileen Collins (NASA, public domain) in scikit-image, (512, 512, 3) uint8, and its 49 points.

    The points were measured by eye; data/protocol/astronaut_49.md says how, and with which error (0.47 px).
    """
    points = np.loadtxt(data_file("protocol", "astronaut_49.csv"), delimiter=",", skiprows=1)[:, 1:]
    return skimage_data.astronaut(), points


def write_prediction(prediction: Prediction, image: np.ndarray, out_dir, made_by: dict | None = None) -> None:
    """Write the four files of a prediction; prediction.json comes last, so where it is, the others are whole.

    aus.csv: au, name, probability, present (probability ≥ 0.5, D28), withheld, note; probability and present are empty
    when withheld. landmarks.csv: point, x, y (photo pixels, 0-based), note.
    """
    out = Path(out_dir)
    withheld = prediction.probabilities is None
    chances = [None] * len(prediction.aus) if withheld else prediction.probabilities
    aus = [["au", "name", "probability", "present", "withheld", "note"]] + [
        [au, ACTION_UNITS[au].name, "" if withheld else f"{p:.4f}", "" if withheld else int(p >= 0.5), int(withheld),
         NOTE]
        for au, p in zip(prediction.aus, chances, strict=True)
    ]
    points = [["point", "x", "y", "note"]] + [
        [i, f"{x:.2f}", f"{y:.2f}", NOTE] for i, (x, y) in enumerate(prediction.landmarks)
    ]
    document = {
        "photo": prediction.name,
        "note": NOTE,
        "plausible": prediction.plausible,
        "reason": prediction.reason,
        "withheld": withheld,
        "probabilities": None if withheld else {str(a): round(float(p), 4)
                                                for a, p in zip(prediction.aus, chances, strict=True)},
        "nme_percent": _number(prediction.nme_percent),
        "mirror_disagreement_percent": _number(prediction.measures["mirror"]),
        "measures_percent": {key: _number(value) for key, value in prediction.measures.items()},
        "limits_percent": LIMITS,
        "box": [round(v, 1) for v in prediction.box],
        "faces": prediction.faces,
        **(made_by or {}),
    }
    figure = overlay(prediction, image)
    said = {"Description": NOTE}  # inside the PNG too, for whoever gets it without the rest
    write_whole(out / "overlay.png", lambda file: figure.savefig(file, format="png", metadata=said))
    for name, table in (("aus.csv", aus), ("landmarks.csv", points)):
        text = io.StringIO()
        csv.writer(text).writerows(table)
        write_text(out / name, text.getvalue())
    write_text(out / "prediction.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 2)  # JSON knows no NaN


@styled
def overlay(prediction: Prediction, image: np.ndarray) -> Picture:
    """The face cut out of the photo with its points, beside it the AUs, or the line that says why there are none."""
    x, y, side = prediction.box
    height, width = image.shape[:2]
    left, right = int(max(x - 0.5 * side, 0)), int(min(x + 1.5 * side, width))
    top, bottom = int(max(y - 0.4 * side, 0)), int(min(y + 1.6 * side, height))
    chances = prediction.probabilities
    picture = face_pictures.overlay(
        image[top:bottom, left:right],
        prediction.landmarks - [left, top],
        None if chances is None else dict(zip(prediction.aus, chances, strict=True)),
        withheld=prediction.reason if chances is None else None,
        note=NOTE,
    )
    title = prediction.name
    if prediction.nme_percent is not None:
        title += f": landmark error {prediction.nme_percent:.1f} % of the inter-ocular distance"
    picture.suptitle(title, fontsize=12, parse_math=False)  # $ in a name is no formula
    return picture
