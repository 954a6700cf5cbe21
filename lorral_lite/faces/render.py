"""Pixels: resting face + expression + scene → images, in blocks of faces, on any device.

A face is painted on a canvas in the frame of the head (rulers; see :mod:`.anatomy`): albedo, relief and gloss are
shapes whose edges are functions of one coordinate that run exactly through the landmarks. The relief gives normals,
normals and the light of the scene give shading. The canvas is then projected through the pose, over neck, hair and
background, and passes the camera: focus, noise, quantisation.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import anatomy, expression
from .anatomy import Factor, draw, normals, uniforms

MIN_SIZE, MAX_SIZE = 48, 1024
BACKGROUNDS = ("plain", "gradient", "blobs", "bars")
OCCLUDERS: dict[str, tuple[int, ...]] = {
    "hand": (), "hair": (), "microphone": (),
    "fringe": (1, 2, 4), "glasses_dark": (5, 6, 7, 43), "mask": (9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26),
}
"""What can cover a face → the AUs whose own place it covers whatever the person (the others cover a part)."""

SCENE: dict[str, Factor] = {
    "yaw": Factor("normal", 0.0, 7.0, -20.0, 20.0),
    "pitch": Factor("normal", 0.0, 4.0, -15.0, 15.0),
    "roll": Factor("normal", 0.0, 3.0, -20.0, 20.0),
    "zoom": Factor("normal", 1.0, 0.03, 0.85, 1.2),
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

EXTRAS: dict[str, Factor] = {
    "gaze_x": Factor("fixed", 0.0, low=-30.0, high=30.0),
    "gaze_y": Factor("fixed", 0.0, low=-20.0, high=20.0),
    "blink": Factor("fixed", 0.0),
    "speech": Factor("fixed", 0.0),
    "jpeg": Factor("fixed", 100.0, low=10.0, high=100.0),
}
"""Distractors: off unless named."""

U_REACH, V_TOP, V_LOW = 2.55, -3.3, 3.2
RULER = 0.2
"""Canvas density in rulers: pixels of one ruler on the canvas, as a share of ``size``."""
IMAGE_RULER = 0.160
EYE_LINE = 0.475


@dataclass
class Faces:
    """Rendered faces.

    ``images`` (N, 3, size, size) float32 in 0–1, sRGB; ``landmarks`` (N, 49, 2) float32 pixels, (0, 0) the middle of
    the top left pixel; ``occluders`` (N, size, size) bool, the pixels that belong to an occluder that was asked for.
    """

    images: Tensor
    landmarks: Tensor
    occluders: Tensor


def render_faces(
    aus, size: int = 200, seed=0, *, scene=None,
    age=None, skin=None, undertone=None, build=None, face_length=None, jaw=None, eye_size=None, eye_tilt=None,
    brow_height=None, brow_thickness=None, brow_arch=None, nose_length=None, nose_width=None, mouth_width=None,
    lip_fullness=None, forehead=None, hair=None, hair_colour=None, eye_colour=None, facial_hair=None, glasses=None,
    asymmetry=None,
    yaw=None, pitch=None, roll=None, zoom=None, light_azimuth=None, light_elevation=None, light_strength=None,
    light_warmth=None, exposure=None, background=None, background_hue=None, background_light=None, focus=None,
    noise=None,
    gaze_x=None, gaze_y=None, blink=None, speech=None, jpeg=None, occluder="none",
    device=None,
) -> Faces:  # fmt: skip
    """Draw faces that show the given action units.

    ``aus`` is {AU: intensity 0–1 or (left, right)} for one face ({} is neutral) or numbers of shape (N, 18) or
    (N, 18, 2) in the order of :data:`AUS`; left is the left of the image. ``size`` is the side in pixels, 48–1024.
    ``seed`` is the person, ``scene`` pose, light, background and camera: each one int for all rows or N ints;
    ``scene`` None takes the person's seed. One dictionary with N seeds shows the same AUs on N faces.

    Every other factor is drawn from the seeds unless it is named here: one value for all rows or N values.

    Person: ``age`` 0–1 (young to old), ``skin`` 0–1 (lightest to darkest), ``undertone`` −1–1 (cool to warm),
    ``hair_colour`` and ``eye_colour`` 0–1 (dark to fair), ``asymmetry`` 0–2 (0 none, 1 natural); in standard
    deviations, −2.5–2.5: ``build``, ``face_length``, ``jaw``, ``eye_size``, ``eye_tilt``, ``brow_height``,
    ``brow_thickness``, ``brow_arch``, ``nose_length``, ``nose_width``, ``mouth_width``, ``lip_fullness``,
    ``forehead``; names: ``hair`` (bald, short, medium, long, afro, tied), ``facial_hair`` (none, stubble, moustache,
    goatee, beard), ``glasses`` (none, thin, thick, dark).

    Scene: ``yaw`` −20–20°, ``pitch`` −15–15°, ``roll`` −20–20° (positive: face turns right, up, clockwise),
    ``zoom`` 0.85–1.2, ``light_azimuth`` −80–80° (positive: from the right), ``light_elevation`` −20–75°,
    ``light_strength`` 0–1 (share of the light that has a direction), ``light_warmth`` −1–1 (blue to orange),
    ``exposure`` −0.7–0.7 stops, ``background`` (plain, gradient, blobs, bars), ``background_hue`` 0–1,
    ``background_light`` 0–1, ``focus`` 0–1 (1 sharp), ``noise`` 0–1 (1: standard deviation 0.06).

    Distractors, off unless named: ``gaze_x`` −30–30° and ``gaze_y`` −20–20° (positive: right, down), ``blink`` 0–1,
    ``speech`` 0–1, ``jpeg`` quality 10–100 (100: not compressed), ``occluder``: hand, hair (a lock), microphone, mask
    (chin to nose), fringe (forehead and brows), glasses_dark (eyes), or several joined, "fringe+mask"; one for all
    rows or N. Whole-region covers leave no sign of the AUs of :data:`OCCLUDERS` outside the true mask but what
    their landmarks move; the landmarks stay true under them.

    The bytes of a face depend on its own row alone, not on how many are asked for, for a given size and device.
    ValueError names the argument and what is allowed.
    """
    given = {k: v for k, v in locals().items() if k in PERSON_SCENE}
    if not isinstance(size, (int, np.integer)) or not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size must be a whole number of pixels from {MIN_SIZE} to {MAX_SIZE}, got {size!r}")
    size = int(size)
    values = expression.read_aus(aus)
    people = _seeds("seed", seed)
    places = people if scene is None else _seeds("scene", scene)
    worn = _worn(occluder)
    counts = {len(values), len(people), len(places), len(worn)}
    counts |= {len(v) for k, v in given.items() if v is not None and not isinstance(v, str) and np.ndim(v) == 1}
    n = max(counts)
    if counts - {1, n}:
        raise ValueError(f"aus, seed, scene and factors must be for one face or the same number, got {sorted(counts)}")
    if n > 1 and len(values) > 1 and len(values) != n:
        raise ValueError(f"aus is for {len(values)} faces, but {n} were asked for")
    values = np.repeat(values, n, 0) if len(values) == 1 else values
    people, places = (np.repeat(s, n) if len(s) == 1 else s for s in (people, places))
    worn = np.repeat(worn, n, 0) if len(worn) == 1 else worn

    device = torch.device("cpu" if device is None else device)
    plan = _plan(values, people, places, given, worn, size)
    block = _block(size, device)
    images = torch.empty(n, 3, size, size, device=device)
    occluders = torch.empty(n, size, size, dtype=torch.bool, device=device)
    with torch.no_grad():
        for start in range(0, n, block):
            rows = np.arange(start, start + block).clip(max=n - 1)  # the last block is padded to full size
            part = {k: torch.from_numpy(v[rows]).to(device) for k, v in plan.items()}
            image, mask = _draw_block(part, size, device)
            images[start : start + block] = image[: n - start]
            occluders[start : start + block] = mask[: n - start]
    landmarks = torch.from_numpy(plan["pixels"]).to(device)
    return Faces(images, landmarks, occluders)


PERSON_SCENE = {**anatomy.PERSON, **SCENE, **EXTRAS}


def _seeds(name, value) -> np.ndarray:
    array = np.atleast_1d(np.asarray(value.cpu() if isinstance(value, Tensor) else value))
    if array.ndim != 1 or array.dtype.kind not in "iu" or (array < 0).any() or len(array) == 0:
        raise ValueError(f"{name} must be an int or a list of ints, 0 or more, got {value!r}")
    return array.astype(np.uint64)


def _worn(occluder) -> np.ndarray:
    """Names of occluders, one text for all rows or a list of N → (N, number of OCCLUDERS) bool."""
    words = [occluder] if isinstance(occluder, str) else list(occluder)
    for word in {part for text in words for part in str(text).split("+")} - {"none", *OCCLUDERS}:
        raise ValueError(f"occluder must be none, {', '.join(OCCLUDERS)}, or several joined by +, got {word!r}")
    return np.array([[name in text.split("+") for name in OCCLUDERS] for text in words])


def _block(size, device) -> int:
    """Faces drawn at a time: as many as keep one temporary in cache on a CPU, many on a GPU."""
    return max(1, 40000 // size**2) if device.type == "cpu" else max(1, 2560000 // size**2)


def _plan(aus, people, places, given, worn, size) -> dict[str, np.ndarray]:
    """Everything that is a number or a point per face, as float32 arrays with N rows."""
    person = draw(anatomy.PERSON, people, given)
    person["facial_hair"] = _grown(person, people, given)
    scene = draw(SCENE, places, given)
    extra = draw(EXTRAS, places, given)
    rest, lengths = anatomy.resting_face(person, people)
    lengths["nose"] = rest[:, 13, 1] / 0.94

    # Natural asymmetry of movement: each AU a little stronger on one side.
    lean = 0.10 * normals(people, "lean", len(expression.AUS)) * np.minimum(person["asymmetry"], 1.5)[:, None]
    shown = (aus * np.stack([1 + lean, 1 - lean], -1)).clip(0, 1.15)
    face = expression.move(rest, shown, extra["blink"])
    face = expression.speak(face, extra["speech"], places)
    covered = np.stack([[au in aus for au in expression.AUS] for aus in OCCLUDERS.values()])
    shown = shown * ~(worn @ covered > 0)[..., None]  # what is covered leaves no furrow beside the cover
    drop = expression.chin_drop(shown) + 0.10 * extra["speech"] * ~worn[:, list(OCCLUDERS).index("mask")]
    plan = {f"f_{k}": v for k, v in expression.furrows(shown, person["age"]).items()}
    plan |= {k: v for k, v in person.items()} | scene | extra | lengths
    plan |= {f"c_{k}": v**2 for k, v in anatomy.colours(person, people).items()}  # linear light: gamma 2
    plan["rest"], plan["face"], plan["drop"], plan["worn"] = rest, face, drop, worn

    spin = anatomy.rotation(scene["yaw"], scene["pitch"], scene["roll"])
    scale = IMAGE_RULER * size * scene["zoom"]
    jitter = normals(places, "place", 2) * 0.012 * size
    centre = np.array([0.5 * (size - 1), EYE_LINE * (size - 1)]) + jitter * (given.get("zoom") is None)
    plan |= {"spin": spin, "scale": scale, "centre": centre}
    tensors = {k: torch.from_numpy(v) for k, v in lengths.items()}
    points = torch.from_numpy(face)
    z = anatomy.depth(points[..., 0], points[..., 1], tensors).numpy()
    q = np.stack([face[..., 0], face[..., 1] - PIVOT[0], z - PIVOT[1]], -1)
    plan["pixels"] = np.einsum("nij,nkj->nki", spin[:, :2] * scale[:, None, None], q) + centre[:, None]
    plan["pixels"][..., 1] += (PIVOT[0] * scale)[:, None]

    az, el = np.deg2rad(scene["light_azimuth"]), np.deg2rad(scene["light_elevation"])
    light = np.stack([np.sin(az) * np.cos(el), -np.sin(el), np.cos(el) * np.cos(az)], -1)
    plan["light"], plan["light_head"] = light, np.einsum("nji,nj->ni", spin, light)
    warm = scene["light_warmth"][:, None] * np.array([0.14, 0.0, -0.20])
    share = scene["light_strength"][:, None]
    plan["key"] = (1.35 * share) * (1 + warm)
    plan["ambient"] = (1.0 - 0.72 * share) * (1 - 0.5 * warm)
    plan["gain"] = 2.0 ** scene["exposure"] * (0.84 + 0.55 * person["skin"] ** 1.5)
    plan["random"] = uniforms(places, "backdrop", 32)
    plan["marks"] = uniforms(people, "marks", 32)
    return {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in plan.items()}


PIVOT = (0.6, -0.5)
"""v and z of the point about which the head turns in the picture."""


def _grown(person, seeds, given):
    """Facial hair that was drawn, not given, stays with short-haired people with heavy jaws or brows."""
    if given.get("facial_hair") is not None:
        return person["facial_hair"]
    heavy = person["jaw"] + person["brow_thickness"] + 1.5 * np.isin(person["hair"], (0, 1)) > 0.8
    return person["facial_hair"] * heavy


class Canvas:
    """The grid of the head frame at one size on one device, its boxes, and the noise that gives skin and hair grain."""

    def __init__(self, size: int, device):
        self.pixel = 1.0 / (RULER * size)  # rulers
        half = math.ceil(U_REACH / self.pixel)
        self.width, self.height = 2 * half + 1, math.ceil((V_LOW - V_TOP) / self.pixel) + 1
        self.u = torch.arange(-half, half + 1, device=device, dtype=torch.float32) * self.pixel
        self.v = V_TOP + torch.arange(self.height, device=device, dtype=torch.float32) * self.pixel
        noise = torch.randn(512, 512, generator=torch.Generator().manual_seed(1))
        self.white = noise.to(device)
        soft = F.avg_pool2d(F.pad(noise[None, None], (3, 3, 3, 3), mode="circular"), 7, 1)[0, 0]
        self.soft = (soft / soft.std()).to(device)
        u, v = self.u[None, :], self.v[:, None]
        angle = torch.atan2(u, -(v + 0.9))
        radius = (u * u + (v + 0.9) ** 2).sqrt()
        self.grain_row = ((v - V_TOP) * 52).long().expand(self.height, self.width)
        self.grain_column = (u.abs() * 52 + 0.1).long().expand(self.height, self.width)
        self.strand_row = (radius * 7).long()
        self.strand_column = (angle.abs() * 75 + 0.1).long(), (angle * 75).long() + 250
        rows = torch.arange(size, device=device, dtype=torch.float32)
        self.pixels = rows

    def box(self, u0, u1, v0, v1):
        """Slices (rows, columns) of a box, and its u (1, 1, w) and v (1, h, 1)."""
        half = (self.width - 1) // 2
        a, b = half + math.floor(u0 / self.pixel), half + math.ceil(u1 / self.pixel) + 1
        if u1 <= -u0 and u0 < 0 and u1 <= 0:  # left boxes are the mirrored right ones
            b, a = half - math.floor(-u1 / self.pixel) + 1, half - math.ceil(-u0 / self.pixel)
        a, b = max(a, 0), min(b, self.width)
        c, d = max(math.floor((v0 - V_TOP) / self.pixel), 0), min(math.ceil((v1 - V_TOP) / self.pixel), self.height)
        rows, columns = slice(c, d), slice(a, b)
        return rows, columns, self.u[columns][None, None, :], self.v[rows][None, :, None]

    def tile(self, tile, rows, columns, shift):
        """Noise read at whole-number places: rows, columns (h, w) + shift (B,) → (B, h, w)."""
        s = shift.long()[:, None, None]
        return tile[(rows[None] + s) % 512, (columns[None] + 3 * s) % 512]


@lru_cache(maxsize=8)
def _canvas(size, device):
    return Canvas(size, device)


def curve(x: Tensor, y: Tensor, at: Tensor) -> Tensor:
    """A smooth curve through knots (x, y), (B, K) with x increasing, at places (w,): → (B, w).

    Cubic Hermite pieces whose slopes come from parabolas through neighbouring knots; straight outside the knots.
    """
    h = (x[:, 1:] - x[:, :-1]).clamp_min(1e-3)
    s = (y[:, 1:] - y[:, :-1]) / h
    inner = (s[:, :-1] * h[:, 1:] + s[:, 1:] * h[:, :-1]) / (h[:, 1:] + h[:, :-1])
    slope = torch.cat([2 * s[:, :1] - inner[:, :1], inner, 2 * s[:, -1:] - inner[:, -1:]], 1)
    i = (at[None, :, None] >= x[:, None, 1:-1]).sum(-1)  # piece of each place
    h, s, x0, y0, m0, m1 = (t.gather(1, i) for t in (h, s, x[:, :-1], y[:, :-1], slope[:, :-1], slope[:, 1:]))
    raw = (at[None] - x0) / h
    t = raw.clamp(0, 1)
    out = (raw - t) * h
    value = y0 + h * t * (m0 + t * ((3 * s - 2 * m0 - m1) + t * (m0 + m1 - 2 * s)))
    return value + out * torch.where(out < 0, m0, m1)


def tilt(values: Tensor, step: float) -> Tensor:
    """1 / sqrt(1 + slope²) of a curve sampled every ``step``: turns vertical into perpendicular distance."""
    return torch.rsqrt(1 + torch.gradient(values, spacing=step, dim=-1)[0].square())


def column(x):
    """(B,) → (B, 1, 1)."""
    return x[:, None, None]


def paint(albedo, rows, columns, colour, alpha):
    """Lay a colour (B, 3) or (B, 3, h, w) over a box of the albedo (B, 3, H, W) with alpha (B, h, w), in place."""
    area = albedo[:, :, rows, columns]
    colour = colour[:, :, None, None] if colour.ndim == 2 else colour
    area += alpha[:, None] * (colour - area)


def smooth(x, low, high):
    """0 below low, 1 above high, smooth between."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


class Bumps:
    """A sum of Gaussian bumps with axes along u and v: products of one row and one column each, summed by bmm."""

    def __init__(self, like: Tensor):
        self.like, self.items = like, []

    def add(self, amount, u, v, su, sv):
        """One bump of the given amount (B,) or number."""
        zero = torch.zeros_like(self.like)
        self.items.append(torch.stack([zero + value for value in (amount, u, v, su, sv)], -1))

    def pair(self, amount, u, v, su, sv):
        """A bump on each side; amount may be (B, 2), left and right; u and v may be (B, 2)."""
        for side, sign in ((0, -1), (1, 1)):
            a, x, y = (q[:, side] if isinstance(q, Tensor) and q.ndim == 2 else q for q in (amount, u, v))
            self.add(a, sign * x, y, su, sv)

    def factors(self, u, v):
        amount, cu, cv, su, sv = torch.stack(self.items, 1).unbind(-1)  # (B, K) each
        x = (u[None, None] - cu[..., None]) / su[..., None]
        y = (v[None, None] - cv[..., None]) / sv[..., None]
        ex, ey = torch.exp(-0.5 * x * x), torch.exp(-0.5 * y * y) * amount[..., None]
        return ex, ey, -x * ex / su[..., None], -y * ey / sv[..., None]

    def value(self, u, v):
        """(B, H, W)."""
        ex, ey, _, _ = self.factors(u, v)
        return torch.bmm(ey.mT, ex)

    def gradient(self, u, v):
        """Slopes along u and v, (B, H, W) each."""
        ex, ey, dx, dy = self.factors(u, v)
        return torch.bmm(ey.mT, dx), torch.bmm(dy.mT, ex)


def _draw_block(p: dict[str, Tensor], size: int, device):
    """(B, …) plan → images (B, 3, size, size) and occluder masks (B, size, size)."""
    canvas = _canvas(size, device)
    layer = _paint_head(p, canvas, size)
    return _photograph(p, layer, canvas, size)


def _superellipse(u, v, width, middle, up, down, m, k):
    """Implicit outline |u/width|^m + |v/h|^k − 1 as columns X (B, W) and rows Y (B, H), and their derivatives."""
    x = (u.abs()[None] / width[:, None]).clamp_min(1e-4)
    t = v[None] - middle[:, None]
    h = torch.where(t < 0, up[:, None], down[:, None])
    y = (t.abs() / h).clamp_min(1e-4)
    m, k = m[:, None], torch.where(t < 0, 2.3, k[:, None])
    xm, yk = x**m, y**k
    return xm, yk, m * xm / x / width[:, None] * u.sign()[None], k * yk / y / h * t.sign()


def _outline(shape):
    """Signed distance (B, H, W) to a superellipse, negative inside, to first order."""
    x, y, dx, dy = shape
    slope = (dx.square()[:, None, :] + dy.square()[:, :, None]).clamp_min(1e-3).rsqrt()
    return (x[:, None, :] + y[:, :, None] - 1) * slope


# Per hair style: widening of the head, rise above the crown, how far down it reaches, half-width of the face
# window, cover (0 bald), unruliness of the outline.
_STYLES = {
    "bald": (0.0, 0.0, -0.5, 1.62, 0.0, 0.0), "short": (0.05, 0.16, 0.18, 1.60, 1.0, 0.010),
    "medium": (0.20, 0.26, 1.00, 1.60, 1.0, 0.022), "long": (0.22, 0.22, 3.9, 1.54, 1.0, 0.012),
    "afro": (0.46, 0.44, 0.75, 1.58, 1.0, 0.035), "tied": (0.02, 0.08, 0.05, 1.64, 1.0, 0.004),
}
_STYLE_TABLE = torch.tensor([_STYLES[name] for name in anatomy.HAIR])


def _paint_head(p, canvas, size):
    """The head on its canvas: linear colour and cover, (B, 5, H, W): red, green, blue, cover, occluder."""
    u, v, px = canvas.u, canvas.v, canvas.pixel
    one = torch.ones_like(p["age"])
    face, rest = p["face"], p["rest"]
    batch = len(face)
    height, width = canvas.height, canvas.width
    style = _STYLE_TABLE.to(u.device)[p["hair"].long()]
    chin = p["chin"] + p["drop"]

    # Outlines: face, hair outside, hairline inside.
    middle = 0.25 * one
    head = _superellipse(u, v, p["width"], middle, middle - p["crown"], chin - middle, 2.25 * one, p["jaw"])
    skin_edge = _outline(head)
    skin_cover = (0.5 - skin_edge / px).clamp(0, 1)

    # Relief.
    bumps = Bumps(one)
    _relief(bumps, p, face, rest, chin)
    gu, gv = bumps.gradient(u, v)
    head_u = -1.15 * 0.55 * u / (0.36 + 0.55 * u * u).sqrt()
    head_v = -1.2 * 0.14 * (v - 0.4) / (1 + 0.14 * (v - 0.4) ** 2).sqrt()
    gu += head_u[None, None, :]
    gv += head_v[None, :, None]
    # The outline turns away from the viewer.
    turn = (skin_edge + 0.34).clamp_min(0) * 2.6
    turn = turn * turn.clamp(max=1.5)
    gu -= turn * (head[2] / (head[2].abs() + 0.6))[:, None, :]
    gv -= turn * (head[3] / (head[3].abs() + 0.6))[:, :, None] * 0.8

    # Albedo: blood and shade are smooth maps over the base colour.
    blood, shade = Bumps(one), Bumps(one)
    _tint(blood, shade, p, face)
    red = blood.value(u, v)
    dark = shade.value(u, v)
    grain = canvas.tile(canvas.soft, canvas.grain_row, canvas.grain_column, p["marks"][:, 0] * 500)
    tone = 1 - 0.75 * dark + 0.016 * grain
    albedo = p["c_skin"][:, :, None, None] * tone[:, None]
    albedo[:, 1] *= 1 - 0.20 * red
    albedo[:, 2] *= 1 - 0.22 * red
    gloss = 0.055 * torch.ones_like(gu)

    # Ears lie behind the face.
    cover = _ears(p, canvas, albedo, gu, skin_edge, skin_cover, (style[:, 2] < 0.5).float())

    hollow = torch.zeros(batch, height, width, device=u.device)  # depth of creases
    swell = torch.zeros(batch, height, width, device=u.device)  # height of lips
    _creases(p, canvas, hollow, face, rest, chin)
    _nose(p, canvas, albedo, hollow, face)
    _mouth(p, canvas, albedo, swell, hollow, gloss, face, rest)

    # Creases and lips tilt the skin.
    relief = 0.050 * swell - 0.042 * hollow
    gu[:, :, 1:-1] += (relief[:, :, 2:] - relief[:, :, :-2]) * (0.5 / px)
    gv[:, 1:-1, :] += (relief[:, 2:, :] - relief[:, :-2, :]) * (0.5 / px)
    albedo *= (1 - 0.42 * hollow.clamp(-0.5, 1.4))[:, None]

    _beard(p, canvas, albedo, gloss, face, rest, chin)
    _eyes(p, canvas, albedo, gu, gv, gloss, face, rest)
    _brows(p, canvas, albedo, gloss, face)
    cover = _hair(p, canvas, albedo, gu, gv, gloss, cover, style)
    occluded = torch.zeros_like(cover)
    colour = _shade(p, albedo, gu, gv, gloss)
    _glasses(p, canvas, colour, occluded, face, rest)
    cover = _occlude(p, canvas, colour, cover, occluded)
    return torch.cat([colour * cover[:, None], cover[:, None], occluded[:, None]], 1)


def _relief(b, p, face, rest, chin):
    """Bumps of the resting face and of the moving one; amounts in rulers."""
    f = {k[2:]: v for k, v in p.items() if k.startswith("f_")}
    nose = p["nose"]
    wide = 1 + 0.10 * p["nose_width"]
    tip = face[:, 13, 1]
    b.add(0.24, 0, 0.20 * nose, 0.17, 0.38)
    b.add(0.19, 0, 0.62 * nose, 0.155 * wide, 0.26)
    b.add(0.19, 0, tip, 0.175 * wide, 0.14)
    b.pair(0.13 + 0.04 * f["flare"], 0.255 * wide, face[:, 16, 1] - 0.14, 0.085 * wide, 0.10)
    b.add(-0.12, 0, face[:, 16, 1] + 0.10, 0.40, 0.09)
    heavy = 0.05 + 0.02 * (p["jaw"] - 1.88) + 0.01 * p["brow_thickness"]
    b.pair(heavy, 0.72, rest[:, 2, 1] + 0.10, 0.42, 0.13)
    b.pair(-0.13, 0.62, 0.0 * nose - 0.12, 0.22, 0.16)
    b.pair(-0.05, 0.95, 0.22, 0.38, 0.10)
    b.pair(0.09, 0.86, -0.02, 0.26, 0.14)
    b.pair(0.10 - 0.02 * p["build"], 1.12, 0.62, 0.36, 0.26)
    b.pair(0.04 + 0.03 * p["build"], 0.95, 1.25, 0.38, 0.38)
    b.pair(-0.05, 1.50, -0.55, 0.22, 0.40)
    b.pair(0.04, 0.55, -1.20, 0.38, 0.30)
    b.add(0.12, 0, 1.62, 0.55, 0.34)
    b.pair(0.015, 0.075, 1.34, 0.035, 0.10)
    b.add(0.13, 0, chin - 0.28, 0.34, 0.20)
    b.add(-0.07, 0, face[:, 40, 1] + 0.16, 0.36, 0.08)
    # Bulges that move.
    b.pair(0.055 * f["brow_bulge"], 0.30, rest[:, 4, 1] + 0.22, 0.14, 0.13)
    b.pair(-0.03 * f["brow_bulge"], 0.10, rest[:, 4, 1] + 0.10, 0.10, 0.12)
    b.pair(0.15 * f["cheek"], 1.02, 0.66 - 0.07 * f["cheek"], 0.30, 0.20)
    b.pair(0.06 * f["pull"], 1.22, 1.30, 0.24, 0.26)
    b.pair(0.05 * f["pouch"], 0.86, 0.185, 0.27, 0.045)
    corner = torch.stack([-face[:, 31, 0], face[:, 37, 0]], 1)
    level = torch.stack([face[:, 31, 1], face[:, 37, 1]], 1)
    b.pair(-0.10 * f["dimple"], corner + 0.10, level, 0.05, 0.08)
    b.pair(0.05 * f["dimple"], corner + 0.24, level, 0.07, 0.12)
    b.pair(0.05 * f["dimple"], corner - 0.02, level + 0.11, 0.09, 0.05)
    b.pair(0.06 * f["down"], corner + 0.02, level + 0.17, 0.11, 0.07)
    b.pair(0.05 * f["square"], 0.52, face[:, 33, 1][:, None].expand(-1, 2) - 0.12, 0.16, 0.08)
    b.add(0.065 * f["press"].mean(1), 0, face[:, 34, 1] - 0.08, 0.36, 0.055)
    b.add(0.075 * f["press"].mean(1), 0, face[:, 40, 1] + 0.075, 0.34, 0.055)
    b.add(0.10 * f["chin"].mean(1), 0, chin - 0.34, 0.26, 0.16)
    b.add(0.06 * f["nose_root"].mean(1), 0, 0.02, 0.10, 0.10)


def _tint(blood, shade, p, face):
    blood.pair(0.42, 1.05, 0.72, 0.34, 0.26)
    blood.add(0.40, 0, face[:, 13, 1], 0.20, 0.17)
    blood.add(0.15, 0, p["chin"] - 0.2, 0.3, 0.2)
    blood.pair(0.35, 0.85, 0.10, 0.28, 0.10)
    shade.pair(0.16 + 0.10 * p["age"], 0.78, 0.20, 0.24, 0.085)  # under the eyes
    shade.pair(0.16, 0.66, -0.20, 0.26, 0.12)
    shade.add(0.16, 0, face[:, 16, 1] + 0.07, 0.26, 0.05)
    shade.add(0.15, 0, face[:, 40, 1] + 0.10, 0.30, 0.055)
    shade.pair(0.10, 0.36, 0.55, 0.09, 0.40)


def _ears(p, canvas, albedo, gu, skin_edge, skin_cover, bare):
    for side in (-1, 1):
        rows, columns, u, v = canvas.box(*sorted((side * 1.35, side * 2.45)), -0.55, 1.05)
        x = u * side
        w = column(p["width"])
        lean = 0.10 * (0.3 - v)
        du, dv = (x - w - 0.04 - lean) / 0.17, (v - 0.26) / 0.42
        r = (du * du + dv * dv).sqrt()
        alpha = ((1 - r) * 0.17 / canvas.pixel + 0.5).clamp(0, 1) * column(bare)
        inner = torch.exp(-((r - 0.45) / 0.3) ** 2)
        tone = 1 - 0.35 * inner * (1 - skin_cover[:, rows, columns])
        albedo[:, :, rows, columns] *= tone[:, None]
        behind = skin_edge[:, rows, columns] > 0
        area = gu[:, rows, columns]
        area.copy_(torch.where(behind, side * (0.55 * du.clamp(-1, 1) - 0.25), area))
        area = skin_cover[:, rows, columns]
        area.copy_(torch.maximum(area, alpha))
    return skin_cover


def _line(hollow, rows, columns, v, f, amount, width, canvas, slope=True):
    """Add a crease along v = f(u): f (B, w), amount (B, w) or (B, 1), width in rulers."""
    width = max(width, 0.75 * canvas.pixel)
    d = v - f[:, None, :]
    scale = tilt(f, canvas.pixel)[:, None, :] / width if slope else 1 / width
    hollow[:, rows, columns] += amount[:, None, :] * torch.exp(-(d * scale) ** 2)


def _upright(hollow, rows, columns, x, f, amount, width, canvas):
    """Add a crease along x = f(v): f (B, h), amount (B, h), width in rulers."""
    width = max(width, 0.75 * canvas.pixel)
    d = x - f[:, :, None]
    scale = tilt(f, canvas.pixel)[:, :, None] / width
    hollow[:, rows, columns] += amount[:, :, None] * torch.exp(-(d * scale) ** 2)


def _creases(p, canvas, hollow, face, rest, chin):
    """Furrows, each a curve whose depth follows its AUs and fades at both ends."""
    f = {k[2:]: v for k, v in p.items() if k.startswith("f_")}
    marks = p["marks"]

    # Forehead: three lines that echo the brows; the middle belongs to AU1, the sides to AU2.
    rows, columns, u, v = canvas.box(-1.5, 1.5, -1.75, -0.62)
    uu = u[0, 0]
    brow_rise = (face - rest)[:, :10, 1]
    top = rest[:, [2, 7], 1].mean(1)
    wave = curve(rest[:, [1, 2, 3, 6, 7, 8], 0], brow_rise[:, [1, 2, 3, 6, 7, 8]], uu)
    middle = torch.exp(-((uu[None] / 0.50) ** 2) ** 1.5)
    left, right = (torch.exp(-(((s * uu[None] - 0.92) / 0.46) ** 2) ** 1.5) for s in (-1, 1))
    depth = column(f["forehead_middle"].mean(1))[:, 0] * middle
    depth = depth + f["forehead_side"][:, :1] * left + f["forehead_side"][:, 1:] * right
    depth = depth / (1 + 0.25 * depth)
    for i, (gap, share) in enumerate(((0.34, 0.75), (0.58, 1.0), (0.82, 0.7))):
        a, b, c = marks[:, 4 + 3 * i : 5 + 3 * i], marks[:, 5 + 3 * i : 6 + 3 * i], marks[:, 6 + 3 * i : 7 + 3 * i]
        sym = (2 * a - 1) * p["asymmetry"][:, None].clamp(max=1)
        line = top[:, None] - gap - 0.06 * (b - 0.5) + (0.55 - 0.12 * i) * wave
        line = line + 0.035 * torch.cos(uu[None] * (3.2 + c)) + 0.02 * sym * torch.sin(2.1 * uu[None] + 6 * b)
        broken = 0.8 + 0.3 * torch.cos(uu[None] * (5 + 3 * a) + 6.28 * i / 3)
        _line(hollow, rows, columns, v, line, share * depth * broken, 0.045, canvas)

    # Glabella: two upright furrows, slightly leaning.
    for s, side in enumerate((-1, 1)):
        rows, columns, u, v = canvas.box(*sorted((0.0, side * 0.45)), -0.95, 0.05)
        vv = v[0, :, 0]
        mid = rest[:, 4, 1:] + 0.10
        t = (vv[None] - mid) / 0.24
        amount = f["glabella"][:, s : s + 1] * torch.exp(-(t * t) ** 1.5)
        x = 0.155 - 0.05 * f["brow_bulge"][:, s : s + 1] - 0.04 * t + 0.02 * (marks[:, 20:21] - 0.5)
        _upright(hollow, rows, columns, u * side, x, amount * (0.85 + 0.3 * marks[:, 21 + s : 22 + s]), 0.045, canvas)

    # Nose root: short lines across, and oblique ones on the sides of the nose.
    rows, columns, u, v = canvas.box(-0.42, 0.42, -0.32, 0.50)
    uu = u[0, 0]
    for level, share in ((-0.10, 1.0), (0.06, 0.9), (0.20, 0.5)):
        bend = level + 0.5 * uu[None] ** 2 + 0 * face[:, :1, 0]
        side = torch.where(uu[None] < 0, f["nose_root"][:, :1], f["nose_root"][:, 1:])
        _line(hollow, rows, columns, v, bend, share * side * torch.exp(-((uu[None] / 0.22) ** 2) ** 2), 0.040, canvas)
    for s, side in enumerate((-1, 1)):
        rows, columns, u, v = canvas.box(*sorted((side * 0.05, side * 0.60)), -0.10, 0.75)
        x = u[0, 0] * side
        for level in (0.16, 0.34):
            line = level + 0.55 * (x[None] - 0.28) + 0 * face[:, :1, 0]
            amount = 0.7 * f["nose_root"][:, s : s + 1] * torch.exp(-(((x[None] - 0.27) / 0.12) ** 2) ** 1.5)
            _line(hollow, rows, columns, v, line, amount, 0.040, canvas)

    for s, side in enumerate((-1, 1)):
        outer = face[:, 19 if side < 0 else 28]
        ox, oy = outer[:, :1] * side, outer[:, 1:]
        lower = face[:, [22, 23, 24, 19]] if side < 0 else face[:, [25, 30, 29, 28]]

        # Crow's feet fan out from the outer corner of the eye.
        rows, columns, u, v = canvas.box(*sorted((side * 1.15, side * 1.75)), -0.50, 0.60)
        x = u[0, 0] * side
        for k, (rise, share) in enumerate(((-0.55, 0.75), (-0.02, 1.0), (0.55, 0.9))):
            t = x[None] - ox - 0.09
            line = oy + 0.02 + 0.09 * (k - 1) + rise * t + 0.35 * (k - 1) * t * t
            amount = share * f["crows_feet"][:, s : s + 1] * smooth(t, -0.02, 0.08) * smooth(-t, -0.36, -0.16)
            _line(hollow, rows, columns, v, line, amount, 0.036, canvas)

        # Under the eye.
        rows, columns, u, v = canvas.box(*sorted((side * 0.35, side * 1.40)), 0.0, 0.60)
        x = u[0, 0] * side
        t = (x[None] - 0.84) / 0.40
        line = lower[:, 1:3, 1].mean(1)[:, None] + 0.155 - 0.10 * t * t - 0.03 * t
        amount = 0.7 * f["under_eye"][:, s : s + 1] * torch.exp(-(t * t) ** 2)
        _line(hollow, rows, columns, v, line, amount, 0.045, canvas)
        line = line + 0.16 + 0.10 * t
        amount = 0.55 * f["crows_feet"][:, s : s + 1] * torch.exp(-(((x[None] - 0.62) / 0.26) ** 2) ** 2)
        _line(hollow, rows, columns, v, line, amount, 0.05, canvas)

        # Nasolabial fold, from the wing of the nose past the corner of the mouth.
        rows, columns, u, v = canvas.box(*sorted((side * 0.25, side * 1.45)), 0.75, 2.05)
        vv = v[0, :, 0]
        wing = face[:, 14 if side < 0 else 18]
        corner = face[:, 31 if side < 0 else 37]
        t = (vv[None] - wing[:, 1:] + 0.12) / (corner[:, 1:] - wing[:, 1:] + 0.12)
        start, end = wing[:, :1] * side + 0.06, corner[:, :1] * side + 0.20
        bow = 0.12 * f["pull"][:, s : s + 1] + 0.12 * f["square"][:, s : s + 1]
        fold = start + (end - start) * t + bow * 4 * t * (1 - t)
        upper = smooth(t, -0.10, 0.12) * smooth(-t, -0.75, -0.35)
        lower_part = smooth(t, 0.05, 0.45) * smooth(-t, -1.25, -0.85)
        deep = torch.maximum(f["nasolabial_top"][:, s : s + 1] * upper, f["nasolabial_low"][:, s : s + 1] * lower_part)
        _upright(hollow, rows, columns, u * side, fold, 1.0 * deep, 0.065, canvas)

        # Beside and below the corner of the mouth.
        rows, columns, u, v = canvas.box(*sorted((side * 0.35, side * 1.30)), 1.25, 2.60)
        vv = v[0, :, 0]
        t = (vv[None] - corner[:, 1:]) / 0.16
        amount = 1.1 * f["dimple"][:, s : s + 1] * torch.exp(-(t * t) ** 1.5)
        _upright(hollow, rows, columns, u * side, corner[:, :1] * side + 0.09 - 0.03 * t * t, amount, 0.05, canvas)
        t = (vv[None] - corner[:, 1:]) / 0.45
        amount = 0.9 * f["marionette"][:, s : s + 1] * smooth(t, 0.02, 0.3) * smooth(-t, -1.15, -0.6)
        _upright(hollow, rows, columns, u * side, corner[:, :1] * side + 0.07 + 0.05 * t, amount, 0.05, canvas)
        amount = 0.7 * f["side_mouth"][:, s : s + 1] * torch.exp(-(((vv[None] - corner[:, 1:]) / 0.2) ** 2) ** 1.5)
        line = corner[:, :1] * side + 0.14 - 0.8 * (vv[None] - corner[:, 1:] - 0.02).square()
        _upright(hollow, rows, columns, u * side, line, amount, 0.05, canvas)

    # Chin: the crescent above the boss and its dimpled skin.
    rows, columns, u, v = canvas.box(-0.75, 0.75, 1.80, 2.95)
    uu = u[0, 0]
    line = face[:, 40, 1:] + 0.17 + 0.28 * uu[None] ** 2
    amount = (0.10 + f["mentolabial"].mean(1)[:, None]) * torch.exp(-((uu[None] / 0.36) ** 2) ** 2)
    _line(hollow, rows, columns, v, line, amount, 0.06, canvas)
    pebbles = canvas.tile(canvas.soft, (v[0] * 55).long().expand(-1, u.shape[2]),
                          (u[0].abs() * 55).long().expand(v.shape[1], -1), marks[:, 3] * 500)
    window = torch.exp(-((u / 0.36) ** 2) - ((v - column(chin) + 0.30) / 0.22) ** 2)
    hollow[:, rows, columns] += 0.26 * column(f["chin"].mean(1)) * window * pebbles

    # Small upright wrinkles around tightened lips.
    rows, columns, u, v = canvas.box(-0.75, 0.75, 1.15, 2.35)
    ridges = torch.cos(u * 2 * math.pi / 0.125 + 0.4).clamp_min(0) * torch.exp(-((u / 0.42) ** 2))
    above = torch.exp(-((v - column(face[:, 33, 1]) + 0.08) / 0.09) ** 2)
    below = torch.exp(-((v - column(face[:, 40, 1]) - 0.07) / 0.07) ** 2)
    hollow[:, rows, columns] += 0.55 * column(f["lip_wrinkles"].mean(1)) * ridges * (above + 0.8 * below)


def _nose(p, canvas, albedo, hollow, face):
    f_flare = p["f_flare"]
    for s, side in enumerate((-1, 1)):
        rows, columns, u, v = canvas.box(*sorted((side * 0.0, side * 0.75)), 0.70, 1.45)
        x = u * side
        under = face[:, 15 if side < 0 else 17]
        wing = face[:, 14 if side < 0 else 18]
        flare = column(f_flare[:, s])
        cx, cy = column(under[:, 0] * side), column(under[:, 1])
        du = (x - cx) / (0.088 + 0.014 * flare)
        dv = (v - cy + 0.035 + 0.22 * (x - cx)) / (0.036 + 0.008 * flare)
        r = (du * du + dv * dv).sqrt()
        hole = 0.85 * smooth(-r, -1.35, -0.55)
        paint(albedo, rows, columns, p["c_skin"] * 0.12 + 0.006, hole)
        wx, wy = column(wing[:, 0] * side), column(wing[:, 1])
        du, dv = (x - wx + 0.13) / 0.155, (v - wy + 0.08) / 0.17
        r = (du * du + dv * dv).sqrt()
        ring = torch.exp(-((r - 1) / 0.20) ** 2) * smooth(x - wx, -0.10, 0.0) * smooth(v - wy, -0.26, -0.10)
        hollow[:, rows, columns] += (0.40 + 0.35 * flare) * ring


def _mouth(p, canvas, albedo, swell, hollow, gloss, face, rest):
    rows, columns, u, v = canvas.box(-1.2, 1.2, 1.05, 2.65)
    uu = u[0, 0]

    def through(points):
        return curve(face[:, points, 0], face[:, points, 1], uu)

    top = through([31, 32, 33, 34, 35, 36, 37])
    low = through([31, 42, 41, 40, 39, 38, 37])
    inner_top = through([31, 43, 44, 45, 37])
    inner_low = through([31, 48, 47, 46, 37])
    inner_top, inner_low = torch.minimum(inner_top, inner_low), torch.maximum(inner_top, inner_low)
    px = canvas.pixel
    ends = ((uu[None] - face[:, 31, :1]) / px + 0.5).clamp(0, 1) * ((face[:, 37, :1] - uu[None]) / px + 0.5).clamp(0, 1)
    ends = ends[:, None]

    def above(f, soft=1.0):
        """Cover of the part below the curve f (v larger)."""
        return ((v - f[:, None]) * tilt(f, px)[:, None] / (soft * px) + 0.5).clamp(0, 1)

    soft = max(1.0, 0.05 / px)
    upper = above(top, soft) * (1 - above(inner_top)) * ends
    lower = above(inner_low) * (1 - above(low, soft)) * ends
    inside = above(inner_top) * (1 - above(inner_low)) * ends

    thick_up = (inner_top - top).clamp_min(0.02)[:, None]
    thick_low = (low - inner_low).clamp_min(0.02)[:, None]
    t_up = ((v - top[:, None]) / thick_up).clamp(0, 1)
    t_low = ((v - inner_low[:, None]) / thick_low).clamp(0, 1)
    roll = column(p["f_roll"].mean(1))
    swell[:, rows, columns] += 2.6 * thick_up * (t_up * (1 - t_up * t_up)) * upper * (1 - 0.4 * roll) * 2
    swell[:, rows, columns] += 2.6 * thick_low * (t_low * (1 - t_low)) * lower * (1 - 0.4 * roll) * 3

    cos = torch.cos(u * 40).square()
    shade_up = (0.86 - 0.16 * t_up)[:, None] * p["c_lip"][:, :, None, None]
    paint(albedo, rows, columns, shade_up, upper * 0.88)
    shade_low = (1.06 - 0.14 * t_low - 0.05 * cos)[:, None] * p["c_lip"][:, :, None, None]
    paint(albedo, rows, columns, shade_low, lower * 0.80)
    area = gloss[:, rows, columns]
    area += 0.10 * lower * torch.exp(-((t_low - 0.4) / 0.2) ** 2)

    # Inside: dark, upper teeth hang from the skull, the tongue lies on the jaw.
    paint(albedo, rows, columns, torch.zeros_like(p["c_lip"]) + torch.tensor([0.030, 0.008, 0.008], device=u.device), inside)
    half = (face[:, 37, 0] - face[:, 31, 0]) * 0.42
    arch = (uu[None] / half[:, None]) ** 2
    tooth = rest[:, 44, 1:] + 0.055 - 0.10 * arch + 0.3 * (face[:, 44, 1:] - rest[:, 44, 1:]).clamp(-0.2, 0)
    teeth = (1 - above(tooth)) * inside * (1 - smooth(arch, 0.65, 1.1))[:, None]
    gaps = (1 - 0.22 * torch.exp(-((torch.remainder(uu + 0.075, 0.15) - 0.075) / 0.014) ** 2))[None, None]
    light = (1 - 0.55 * arch.clamp(0, 1))[:, None] * gaps * (0.72 + 0.28 * ((v - inner_top[:, None]) / 0.06).clamp(0, 1))
    white = torch.tensor([0.72, 0.68, 0.58], device=u.device)[None, :, None, None] * light[:, None]
    paint(albedo, rows, columns, white, teeth)
    tongue = torch.exp(-((uu[None] / (0.62 * half[:, None])) ** 2) ** 2)[:, None] * smooth(
        v - inner_low[:, None] + 0.15, 0.0, 0.12) * inside * smooth(inner_low - inner_top, 0.16, 0.30)[:, None]
    paint(albedo, rows, columns, torch.tensor([[0.26, 0.075, 0.075]], device=u.device).expand(len(face), 3), tongue * (1 - teeth))

    # Where closed lips meet, and a little shade at the corners.
    seam = 0.5 * (inner_top + inner_low)
    closed = torch.exp(-(((inner_low - inner_top) / 0.05) ** 2))[:, None]
    width = max(0.022, 0.65 * px)
    d = (v - seam[:, None]) * tilt(seam, px)[:, None] / width
    paint(albedo, rows, columns, p["c_lip"] * 0.10, 0.80 * torch.exp(-d * d) * closed * ends)
    corner_width = 0.05
    for i, side in ((31, -1), (37, 1)):
        cx, cy = column(face[:, i, 0]), column(face[:, i, 1])
        spot = torch.exp(-((u - cx) / corner_width) ** 2 - ((v - cy) / 0.04) ** 2)
        hollow[:, rows, columns] += (0.35 + 0.5 * column(p["f_dimple"][:, (side + 1) // 2])) * spot


def _eyes(p, canvas, albedo, gu, gv, gloss, face, rest):
    px = canvas.pixel
    for s, side in enumerate((-1, 1)):
        rows, columns, u, v = canvas.box(*sorted((side * 0.36, side * 1.52)), -0.62, 0.42)
        x = u * side
        xx = x[0, 0]
        order = xx.flip(0) if side < 0 else xx
        upper_points = [22, 21, 20, 19] if side < 0 else [25, 26, 27, 28]
        lower_points = [22, 23, 24, 19] if side < 0 else [25, 30, 29, 28]

        def through(points, which, side=side, order=order):
            value = curve(which[:, points, 0] * side, which[:, points, 1], order)
            return value.flip(1) if side < 0 else value

        up, low, rest_up = through(upper_points, face), through(lower_points, face), through(upper_points, rest)
        inner, outer = face[:, upper_points[0], 0] * side, face[:, upper_points[3], 0] * side
        slope_up, slope_low = tilt(up, px)[:, None], tilt(low, px)[:, None]
        d_up, d_low = (v - up[:, None]) * slope_up, (low[:, None] - v) * slope_low
        within = smooth(x, column(inner) - 0.5 * px, column(inner) + 0.5 * px) * smooth(
            -x, -column(outer) - 0.5 * px, -column(outer) + 0.5 * px)
        ball = (d_up / px + 0.5).clamp(0, 1) * (d_low / px + 0.5).clamp(0, 1) * within

        # Upper lid: the crease above it, the shade under the brow ridge.
        span = ((xx[None] - inner[:, None]) / (outer - inner)[:, None]).clamp(-0.2, 1.25)
        lid = 0.10 + 0.02 * p["eye_size"][:, None] - 0.045 * p["age"][:, None]
        raised = face[:, [3, 2] if side < 0 else [6, 7], 1].mean(1) - rest[:, [3, 2] if side < 0 else [6, 7], 1].mean(1)
        crease = torch.minimum(rest_up - lid * (0.55 + 0.45 * torch.sin(span.clamp(0, 1) * math.pi))
                               + 0.22 * raised[:, None], up - 0.045)
        fade = smooth(span, -0.05, 0.2) * smooth(-span, -1.15, -0.85)
        width = max(0.028, 0.7 * px)
        fold = 0.5 * torch.exp(-((v - crease[:, None]) / width) ** 2) * fade[:, None]
        paint(albedo, rows, columns, p["c_skin"] * 0.42, fold)

        # Eyeball: white, iris, pupil, a glint of the light; shade from the upper lid.
        cx = 0.5 * (rest[:, upper_points[0], 0] + rest[:, upper_points[3], 0]) * side + p["gaze_x"] * side * 0.0052
        cy = rest[:, [20, 21, 23, 24] if side < 0 else [26, 27, 29, 30], 1].mean(1) - 0.010 + p["gaze_y"] * 0.0052
        radius = 0.158 + 0.003 * p["eye_size"]
        r = (((x - column(cx)) ** 2 + (v - column(cy)) ** 2).sqrt()) / column(radius)
        ring = px / column(radius)
        white = torch.tensor([0.60, 0.56, 0.53], device=u.device)[None, :, None, None]
        edge = (span * (1 - span)).clamp(0, 0.25)[:, None]
        shade = (1 - 0.55 * torch.exp(-(d_up / 0.055).clamp_min(0))) * (0.62 + 1.5 * edge.clamp(max=0.25))
        albedo_eye = white * shade[:, None]
        albedo_eye = albedo_eye.expand(len(face), -1, -1, -1).clone()
        albedo_eye[:, 1:] *= (1 - 0.25 * torch.exp(-((span - 0.02) / 0.10) ** 2))[:, None, None, :]
        iris = ((1 - r) / ring + 0.5).clamp(0, 1)
        pattern = (0.75 + 0.5 * ((v - column(cy)) / column(radius)) - 0.55 * smooth(r, 0.72, 1.0)) * shade
        colour = p["c_iris"][:, :, None, None] * 1.25 * pattern[:, None].clamp_min(0.12)
        albedo_eye += iris[:, None] * (colour - albedo_eye)
        pupil = ((0.43 - r) / ring + 0.5).clamp(0, 1)
        albedo_eye *= (1 - 0.95 * pupil)[:, None]
        gx, gy = column(cx + side * 0.055 * p["light"][:, 0].clamp(-1, 1)), column(cy + 0.07 * p["light"][:, 1] - 0.02)
        spot = torch.exp(-((x - gx) ** 2 + (v - gy) ** 2) / max(0.028, 0.75 * px) ** 2) * 0.9
        paint(albedo, rows, columns, albedo_eye, ball)
        lit = (spot * ball)[:, None]
        albedo[:, :, rows, columns] += lit * (1.1 - albedo[:, :, rows, columns])
        for slope in (gu, gv):
            slope[:, rows, columns] *= 1 - 0.85 * ball
        gloss[:, rows, columns] *= 1 - ball

        # Lash lines and the wet edge of the lower lid.
        thick = max(0.030, 0.8 * px)
        wing = (0.55 + 0.45 * span)[:, None].clamp(0.3, 1)
        lash = torch.exp(-(((d_up + 0.012) / (thick * wing)) ** 2)) * smooth(span, -0.03, 0.08)[:, None] * smooth(
            -span, -1.08, -0.98)[:, None]
        paint(albedo, rows, columns, p["c_brow"] * 0.25, 0.88 * lash)
        lash = torch.exp(-(((d_low + 0.012) / max(0.020, 0.7 * px)) ** 2)) * smooth(span, 0.1, 0.5)[:, None] * smooth(
            -span, -1.05, -0.95)[:, None]
        paint(albedo, rows, columns, p["c_skin"] * 0.30, 0.50 * lash)


def _brows(p, canvas, albedo, gloss, face):
    px = canvas.pixel
    for side in (-1, 1):
        rows, columns, u, v = canvas.box(*sorted((side * 0.05, side * 1.80)), -1.30, 0.02)
        x = u * side
        xx = x[0, 0]
        points = [4, 3, 2, 1, 0] if side < 0 else [5, 6, 7, 8, 9]
        knots = face[:, points, 0] * side
        order = xx.flip(0) if side < 0 else xx
        line = curve(knots, face[:, points, 1], order)
        line = line.flip(1) if side < 0 else line
        span = (xx[None] - knots[:, :1]) / (knots[:, 4:] - knots[:, :1])
        half = p["brow"][:, None] * (1.05 - 0.15 * span - 0.55 * smooth(span, 0.55, 1.05)).clamp_min(0.2)
        d = (v - line[:, None]) * tilt(line, px)[:, None]
        soft = max(0.035, 0.7 * px)
        body = smooth(half[:, None] - d.abs(), -soft, soft) * (
            smooth(span, -0.05, 0.10) * smooth(-span, -1.05, -0.93))[:, None]
        lean = (xx[None, None] * 42 + 24 * d).long()
        level = (d * 9 + xx[None, None] * 3).long() + 200
        s = (p["marks"][:, 19] * 500).long()[:, None, None]
        hairs = canvas.white[(level + s) % 512, (lean + 2 * s) % 512]
        alpha = (body * (0.80 + 0.11 * hairs)).clamp(0, 0.95)
        paint(albedo, rows, columns, p["c_brow"] * 0.8, alpha)
        gloss[:, rows, columns] *= 1 - alpha


def _beard(p, canvas, albedo, gloss, face, rest, chin):
    kind = p["facial_hair"]
    if not bool((kind > 0).any()):
        return
    rows, columns, u, v = canvas.box(-1.95, 1.95, 0.10, 3.0)
    uu = u[0, 0]
    at = uu.abs()
    x = torch.tensor([0.0, 0.35, 0.70, 0.95, 1.25, 1.55, 1.75], device=u.device)
    y = torch.tensor([1.98, 1.98, 1.86, 1.66, 1.22, 0.55, 0.10], device=u.device)
    edge = curve(x[None].expand(len(kind), -1), y[None] + (face[:, 40, 1:] - 1.93) * (x < 0.6), at)
    whole = smooth(v - edge[:, None], -0.16, 0.20)
    corner = column(0.5 * (face[:, 37, 0] - face[:, 31, 0]))
    top = curve(face[:, [31, 32, 33, 34, 35, 36, 37], 0], face[:, [31, 32, 33, 34, 35, 36, 37], 1], uu)[:, None]
    lip = smooth(v - column(face[:, 16, 1]), 0.03, 0.12) * smooth(top - v, -0.02, 0.05) * smooth(-u.abs() + corner * (0.75 + 0.5 * (v - 1.35).clamp(0, 0.6)), -0.14, 0.08)
    band = smooth(-u.abs() + corner, -0.26, -0.08) * smooth(u.abs() - corner, -0.10, 0.04) * smooth(v, 1.40, 1.75)
    tuft = whole * smooth(-u.abs(), -0.62, -0.45)
    k = column(kind)
    area = (k == 1) * torch.maximum(whole, lip) * 0.30 + (k == 2) * lip * 0.9 + (k == 3) * (
        torch.maximum(torch.maximum(lip, tuft), band * smooth(-v, -2.1, -1.9))) * 0.88 + (k == 4) * torch.maximum(
        torch.maximum(whole, lip), band) * 0.92
    low = curve(face[:, [31, 42, 41, 40, 39, 38, 37], 0], face[:, [31, 42, 41, 40, 39, 38, 37], 1], uu)[:, None]
    lips = smooth(v - top, -0.03, 0.02) * smooth(low - v, -0.02, 0.03) * (u.abs() < corner)
    area = area * (1 - lips)
    hairs = canvas.tile(canvas.white, (v[0] * 22 + 100).long().expand(-1, u.shape[2]),
                        (at[None] * 60).long().expand(v.shape[1], -1), p["marks"][:, 18] * 500)
    alpha = (area * (0.9 + 0.12 * hairs)).clamp(0, 0.95)
    paint(albedo, rows, columns, torch.minimum(p["c_hair"] * 1.1, p["c_skin"] * 0.5), alpha)
    gloss[:, rows, columns] *= 1 - 0.7 * alpha


def _hair(p, canvas, albedo, gu, gv, gloss, cover, style):
    """Hair over the head: an outline, a hairline, strands that run from the crown; returns the cover of the head."""
    u, v = canvas.u, canvas.v
    one = torch.ones_like(p["age"])
    dw, dtop, reach, window, present, wild = style.unbind(1)
    natural = p["asymmetry"].clamp(max=1)
    index = canvas.strand_column[0 if bool((natural == 0).any()) else 1]
    shift = p["marks"][:, 15] * 500
    strands = canvas.tile(canvas.white, canvas.strand_row, index, shift)
    locks = canvas.tile(canvas.soft, canvas.strand_row // 3, index // 2, shift)
    swing = torch.sin(v[None] * (1.2 + 0.8 * p["marks"][:, 12:13]) + 6 * p["marks"][:, 13:14])
    hang = smooth(v, 0.2, 2.2)[None] * (reach[:, None] > 1.5)
    below = torch.where(reach > 1.5, 30.0, reach + 0.35)
    outer = _outline(_superellipse(u, v, p["width"] + dw, 0.0 * one, dtop - p["crown"], below, 2.2 * one, 2.3 * one))
    outer = outer - (0.06 * swing * hang + 0.12 * hang)[:, :, None] + column(wild) * (locks + 0.5 * strands)
    inner = _outline(_superellipse(u, v, window * p["width"] / 1.75, -0.15 * one, -0.15 - p["hairline"], 30 * one,
                                   2.7 * one, 2.4 * one))
    part = natural * (p["marks"][:, 14] - 0.5)
    above = smooth(-v, 0.6, 1.4)[None, :, None]
    # Off-centre hairline: a parting on one side, hair swept to the other; a peak or a straight edge.
    inner = inner + 0.16 * column(part) * above * u[None, None, :].clamp(-1.4, 1.4)
    peak = p["marks"][:, 11] - 0.5
    inner = inner + 0.14 * column(peak) * above * (torch.exp(-(u / 0.35) ** 2) - 0.35)[None, None, :]
    inner = inner + 0.018 * strands + 0.02 * locks - (0.05 * swing * hang - 0.10 * hang)[:, :, None]
    soft = 0.07
    end = smooth(reach[:, None] - v[None], -0.12, 0.16)[:, :, None]
    alpha = smooth(inner, -soft, soft) * (0.5 - outer / (canvas.pixel + column(wild))).clamp(0, 1) * end * column(present)
    # Its shade on the skin.
    albedo *= (1 - 0.22 * torch.exp(-((inner + 0.02) / 0.13) ** 2) * column(present) * end)[:, None]
    band = torch.exp(-((outer + 0.42) / 0.17) ** 2) * smooth(-v, 0.9, 2.0)[None, :, None]
    tone = (0.86 + 0.15 * strands + 0.10 * locks + 0.55 * band * (1 + 0.4 * strands)).clamp_min(0.3)
    tone = tone * (1 - 0.45 * smooth(outer, -0.12, 0.02)) * (1 - 0.40 * smooth(v, -0.6, 1.2)[None, :, None] * smooth(-outer, 0.05, 0.4))
    tone = tone[:, None] * (p["c_hair"][:, :, None, None] + 0.012 * band[:, None])
    share = alpha / (alpha + cover * (1 - alpha)).clamp_min(1e-4)
    albedo += share[:, None] * (tone - albedo)
    gloss += share * (0.02 - gloss)
    gu += share * ((-0.5 * u)[None, None, :] - gu)
    gv += share * ((-0.45 * (v + 0.9))[None, :, None].clamp(-1, 1.0) - gv)
    return cover + alpha * (1 - cover)


def _shade(p, albedo, gu, gv, gloss):
    """Wrapped Lambert, a sky that is brighter above, a soft highlight: linear colour (B, 3, H, W)."""
    light = p["light_head"]
    lx, ly, lz = (column(light[:, i]) for i in range(3))
    inv = torch.rsqrt(1 + gu * gu + gv * gv)
    lambert = ((lz - lx * gu - ly * gv) * inv + 0.25).clamp_min(0) * 0.8
    half = light + torch.tensor([0.0, 0.0, 1.0], device=light.device)
    half = half / half.norm(dim=1, keepdim=True)
    hx, hy, hz = (column(half[:, i]) for i in range(3))
    spec = ((hz - hx * gu - hy * gv) * inv).clamp_min(0)
    spec = spec.square().square()
    spec = spec.square().square()
    sky = 0.86 + 0.20 * gv * inv + 0.12 * inv
    gain = p["gain"][:, None, None, None]
    colour = albedo * (p["ambient"][:, :, None, None] * sky[:, None] + p["key"][:, :, None, None] * lambert[:, None])
    colour += (gloss * spec)[:, None] * p["key"][:, :, None, None]
    return colour * gain


def _glasses(p, canvas, colour, occluded, face, rest):
    kind = p["glasses"]
    if not bool((kind > 0).any()):
        return
    px = canvas.pixel
    thin, thick, dark = (column((kind == i).float()) for i in (1, 2, 3))
    frame_colour = p["marks"][:, 16:17] * torch.tensor([[0.10, 0.08, 0.07]], device=colour.device) + 0.008
    line = 0.030 * thin + 0.065 * thick + 0.05 * dark
    for side in (-1, 1):
        rows, columns, u, v = canvas.box(*sorted((side * 0.0, side * 2.0)), -0.80, 0.85)
        x = u * side
        qx, qy = ((x - 0.86).abs() - 0.42 + 0.16).clamp_min(0), ((v - 0.06).abs() - 0.33 + 0.16).clamp_min(0)
        d = (qx * qx + qy * qy).sqrt() - 0.16
        rim = ((line / 2 - d.abs()) / px + 0.5).clamp(0, 1)
        bridge = ((line / 2 - (v + 0.06 - 0.25 * x * x).abs()) / px + 0.5).clamp(0, 1) * (x < 0.44)
        arm = ((line / 2 - (v + 0.10).abs()) / px + 0.5).clamp(0, 1) * (x > 1.28) * (x < 1.75)
        alpha = torch.maximum(torch.maximum(rim, bridge), arm) * column((kind > 0).float())
        lens = (-d / px + 0.5).clamp(0, 1)
        area = colour[:, :, rows, columns]
        area *= 1 - (0.93 * dark * lens)[:, None]
        glare = lens * torch.exp(-((x - 0.7 + 0.6 * v) / 0.10) ** 2) * 0.10 * column((kind > 0).float())
        area += glare[:, None]
        paint(colour, rows, columns, frame_colour, alpha)


def _occlude(p, canvas, colour, cover, occluded):
    """Lay what covers the face over the shaded head, in place; returns the new cover."""
    worn = dict(zip(OCCLUDERS, p["worn"].unbind(1), strict=True))
    r, px = p["random"], canvas.pixel
    light = (p["ambient"] + 0.75 * p["key"])[:, :, None, None] * p["gain"][:, None, None, None]
    lx = column(p["light_head"][:, 0])

    def lay(name, rows, columns, tone, alpha):
        """tone (B, 3 or 1, h, w) is lit and laid with alpha (B, h, w)."""
        alpha = alpha * column(worn[name])
        area, under = colour[:, :, rows, columns], cover[:, rows, columns]
        share = alpha / (alpha + under * (1 - alpha)).clamp_min(1e-4)
        area += share[:, None] * (tone * light - area)
        under += alpha * (1 - under)
        area = occluded[:, rows, columns]
        area += alpha * (1 - area)

    def asked(name):
        return bool(worn[name].any())

    side = torch.where(r[:, 29] < 0.5, -1.0, 1.0)
    if asked("fringe"):
        rows, columns, u, v = canvas.box(-2.2, 2.2, -2.8, 0.1)
        strands = canvas.tile(canvas.white, (v[0] * 5 + 300).long().expand(-1, u.shape[2]),
                              (u[0] * 34 + 200 + 5 * v[0]).long().expand(v.shape[1], -1), p["marks"][:, 15] * 500)
        edge = -0.285 + 0.05 * (u.abs() > 1.3) + 0.018 * strands
        top = -1.95 + 0.30 * (u / 1.4) ** 2
        alpha = smooth(edge - v, -0.02, 0.02) * smooth(v - top, -0.15, 0.15) * smooth(-u.abs(), -1.78, -1.66)
        cloth = column((p["hair"] == 0).float())[:, None]  # the bald wear a band
        hair = p["c_hair"][:, :, None, None] * (0.9 + 0.16 * strands + 0.35 * torch.exp(-((v + 1.1) / 0.25) ** 2))[:, None]
        band = (0.04 + 0.4 * r[:, 20:23])[:, :, None, None] * (1 - 0.15 * u.abs()[:, None])
        lay("fringe", rows, columns, hair * (1 - cloth) + band * cloth, alpha)
    if asked("glasses_dark"):
        for s in (-1, 1):
            rows, columns, u, v = canvas.box(*sorted((s * 0.0, s * 2.0)), -0.80, 0.85)
            x = u * s
            qx, qy = ((x - 0.87).abs() - 0.46).clamp_min(0), ((v - 0.06).abs() - 0.20).clamp_min(0)
            d = (qx * qx + qy * qy).sqrt() - 0.28
            lens = (0.5 - d / px).clamp(0, 1)
            bar = (0.5 - ((v + 0.05).abs() - 0.05) / px).clamp(0, 1) * ((x < 0.4) | (x > 1.3)) * (x < 1.80)
            tone = 0.012 + 0.05 * smooth(v + 0.3 * x, 0.1, 0.8) + 0.05 * torch.exp(-((x * s - 0.5 * v - 0.8) / 0.12) ** 2)
            lay("glasses_dark", rows, columns, tone[:, None].expand(len(colour), -1, -1, -1),
                torch.maximum(lens, bar).expand(len(colour), -1, -1))
    if asked("mask"):
        rows, columns, u, v = canvas.box(-2.1, 2.1, 0.2, 3.2)
        width, base = column(p["width"]), column(p["chin"]) + 0.34
        edge = ((u.abs() / (width * 0.99)) ** 2.6 + ((v - 0.55) / (base - 0.55)).clamp_min(0) ** 2.2 - 1) * 0.7
        top = v - 0.42 - 0.20 * (u.abs() / 1.2) ** 1.5
        alpha = (0.5 - edge / px).clamp(0, 1) * (0.5 + top / px).clamp(0, 1)
        strap = (0.5 - ((v - 0.62 + 0.25 * (u.abs() - 1.2)).abs() - 0.02) / px).clamp(0, 1) * (u.abs() > 1.4) * (
            u.abs() < width + 0.06)
        hue = torch.where(r[:, 28:29] < 0.5, torch.tensor([[0.36, 0.60, 0.72]], device=u.device),
                          torch.where(r[:, 28:29] < 0.75, 0.75, 0.035))
        pleats = 1 - 0.16 * torch.exp(-((torch.remainder(v - 0.1 * u * u, 0.42) - 0.2) / 0.035) ** 2) * (u.abs() < 1.2)
        form = 1 - 0.35 * (u / width) ** 2 + 0.25 * lx * u / width - 0.18 * ((v - 1.4) / 1.3).clamp(-1, 1)
        lay("mask", rows, columns, hue[:, :, None, None] * (pleats * form)[:, None], torch.maximum(alpha, strap))
    if asked("hair"):
        rows, columns, u, v = canvas.box(-2.3, 2.3, -2.3, 2.2)
        x = u * column(side)
        mid = 0.35 + 0.55 * smooth(v, -2.0, 0.6) + 0.25 * smooth(v, -0.2, 1.8) + 0.25 * (column(r[:, 27]) - 0.5)
        wide = 0.34 * (1 - smooth(v, 0.0, 1.9)) + 0.05
        strands = canvas.tile(canvas.white, (v[0] * 5 + 300).long().expand(-1, u.shape[2]),
                              (u[0] * 40 + 300 - 8 * v[0]).long().expand(v.shape[1], -1), p["marks"][:, 15] * 500)
        d = (x - mid).abs() - wide
        alpha = smooth(-d + 0.03 * strands, -0.03, 0.05) * smooth(v, -2.1, -1.7) * smooth(-v, -2.0, -1.5)
        tone = p["c_hair"][:, :, None, None] * (0.85 + 0.18 * strands + 0.4 * torch.exp(-((x - mid) / 0.12) ** 2))[:, None]
        lay("hair", rows, columns, tone, alpha)
    if asked("hand"):
        rows, columns, u, v = canvas.box(-2.4, 2.4, 0.3, 3.2)
        x = u * column(side)
        # Four fingers and a thumb reach from below towards the mouth; capsules along one direction.
        cos, sin = 0.80, -0.60
        along = (x - 0.30) * -cos + (v - 1.75) * sin  # towards the finger tips
        across = (x - 0.30) * -sin + (v - 1.75) * -cos
        across = across + 0.6 * (column(r[:, 27]) - 0.5)
        alpha, tone = torch.zeros_like(cover[:, rows, columns]), torch.zeros_like(cover[:, rows, columns])
        for k, length in enumerate((0.32, 0.52, 0.56, 0.40)):
            d = ((along - length).clamp_min(0) ** 2 + (across - 0.27 * (k - 1.5)) ** 2).sqrt()
            inside = (0.5 - (d - 0.145) / px).clamp(0, 1)
            finger = 1.0 - 0.45 * (d / 0.145).clamp(0, 1.2) ** 2 - 0.12 * torch.exp(-((along - length + 0.28) / 0.03) ** 2)
            tone = tone + inside * (finger - tone)
            alpha = torch.maximum(alpha, inside)
        back = (0.5 - (across.abs() - 0.58) / px).clamp(0, 1) * smooth(-along, 0.25, 0.45)
        tone = tone + back * (0.94 - tone)
        alpha = torch.maximum(alpha, back)
        lay("hand", rows, columns, p["c_skin"][:, :, None, None] * tone[:, None], alpha)
    if asked("microphone"):
        rows, columns, u, v = canvas.box(-1.6, 1.6, 1.2, 3.2)
        cx, cy = column(side) * 0.15 + 0.4 * (column(r[:, 27]) - 0.5), 2.10 + 0.3 * (column(r[:, 26]) - 0.5)
        du, dv = u - cx, v - cy
        d = (du * du + dv * dv).sqrt() - 0.40
        ball = (0.5 - d / px).clamp(0, 1)
        stem = (0.5 - ((du - 0.12 * dv).abs() - 0.17 - 0.04 * dv) / px).clamp(0, 1) * (dv > 0.2)
        mesh = 0.5 + 0.5 * torch.cos(du * 60) * torch.cos(dv * 60)
        form = torch.exp(-((du + 0.12) ** 2 + (dv + 0.14) ** 2) / 0.06)
        tone = torch.where(ball > 0.5, 0.035 + 0.05 * mesh + 0.35 * form, 0.02 + 0.10 * torch.exp(-((du + 0.03) / 0.05) ** 2))
        lay("microphone", rows, columns, tone[:, None], torch.maximum(ball, stem))
    return cover


def _photograph(p, layer, canvas, size):
    """Project the head over the scene and pass it through the camera."""
    device = layer.device
    batch = len(layer)
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

    image = _backdrop(p, x, y, batch)
    _body(p, image, x, y, canvas)
    image = image * (1 - alpha) + head[:, :3]
    image = image.clamp_min(1e-5).sqrt()
    image = image * (1.12 - 0.12 * image * image).clamp(0.8, 1.12)
    image = _focus(p, image, size)
    s = (p["random"][:, 30] * 400).long()
    i = torch.arange(size, device=device)
    tile = canvas.white
    grain = tile[(i[None, :, None] + s[:, None, None]) % 512, (i[None, None, :] + 2 * s[:, None, None]) % 512]
    image = image + (0.06 * p["noise"])[:, None, None, None] * grain[:, None]
    image = _compress(p, image.clamp(0, 1), size)
    return image, head[:, 4] > 0.5


def _backdrop(p, x, y, batch):
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


def _body(p, image, x, y, canvas):
    """Hair that hangs behind, neck, shoulders and a collar, in the picture plane, in place."""
    spin, r = p["spin"], p["marks"]
    px = 1 / p["scale"][:, None, None]
    everything = slice(None), slice(None)
    dx = (x - (spin[:, 0, 1] * 1.2 - spin[:, 0, 2] * 0.6)[:, None])[:, None, :]
    yy = y - (p["chin"] - PIVOT[0] + spin[:, 1, 2] * 0.3)[:, None]
    w = column(p["width"]) * (0.62 + 0.06 * (column(p["jaw"]) - 1.88))
    side = dx.abs()
    long = column((p["hair"] == 3).float())
    behind = ((column(p["width"]) + 0.20 - side) / px + 0.5).clamp(0, 1) * long * smooth(y, -1.0, 0.0)[:, :, None]
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
    paint(image, *everything, p["c_skin"][:, :, None, None] * lit * shadow * cords[:, None] * gain, neck)

    cloth = (0.03 + 0.55 * r[:, 24:27] * r[:, 27:28]) ** 1.3
    dip = 0.12 + 0.45 * r[:, 28:29, None] ** 2
    collar = yy[:, :, None] - 0.42 - dip * (1 - (side / w) ** 2).clamp_min(0) ** (0.5 + r[:, 29:30, None])
    cover = (torch.minimum(collar, slope + 0.02) / px + 0.5).clamp(0, 1)
    hem = 1 - 0.30 * torch.exp(-((collar - 0.06) / 0.03) ** 2) * (side < w + 0.1)
    fold = 1 + 0.10 * torch.sin(dx * 5 + 3 * yy[:, :, None] + 6 * column(r[:, 30]))
    paint(image, *everything, cloth[:, :, None, None] * (0.25 + lit * (fold * hem)[:, None]) * gain, cover)


def _focus(p, image, size):
    """Separable Gaussian blur; focus 1 is sharp, 0 blurs by 1.2 % of the size."""
    sigma = (1 - p["focus"]) * 0.012 * size
    reach = max(1, math.ceil(0.012 * size * 2))
    i = torch.arange(-reach, reach + 1, device=image.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (i[None] / sigma[:, None].clamp_min(0.05)) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    batch, channels = image.shape[:2]
    kernel = kernel.repeat_interleave(channels, 0)[:, None]
    flat = F.pad(image, (reach,) * 4, mode="replicate").reshape(1, batch * channels, size + 2 * reach, size + 2 * reach)
    flat = F.conv2d(flat, kernel[:, :, :, None], groups=batch * channels)
    flat = F.conv2d(flat, kernel[:, :, None, :], groups=batch * channels)
    return flat.reshape(batch, channels, size, size)


_LUMA = [[16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
         [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
         [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99]]
_CHROMA = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


def _compress(p, image, size):
    """Quantise 8×8 cosine blocks as JPEG does (ITU-T T.81, tables K.1 and K.2); quality 100 leaves the image alone."""
    quality = p["jpeg"]
    if bool((quality >= 100).all()):
        return image
    device = image.device
    k = torch.arange(8, device=device, dtype=torch.float32)
    dct = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) * torch.where(k == 0, 0.125, 0.25).sqrt()[:, None]
    ycc = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], device=device)
    luma = torch.tensor(_LUMA, device=device, dtype=torch.float32)
    chroma = torch.full((8, 8), 99.0, device=device)
    chroma[:4, :4] = torch.tensor(_CHROMA, device=device, dtype=torch.float32)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100
    table = (torch.stack([luma, chroma, chroma])[None] * scale[:, None, None, None]).round().clamp(1, 255)
    pad = -size % 8
    planes = torch.einsum("ij,bjhw->bihw", ycc, F.pad(image, (0, pad, 0, pad), mode="replicate") * 255)
    planes[:, 0] -= 128
    n = (size + pad) // 8
    blocks = planes.reshape(-1, 3, n, 8, n, 8).permute(0, 1, 2, 4, 3, 5)
    table = table[:, :, None, None]
    blocks = dct.T @ (((dct @ blocks @ dct.T) / table).round() * table) @ dct
    planes = blocks.permute(0, 1, 2, 4, 3, 5).reshape(-1, 3, size + pad, size + pad)[..., :size, :size]
    planes[:, 0] += 128
    small = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(ycc), planes) / 255
    return torch.where((quality < 100)[:, None, None, None], small.clamp(0, 1), image)
