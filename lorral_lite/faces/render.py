"""Pixels: resting face + expression + scene → images, in blocks of faces, on any device.

The plan of a face is a row of numbers (NumPy, all faces at once). A block of rows is painted as heads on a canvas
(:mod:`.head`), projected through the pose over neck, hair and background, and passed through the camera: focus,
noise.
"""

import difflib
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..device import pick_device
from . import anatomy, expression
from .anatomy import Factor, draw, normals, uniforms
from .coverings import OCCLUDERS, SCARF, UNDER
from .drawing import V_TOP, canvas_of, column, paint, power, smooth
from .head import paint_head, relief, tints

MIN_SIZE, MAX_SIZE = 48, 1024
BACKGROUNDS = ("plain", "gradient", "blobs", "bars")
SCENE: dict[str, Factor] = {
    "yaw": Factor("normal", 0.0, 7.0, -20.0, 20.0),
    "pitch": Factor("normal", 0.0, 4.0, -15.0, 15.0),
    "roll": Factor("normal", 0.0, 3.0, -20.0, 20.0),
    "zoom": Factor("normal", 1.0, 0.03, 0.85, 1.2),
    "shift_x": Factor("normal", 0.0, 0.07, -0.4, 0.4),
    "shift_y": Factor("normal", 0.0, 0.05, -0.4, 0.4),
    "light_azimuth": Factor("normal", 0.0, 32.0, -80.0, 80.0),
    "light_elevation": Factor("normal", 30.0, 14.0, -20.0, 75.0),
    "light_strength": Factor("uniform", 0.45, 0.85),
    "light_warmth": Factor("normal", 0.0, 0.45, -1.0, 1.0),
    "exposure": Factor("normal", 0.0, 0.12, -0.7, 0.7),
    "background": Factor("choice", (0.2, 0.35, 0.3, 0.15), names=BACKGROUNDS),
    "background_hue": Factor("uniform", 0.0, 1.0),
    "background_light": Factor("uniform", 0.15, 0.8),
    "focus": Factor("uniform", 0.65, 1.0),
    "noise": Factor("uniform", 0.0, 0.35),
}
"""What belongs to the scene, drawn from the scene's seed."""

IMAGE_RULER = 0.160
EYE_LINE = 0.475
"""Ruler and height of the eyes in the picture, as shares of ``size``."""
LONG = anatomy.HAIR.index("long")
PIVOT = (0.6, -0.5)
"""v and z of the point about which the head turns in the picture."""


@dataclass
class Faces:
    """Rendered faces.

    ``images`` (N, 3, size, size) float32 in 0–1, sRGB; ``landmarks`` (N, 49, 2) float32 pixels, (0, 0) the middle of
    the top left pixel; ``occluders`` (N, size, size) bool, the pixels that belong to an occluder that was asked for.
    """

    images: Tensor
    landmarks: Tensor
    occluders: Tensor

    @property
    def pictures(self) -> np.ndarray:
        """The images as files keep them: (N, size, size, 3) uint8."""
        return (self.images.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).cpu().numpy()


def render_faces(aus, size: int = 200, seed=0, *, scene=None, occluder=None, device=None, **person_and_scene) -> Faces:
    """Draw faces that show the given action units.

    ``aus`` is {AU: intensity 0–1 or (left, right)} for one face ({} is neutral) or numbers of shape (N, 18) or
    (N, 18, 2) in the order of :data:`AUS`; left is the left of the image. ``size`` is the side in pixels, 48–1024.
    ``seed`` is the person, ``scene`` pose, light, background and camera: each one int for all rows or N ints;
    ``scene`` None takes the person's seed. One dictionary with N seeds shows the same AUs on N faces.

    ``person_and_scene``: every other factor is drawn from the seeds unless it is named, one value for all rows or N:

    Person: ``age`` 0–1 (young to old), ``skin`` 0–1 (lightest to darkest), ``undertone`` −1–1 (cool to warm),
    ``hair_colour`` and ``eye_colour`` 0–1 (dark to fair), ``asymmetry`` 0–2 (0 none, 1 natural); in standard
    deviations, −2.5–2.5: ``build``, ``face_length``, ``jaw``, ``eye_size``, ``eye_tilt``, ``brow_height``,
    ``brow_thickness``, ``brow_arch``, ``nose_length``, ``nose_width``, ``mouth_width``, ``lip_fullness``,
    ``forehead``; names: ``hair`` (bald, cropped, short, quiff, medium, curly, long, afro, tied, scarf),
    ``facial_hair`` (none, stubble, moustache, goatee, beard), ``glasses`` (none, thin, thick).

    Scene: ``yaw`` −20–20°, ``pitch`` −15–15°, ``roll`` −20–20° (positive: face turns right, up, clockwise),
    ``zoom`` 0.85–1.2, ``shift_x`` and ``shift_y`` −0.4–0.4 rulers (right, down), ``light_azimuth`` −80–80°
    (positive: from the right), ``light_elevation`` −20–75° (positive: from above), ``light_strength`` 0–1 (share of
    the light that has a direction), ``light_warmth`` −1–1 (blue to orange),
    ``exposure`` −0.7–0.7 stops, ``background`` (plain, gradient, blobs, bars), ``background_hue`` 0–1,
    ``background_light`` 0–1, ``focus`` 0–1 (1 sharp), ``noise`` 0–1 (1: standard deviation 0.06).

    ``occluder`` covers a region: mask (chin to nose), fringe (forehead and brows), glasses_dark (eyes), or several
    joined, "fringe+mask"; one for all rows or N. A cover leaves no sign of the AUs of
    :data:`~lorral_lite.faces.coverings.OCCLUDERS` outside the true mask but what their landmarks move; the landmarks
    stay true under it.

    The bytes of a face depend on its own row alone, not on how many are asked for nor on the number of threads, for
    a given size and device. On a CPU one thread draws them; ``python -m benchmarks faces`` says how many a second.
    ``device`` None is the CPU, auto a GPU when there is one. ValueError names the argument and what is allowed;
    TypeError an unknown argument and the factors whose names are nearest.
    """
    _known(person_and_scene)
    if not isinstance(size, (int, np.integer)) or not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size must be a whole number of pixels from {MIN_SIZE} to {MAX_SIZE}, got {size!r}")
    size = int(size)
    values = expression.read_aus(aus)
    people = _seeds("seed", seed)
    places = people if scene is None else _seeds("scene", scene)
    worn = _worn(occluder)
    counts = {"aus": len(values), "seed": len(people), "scene": len(places), "occluder": len(worn)}
    counts |= {k: len(v) for k, v in person_and_scene.items() if not isinstance(v, str) and np.ndim(v) == 1}
    n = max(counts.values())
    if set(counts.values()) - {1, n}:
        words = ", ".join(f"{name} {count}" for name, count in counts.items() if count != 1)
        raise ValueError(f"every argument must be for one face or for the same number of faces, got {words}")
    values, people, places, worn = (
        np.repeat(rows, n, 0) if len(rows) == 1 else rows for rows in (values, people, places, worn)
    )

    device = torch.device("cpu") if device is None else pick_device(device)
    plan = _plan(values, people, places, person_and_scene, worn, size)
    block = _block(size, device)
    images = torch.empty(n, 3, size, size, device=device)
    occluders = torch.empty(n, size, size, dtype=torch.bool, device=device)
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)  # the operations are too small to share, and the bytes then depend on no thread count
    try:
        with torch.no_grad():
            for start in range(0, n, block):
                rows = np.arange(start, start + block).clip(max=n - 1)  # the last block is padded to full size
                part = {k: torch.from_numpy(v[rows]).to(device) for k, v in plan.items()}
                image, mask = _photograph(part, paint_head(part, size, device), size, device)
                images[start : start + block] = image[: n - start]
                occluders[start : start + block] = mask[: n - start]
    finally:
        if device.type == "cpu":
            torch.set_num_threads(threads)
    landmarks = torch.from_numpy(plan["pixels"]).to(device)
    return Faces(images, landmarks, occluders)


PERSON_SCENE = {**anatomy.PERSON, **SCENE}


def _known(names) -> None:
    for name in names:
        if name not in PERSON_SCENE:
            near = difflib.get_close_matches(name, PERSON_SCENE, cutoff=0.4) or PERSON_SCENE
            raise TypeError(f"render_faces knows no {name!r}; the nearest are {', '.join(near)}")


def _seeds(name, value) -> np.ndarray:
    array = np.atleast_1d(np.asarray(value.cpu() if isinstance(value, Tensor) else value))
    if array.ndim != 1 or array.dtype.kind not in "iu" or (array < 0).any() or len(array) == 0:
        raise ValueError(f"{name} must be an int or a list of ints, 0 or more, got {value!r}")
    return array.astype(np.uint64)


def _worn(occluder) -> np.ndarray:
    """Names of occluders, one text for all rows or a list of N → (N, number of OCCLUDERS) bool."""
    one = isinstance(occluder, str) or not np.iterable(occluder)
    words = ["none"] if occluder is None else [str(x) for x in ([occluder] if one else occluder)]
    for word in {part for text in words for part in text.split("+")} - {"none", *OCCLUDERS}:
        raise ValueError(f"occluder must be none, {', '.join(OCCLUDERS)}, or several joined by +, got {word!r}")
    return np.array([[name in text.split("+") for name in OCCLUDERS] for text in words])


def _block(size, device) -> int:
    """Faces drawn at a time: as many as keep one temporary in cache on a CPU, many on a GPU."""
    return max(1, 40000 // size**2) if device.type == "cpu" else max(1, 2560000 // size**2)


def _plan(aus, people, places, given, worn, size) -> dict[str, np.ndarray]:
    """Everything that is a number or a point per face, as float32 arrays with N rows."""
    person = draw(anatomy.PERSON, people, given)
    person["facial_hair"] = _grown(person, given)
    scene = draw(SCENE, places, given)
    rest, lengths = anatomy.resting_face(person, people)
    lengths["nose"] = rest[:, 13, 1] / 0.94

    # Natural asymmetry of movement: each AU a little stronger on one side.
    lean = 0.10 * normals(people, "lean", len(expression.AUS)) * np.minimum(person["asymmetry"], 1.5)[:, None]
    lean = lean * expression.SIDED
    shown = (aus * np.stack([1 + lean, 1 - lean], -1)).clip(0, 1.15)
    face = expression.move(rest, shown)
    landmarks = face
    if worn.any():  # a covered AU shows nowhere; the landmarks under the cover stay true
        hides = np.array([[au in aus for au in expression.AUS] for aus in OCCLUDERS.values()])
        under = np.array([[i in points for i in range(49)] for points in UNDER.values()])
        shown = shown * ~(worn @ hides)[..., None]
        face = expression.move(rest, shown)
        landmarks = np.where((worn @ under)[..., None], landmarks, face)
    drop = expression.chin_drop(shown)
    furrows = expression.furrows(shown, person["age"])
    plan = person | scene | lengths | {f"f_{k}": v for k, v in furrows.items()}
    plan["relief"] = relief(person, lengths, furrows, face, rest, drop)
    plan["blood"], plan["shade"] = tints(person, lengths, rest)
    plan |= {f"c_{k}": v**2 for k, v in anatomy.colours(person, people).items()}  # linear light: gamma 2
    plan["rest"], plan["face"], plan["drop"], plan["worn"] = rest, face, drop, worn

    spin = anatomy.rotation(scene["yaw"], scene["pitch"], scene["roll"])  # D44 pose
    scale = IMAGE_RULER * size * scene["zoom"]
    shift = np.stack([scene["shift_x"], scene["shift_y"]], -1) * scale[:, None]
    centre = np.array([0.5, EYE_LINE]) * (size - 1) + shift
    plan |= {"spin": spin, "scale": scale, "centre": centre}
    tensors = {k: torch.from_numpy(v) for k, v in lengths.items()}
    points = torch.from_numpy(landmarks)
    z = anatomy.depth(points[..., 0], points[..., 1], tensors).numpy()
    q = np.stack([landmarks[..., 0], landmarks[..., 1] - PIVOT[0], z - PIVOT[1]], -1)
    plan["pixels"] = np.einsum("nij,nkj->nki", spin[:, :2] * scale[:, None, None], q) + centre[:, None]
    plan["pixels"][..., 1] += (PIVOT[0] * scale)[:, None]

    az, el = np.deg2rad(scene["light_azimuth"]), np.deg2rad(scene["light_elevation"])
    light = np.stack([np.sin(az) * np.cos(el), -np.sin(el), np.cos(el) * np.cos(az)], -1)
    plan["light"], plan["light_head"] = light, np.einsum("nji,nj->ni", spin, light)
    warm = scene["light_warmth"][:, None] * np.array([0.14, 0.0, -0.20])
    share = scene["light_strength"][:, None]
    plan["key"] = (1.35 * share) * (1 + warm)
    plan["ambient"] = (1.0 - 0.72 * share) * (1 - 0.5 * warm)
    plan["gain"] = 2.0 ** scene["exposure"] * (0.84 + 0.70 * person["skin"] ** 1.5)  # D48 exposure and skin
    plan["random"] = uniforms(places, "backdrop", 32)
    plan["marks"] = uniforms(people, "marks", 32)
    return {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in plan.items()}


def _grown(person, given):
    """Facial hair that was drawn, not given, stays with short-haired people with heavy jaws or brows."""
    if given.get("facial_hair") is not None:
        return person["facial_hair"]
    short = np.isin(person["hair"], [anatomy.HAIR.index(name) for name in ("bald", "cropped", "short", "quiff")])
    heavy = person["jaw"] + person["brow_thickness"] + 1.5 * short > 0.8 + 9 * (person["hair"] == SCARF)
    return person["facial_hair"] * heavy


def _photograph(p, layer, size, device):
    """Project the head over the scene and pass it through the camera."""
    canvas = canvas_of(size, device)
    axis = canvas.pixels
    scale, centre, spin = p["scale"], p["centre"], p["spin"]
    x = (axis[None] - centre[:, :1]) / scale[:, None]
    y = (axis[None] - centre[:, 1:]) / scale[:, None] - PIVOT[0]

    # Which point of the head does a pixel see? Solve p = A (u, v) + c z(u, v) by fixed-point steps on a half grid.
    coarse = (size + 1) // 2 + 1
    cx = torch.linspace(0, size - 1, coarse, device=device)
    gx = ((cx[None] - centre[:, :1]) / scale[:, None])[:, None, :]
    gy = ((cx[None] - centre[:, 1:]) / scale[:, None] - PIVOT[0])[:, :, None]
    a, c = torch.linalg.inv(spin[:, :2, :2]), spin[:, :2, 2]
    drift = torch.einsum("bij,bj->bi", a, c)
    u0 = column(a[:, 0, 0]) * gx + column(a[:, 0, 1]) * gy
    v0 = column(a[:, 1, 0]) * gx + column(a[:, 1, 1]) * gy + PIVOT[0]
    lengths = {"nose": p["nose"]}
    u, v = u0, v0
    for _ in range(8):
        z = anatomy.depth(u, v, lengths) - PIVOT[1]
        u, v = u0 - column(drift[:, 0]) * z, v0 - column(drift[:, 1]) * z
    half = (canvas.width - 1) / 2 * canvas.pixel
    deep = (canvas.height - 1) * canvas.pixel
    where = torch.stack([u / half, (v - V_TOP) / deep * 2 - 1], 1)
    where = F.interpolate(where, size=(size, size), mode="bilinear", align_corners=True).permute(0, 2, 3, 1)
    head = F.grid_sample(layer, where, mode="bilinear", padding_mode="zeros", align_corners=True)
    alpha = head[:, 3:4]

    image = _backdrop(p, x, y)
    first = int(0.33 * size)  # nothing of the body is higher than that
    _body(p, image[:, :, first:], x, y[:, first:])
    image.mul_(1 - alpha).add_(head[:, :3])
    image.clamp_min_(1e-5).sqrt_()
    image = image * (1.12 - 0.12 * image * image).clamp_min_(0.8)
    image = _focus(p, image, size)
    i = axis.long()
    grain = canvas.tile(canvas.white, i[:, None], i[None], p["random"][:, 30] * 400)
    image += ((0.06 * column(p["noise"])) * grain)[:, None]
    return image.clamp_(0, 1), head[:, 4] > 0.3


def _backdrop(p, x, y):
    """Background in linear light from rows and columns: (B, 3, S, S)."""
    r = p["random"]
    hue = p["background_hue"][:, None] * 2 * math.pi + torch.tensor([[0.0, 2.1, 4.2]], device=x.device)
    base = p["background_light"][:, None] ** 2 * (0.75 + 0.25 * (0.2 + r[:, :1]) * torch.cos(hue))
    kind = p["background"]
    gradient, blobs, bars = ((kind == i).float()[:, None] for i in (1, 2, 3))
    xs, ys = [], []
    for i in range(5):
        cx, cy = (r[:, 4 * i + 1 : 4 * i + 2] - 0.5) * 6, (r[:, 4 * i + 2 : 4 * i + 3] - 0.5) * 6
        w = 0.5 + r[:, 4 * i + 3 : 4 * i + 4]
        xs.append(torch.exp(-(((x - cx) / w) ** 2)))
        ys.append(torch.exp(-(((y - cy) / w) ** 2)) * (r[:, 4 * i : 4 * i + 1] - 0.35) * blobs)
    xs.append(torch.ones_like(x))
    ys.append(-0.12 * y * gradient)
    xs.append(torch.sin(x * (2 + 3 * r[:, 24:25]) + 6 * r[:, 25:26]).clamp(-0.6, 0.6))
    ys.append(torch.ones_like(y) * 0.5 * bars)
    light = torch.bmm(torch.stack(ys, -1), torch.stack(xs, 1))
    return base[:, :, None, None] * (1 + light).clamp_min(0.1)[:, None]


def _body(p, image, x, y):
    """Hair that hangs behind, neck, shoulders and a collar, in the picture plane, in place."""
    spin, r = p["spin"], p["marks"]
    px = 1 / p["scale"][:, None, None]
    everything = slice(None), slice(None)
    dx = (x - (spin[:, 0, 1] * 1.2 - spin[:, 0, 2] * 0.6)[:, None])[:, None, :]
    yy = y - (p["chin"] - PIVOT[0] + spin[:, 1, 2] * 0.3)[:, None]
    w = column(p["width"]) * (0.62 + 0.06 * (column(p["jaw"]) - 1.88))
    side = dx.abs()
    scarf = p["hair"] == SCARF
    long = column(((p["hair"] == LONG) | scarf).float())
    behind = ((column(p["width"]) - 0.05 - side) / px + 0.5).clamp(0, 1) * long * smooth(y, 0.3, 1.0)[:, :, None]
    gain = p["gain"][:, None, None, None]
    paint(image, *everything, p["c_hair"] * 0.30 * p["gain"][:, None], behind)

    slope = yy[:, :, None] - 0.36 - 0.34 * (side - w).clamp_min(0)  # > 0 below the line of the shoulders
    half = w + 0.07 * smooth(-yy, -0.1, 0.6)[:, :, None] + 0.25 * smooth(yy, 0.1, 0.5)[:, :, None] ** 2
    neck = torch.maximum((0.5 - (side - half) / px).clamp(0, 1), (slope / px + 0.5).clamp(0, 1))
    neck = neck * (yy > -1.6)[:, :, None]
    nx = (dx / w).clamp(-1.2, 1.2)
    light = p["light"]
    lam = ((column(light[:, 2]) * (1 - 0.4 * nx * nx) + column(light[:, 0]) * nx * 0.8 + 0.15) * 0.75).clamp_min(0)
    lit = p["ambient"][:, :, None, None] + p["key"][:, :, None, None] * lam[:, None]
    shadow = (0.40 + 0.45 * smooth(yy, 0.0, 0.8))[:, None, :, None]
    cords = 1 - 0.10 * torch.exp(-((side - 0.30 * (1.1 - yy[:, :, None])) / 0.10) ** 2)
    bare = torch.where(scarf[:, None], p["c_hair"] * 0.7, p["c_skin"])[:, :, None, None]
    paint(image, *everything, bare * lit * shadow * cords[:, None] * gain, neck)

    cloth = power(0.03 + 0.55 * r[:, 24:27] * r[:, 27:28], 1.3)
    dip = 0.12 + 0.45 * r[:, 28:29, None] ** 2
    collar = yy[:, :, None] - 0.42 - dip * power((1 - (side / w) ** 2).clamp_min(1e-4), 0.5 + r[:, 29:30, None])
    cover = (torch.minimum(collar, slope + 0.02) / px + 0.5).clamp(0, 1)
    hem = 1 - 0.30 * torch.exp(-((collar - 0.06) / 0.03) ** 2) * (side < w + 0.1)
    fold = 1 + 0.10 * torch.sin(side * 5 + 3 * yy[:, :, None] + 6 * column(r[:, 30]))
    paint(image, *everything, cloth[:, :, None, None] * (0.25 + lit * (fold * hem)[:, None]) * gain, cover)


def _focus(p, image, size):
    """Separable Gaussian blur; focus 1 is sharp, 0 blurs by a standard deviation of 1.2 % of the size."""
    sigma = (1 - p["focus"]) * 0.012 * size
    strong = p["focus"] < 0.6
    result = _blur(image, sigma.clamp(max=0.0048 * size), math.ceil(0.012 * size))
    if bool(strong.any()):
        result = torch.where(strong[:, None, None, None], _blur(image, sigma, math.ceil(0.03 * size)), result)
    return result


def _blur(image, sigma, reach):
    i = torch.arange(reach + 1, device=image.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (i / sigma[:, None].clamp_min(0.05)) ** 2)
    kernel = (kernel / (2 * kernel.sum(1, keepdim=True) - 1))[:, :, None, None, None]
    size = image.shape[-1]
    for dim in (2, 3):
        wide = F.pad(image, (0, 0, reach, reach) if dim == 2 else (reach, reach, 0, 0), mode="replicate")
        image = wide.narrow(dim, reach, size) * kernel[:, 0]
        for k in range(1, reach + 1):
            image += kernel[:, k] * (wide.narrow(dim, reach - k, size) + wide.narrow(dim, reach + k, size))
    return image
