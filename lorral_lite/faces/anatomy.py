"""Anatomy: the factors of a person, drawn from a seed, and the resting face that they give.

All lengths are in rulers: the ruler of a face is the distance between its inner eye corners. The frame of the head
has its origin midway between them, u to the right of the image, v down, z towards the viewer. Average proportions
follow the aligned faces of BP4D and DISFA (eye centres 1.65 rulers apart, mouth 1.63 below them, nose tip 0.96).
"""

import math
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri

from ..landmarks import MIRROR

HAIR = ("bald", "cropped", "short", "quiff", "medium", "curly", "long", "afro", "tied", "scarf")
FACIAL_HAIR = ("none", "stubble", "moustache", "goatee", "beard")
GLASSES = ("none", "thin", "thick")


@dataclass(frozen=True)
class Factor:
    """One named factor: how it is drawn when it is not given, and what may be given.

    ``law`` is "normal" (mean a, sd b, cut at low and high), "uniform" (from a to b), "fixed" (always a) or "choice"
    (``names`` with weights ``a``).
    """

    law: str
    a: object
    b: float = 0.0
    low: float = 0.0
    high: float = 1.0
    names: tuple[str, ...] = ()


def shape(sd=1.0):
    """A factor of shape in standard deviations between people."""
    return Factor("normal", 0.0, sd, -2.5, 2.5)


PERSON: dict[str, Factor] = {
    "age": Factor("uniform", 0.0, 0.9),
    "skin": Factor("uniform", 0.0, 1.0),
    "undertone": Factor("normal", 0.0, 0.5, -1.0, 1.0),
    "build": shape(), "face_length": shape(), "jaw": shape(), "eye_size": shape(), "eye_tilt": shape(),
    "brow_height": shape(), "brow_thickness": shape(), "brow_arch": shape(), "nose_length": shape(),
    "nose_width": shape(), "mouth_width": shape(), "lip_fullness": shape(), "forehead": shape(),
    "hair": Factor("choice", (0.06, 0.09, 0.19, 0.10, 0.14, 0.09, 0.15, 0.06, 0.08, 0.04), names=HAIR),
    "hair_colour": Factor("uniform", 0.0, 1.0),
    "eye_colour": Factor("uniform", 0.0, 1.0),
    "facial_hair": Factor("choice", (0.62, 0.16, 0.06, 0.06, 0.10), names=FACIAL_HAIR),
    "glasses": Factor("choice", (0.86, 0.09, 0.05), names=GLASSES),
    "asymmetry": Factor("fixed", 1.0, low=0.0, high=2.0),
}
"""What belongs to the person, the seed's half of :func:`lorral_lite.faces.render_faces`."""


def _mix(x):
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniforms(seeds: np.ndarray, stream: str, count: int = 1) -> np.ndarray:
    """Uniform numbers in (0, 1) that belong to (seed, stream): (N,) → (N, count) float64.

    Counter-based (the finaliser of SplitMix64), so a number depends on nothing but its seed, stream and place.
    """
    seeds = np.asarray(seeds, dtype=np.uint64)
    key = _mix(seeds * np.uint64(0x9E3779B97F4A7C15) + np.uint64(zlib.crc32(stream.encode()) + 1))
    counter = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    bits = _mix(_mix(key[:, None] + counter[None, :]))
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def normals(seeds: np.ndarray, stream: str, count: int = 1) -> np.ndarray:
    """Standard normal numbers that belong to (seed, stream), cut at ±2.5: (N,) → (N, count)."""
    return ndtri(uniforms(seeds, stream, count)).clip(-2.5, 2.5)


def draw(factors: dict[str, Factor], seeds: np.ndarray, given: dict) -> dict[str, np.ndarray]:
    """Every factor as (N,) float64 (a choice as the index of its name); ``given`` overrides what the seeds say."""
    result = {}
    for name, f in factors.items():
        value = given.get(name)
        if value is not None:
            result[name] = _given(name, f, value, len(seeds))
            continue
        x = uniforms(seeds, name)[:, 0]
        if f.law == "normal":
            result[name] = (f.a + f.b * ndtri(x)).clip(f.low, f.high)
        elif f.law == "uniform":
            result[name] = f.a + (f.b - f.a) * x
        elif f.law == "fixed":
            result[name] = np.full(len(seeds), float(f.a))
        else:
            result[name] = np.searchsorted(np.cumsum(f.a)[:-1], x, side="right").astype(np.float64)
    return result


def _given(name, factor, value, count):
    if factor.names:
        words = [value] * count if isinstance(value, str) or not np.iterable(value) else list(value)
        if len(words) != count:
            raise ValueError(f"{name} must be one name or {count} names, got {len(words)}")
        for word in words:
            if word not in factor.names:
                raise ValueError(f"{name} must be one of {', '.join(factor.names)}, got {word!r}")
        return np.array([factor.names.index(word) for word in words], dtype=np.float64)
    try:
        numbers = np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number or {count} numbers, got {value!r}") from None
    if numbers.shape not in ((), (1,), (count,)):
        raise ValueError(f"{name} must be a number or {count} numbers, got shape {numbers.shape}")
    if not np.isfinite(numbers).all() or (numbers < factor.low).any() or (numbers > factor.high).any():
        raise ValueError(f"{name} must lie between {factor.low:g} and {factor.high:g}, got {value!r}")
    return np.broadcast_to(numbers, (count,)).copy()


# The left half and the midline of the average face, in rulers; the right half is its mirror image.
_HALF = {
    0: (-1.47, -0.43), 1: (-1.24, -0.60), 2: (-0.95, -0.665), 3: (-0.65, -0.63), 4: (-0.37, -0.54),
    10: (0.0, -0.02), 11: (0.0, 0.30), 12: (0.0, 0.62), 13: (0.0, 0.94),
    14: (-0.36, 1.11), 15: (-0.18, 1.18), 16: (0.0, 1.22),
    19: (-1.18, -0.015), 20: (-0.985, -0.128), 21: (-0.715, -0.135), 22: (-0.50, 0.035), 23: (-0.715, 0.100),
    24: (-0.97, 0.090),
    31: (-0.72, 1.632), 32: (-0.45, 1.535), 33: (-0.16, 1.465), 34: (0.0, 1.49),
    40: (0.0, 1.935), 41: (-0.17, 1.92), 42: (-0.45, 1.825),
    43: (-0.25, 1.655), 44: (0.0, 1.665), 47: (0.0, 1.668), 48: (-0.25, 1.658),
}


def _average_face():
    face = np.zeros((49, 2))
    for i, (u, v) in _HALF.items():
        face[i] = u, v
        face[MIRROR[i]] = -u, v
    return face


AVERAGE_FACE = _average_face()
"""The 49 resting landmarks of the average face, (49, 2), in rulers."""


def resting_face(person: dict[str, np.ndarray], seeds: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The neutral face of each person: landmarks (N, 49, 2) in rulers, and the lengths that the drawing needs.

    The second value holds (N,) arrays: chin (v of the chin), width (half the head at the cheekbones), jaw (1.5–2.5,
    pointed to square), crown, hairline (v of both), brow (half its thickness).
    """
    n = len(seeds)
    p = {k: v[:, None] for k, v in person.items()}
    face = np.broadcast_to(AVERAGE_FACE, (n, 49, 2)).copy()
    u, v = face[..., 0], face[..., 1]  # views: what changes them changes the face
    side = np.sign(AVERAGE_FACE[:, 0])

    eyes = list(range(19, 31))
    inner = [22, 25]
    size = 1 + 0.055 * p["eye_size"]
    lid = [i for i in eyes if i not in (19, 22, 25, 28)]
    v[:, lid] = v[:, lid] * (1 + 0.10 * p["eye_size"])
    reach = abs(u[:, eyes]) - 0.5
    u[:, eyes] = side[eyes] * (0.5 + reach * size)
    v[:, eyes] -= 0.045 * p["eye_tilt"] * reach / 0.68
    u[:, inner] = side[inner] * 0.5

    brow = list(range(10))
    along = (abs(u[:, brow]) - 0.37) / 1.1
    v[:, brow] += -0.05 * p["brow_height"] - 0.035 * p["brow_arch"] * (1 - (2 * along - 1) ** 2)
    v[:, brow] += 0.02 * p["brow_arch"] * along + 0.03 * (p["age"] - 0.4)
    u[:, brow] *= 1 + 0.01 * p["build"]

    nose = list(range(10, 19))
    v[:, nose] = v[:, nose] * (1 + 0.045 * p["nose_length"])
    u[:, 14:19] *= 1 + 0.10 * p["nose_width"]

    mouth = list(range(31, 49))
    seam = 1.655
    v[:, mouth] = seam + (v[:, mouth] - seam) * (1 + 0.19 * p["lip_fullness"] - 0.25 * (p["age"] - 0.4))
    u[:, mouth] *= 1 + 0.065 * p["mouth_width"]
    v[:, mouth] += 0.045 * p["nose_length"] + 0.04 * p["face_length"]

    # Natural asymmetry: one side of each feature sits a little higher, longer or further out than the other.
    uneven = normals(seeds, "uneven", 6) * p["asymmetry"]
    v[:, brow] += side[brow] * 0.016 * uneven[:, :1]
    v[:, [2, 1, 7, 8]] += side[[2, 1, 7, 8]] * 0.010 * uneven[:, 1:2]
    v[:, lid] *= 1 + side[lid] * 0.03 * uneven[:, 2:3]
    v[:, mouth] += u[:, mouth] * 0.016 * uneven[:, 3:4]
    u[:, mouth] += 0.012 * uneven[:, 4:5]
    u[:, 11:19] += 0.012 * uneven[:, 5:6] * np.array([0.4, 0.8, 1, 1, 1, 1, 1, 1])

    q = person
    lengths = {
        "chin": 2.66 + 0.10 * q["face_length"] + 0.04 * q["jaw"],
        "width": 1.75 + 0.06 * q["build"] - 0.01 * q["face_length"],
        "jaw": (1.88 + 0.17 * q["jaw"] + 0.10 * q["build"]).clip(1.5, 2.5),
        "crown": -2.62 - 0.05 * q["face_length"],
        "hairline": -1.78 - 0.10 * q["forehead"],
        "brow": 0.070 * np.exp(0.25 * q["brow_thickness"]),
    }
    return face, lengths


SKIN = np.array([[0.945, 0.800, 0.725], [0.895, 0.725, 0.620], [0.820, 0.620, 0.480],
                 [0.655, 0.455, 0.325], [0.470, 0.310, 0.220], [0.300, 0.195, 0.145]])
"""Skin from lightest to darkest, sRGB 0–1, evenly spaced on the factor ``skin``."""
HAIR_COLOURS = np.array([[0.075, 0.060, 0.058], [0.16, 0.105, 0.075], [0.30, 0.185, 0.11],
                         [0.47, 0.31, 0.17], [0.68, 0.51, 0.30]])
GREY = np.array([0.68, 0.67, 0.66])
EYE_COLOURS = np.array([[0.20, 0.11, 0.065], [0.30, 0.175, 0.09], [0.36, 0.29, 0.14], [0.30, 0.38, 0.30],
                        [0.34, 0.47, 0.60]])


def ramp(colours: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Colours (K, 3) interpolated at x in 0–1: (N,) → (N, 3)."""
    x = np.clip(x, 0, 1) * (len(colours) - 1)
    return np.stack([np.interp(x, np.arange(len(colours)), c) for c in colours.T], axis=1)


def colours(person: dict[str, np.ndarray], seeds: np.ndarray) -> dict[str, np.ndarray]:
    """The colours of each person, (N, 3) sRGB: skin, lip, hair (or its cover), beard, brow, iris."""
    tone = person["undertone"][:, None] * np.array([0.012, 0.0, -0.022])
    skin = (ramp(SKIN, person["skin"]) + tone).clip(0.02, 0.98)
    # Dark hair and eyes are the rule on the darker half of the skins.
    fair = person["hair_colour"] ** 1.5 * np.clip(1.15 - 1.3 * person["skin"], 0.06, 1.0)
    grey = np.clip((person["age"] - 0.75 + 0.40 * uniforms(seeds, "grey")[:, 0]) * 2.0, 0, 1)[:, None]
    hair = ramp(HAIR_COLOURS, fair)
    brow = hair * (1 - 0.45 * grey) + 0.45 * grey * GREY
    hair = hair * (1 - grey) + grey * GREY * (0.75 + 0.3 * uniforms(seeds, "grey", 2)[:, 1:])
    beard = hair
    dye = uniforms(seeds, "cloth", 4)
    cloth = 0.08 + 0.80 * (0.45 + 0.55 * dye[:, :3]) * dye[:, 3:]
    hair = np.where((person["hair"] == HAIR.index("scarf"))[:, None], cloth, hair)
    iris = ramp(EYE_COLOURS, person["eye_colour"] * np.clip(1.3 - 1.5 * person["skin"], 0.05, 1.0))
    red = np.array([[0.97, 0.68, 0.68]]) * (1 - 0.10 * person["skin"][:, None])
    lip = skin * red * (1 - 0.10 * person["skin"][:, None]) + np.array([0.02, 0, 0.01])
    pink = person["skin"] * uniforms(seeds, "pink")[:, 0]
    lip = lip + pink[:, None] * np.array([0.14, 0.03, 0.035])
    brow = np.minimum(brow, skin * 0.62)
    return {"skin": skin, "lip": lip.clip(0.02, 1), "hair": hair, "beard": beard, "brow": brow,
            "iris": iris}


def rotation(yaw, pitch, roll) -> np.ndarray:
    """Rotation of the head, (N,) degrees each → (N, 3, 3), head frame → camera frame.

    Positive yaw turns the face to the right of the image, positive pitch up, positive roll clockwise.
    """
    y, p, r = (np.asarray(a, dtype=np.float64) * math.pi / 180 for a in (yaw, pitch, roll))
    zero, one = np.zeros_like(y), np.ones_like(y)

    def matrix(*rows):
        return np.stack([np.stack(row, -1) for row in rows], -2)

    ry = matrix((np.cos(y), zero, np.sin(y)), (zero, one, zero), (-np.sin(y), zero, np.cos(y)))
    rx = matrix((one, zero, zero), (zero, np.cos(p), -np.sin(p)), (zero, np.sin(p), np.cos(p)))
    rz = matrix((np.cos(r), -np.sin(r), zero), (np.sin(r), np.cos(r), zero), (zero, zero, one))
    return rz @ rx @ ry


def depth(u, v, lengths):
    """The relief that pose needs, in rulers towards the viewer: points (B, …) and lengths (B,) tensors → (B, …).

    The head falls off to the sides with a slope that stays below 1, so every view within ±20° can be inverted.
    """
    nose = lengths["nose"].reshape(-1, *[1] * (u.ndim - 1))
    head = -1.15 * ((0.36 + 0.55 * u * u).sqrt() - 0.6) - 1.2 * ((1 + 0.14 * (v - 0.4) ** 2).sqrt() - 1)
    w = v / nose - 0.92
    ridge = torch.exp(-(u * u) / 0.05 - torch.where(w < 0, w * w / 0.42, w * w / 0.045))
    sockets = torch.exp(-((u.abs() - 0.72) ** 2) / 0.16 - (v + 0.05) ** 2 / 0.06)
    mouth = torch.exp(-(u * u) / 0.6 - (v - 1.75) ** 2 / 0.35)
    return head + 0.42 * ridge - 0.10 * sockets + 0.10 * mouth
