"""Drawing tools: the canvas in the frame of the head, smooth edges, curves through landmarks, sums of bumps.

Everything works on a block of B faces at once. The two sides of a face are drawn as 2B half faces: the left one
mirrored, then the right one, so that one rule draws both and a mirrored face is exactly the mirror image.
"""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..landmarks import MIRROR

U_REACH, V_TOP, V_LOW = 2.55, -3.3, 3.2
RULER = 0.2
"""Density of the canvas: pixels of one ruler, as a share of ``size``."""


class Canvas:
    """The grid of the head frame at one size on one device, and the noise that gives skin and hair their grain."""

    def __init__(self, size: int, device):
        self.size, self.device = size, device
        self.pixel = 1.0 / (RULER * size)  # rulers
        self.half = math.ceil(U_REACH / self.pixel)
        self.width, self.height = 2 * self.half + 1, math.ceil((V_LOW - V_TOP) / self.pixel) + 1
        self.u = torch.arange(-self.half, self.half + 1, device=device, dtype=torch.float32) * self.pixel
        self.v = V_TOP + torch.arange(self.height, device=device, dtype=torch.float32) * self.pixel
        noise = torch.randn(512, 512, generator=torch.Generator().manual_seed(1))
        soft = F.avg_pool2d(F.pad(noise[None, None], (3, 3, 3, 3), mode="circular"), 7, 1)[0, 0]
        self.white, self.soft = noise.to(device), (soft / soft.std()).to(device)
        u, v = self.u[None, :], self.v[:, None]
        angle, radius = torch.atan2(u, -(v + 0.9)), (u * u + (v + 0.9) ** 2).sqrt()
        self.grain_row = ((v - V_TOP) * 52).long().expand(self.height, self.width)
        self.grain_column = (u.abs() * 52 + 0.1).long().expand(self.height, self.width)
        self.strand_row = (radius * 7).long()
        self.strand_column = (angle.abs() * 75 + 0.1).long(), (angle * 75).long() + 250
        self.pixels = torch.arange(size, device=device, dtype=torch.float32)

    def box(self, u0, u1, v0, v1):
        """Slices (rows, columns) of a box, and its u (1, 1, w) and v (1, h, 1)."""
        a = max(self.half + math.floor(u0 / self.pixel), 0)
        b = min(self.half + math.ceil(u1 / self.pixel) + 1, self.width)
        rows, columns = self._rows(v0, v1), slice(a, b)
        return rows, columns, self.u[columns][None, None, :], self.v[rows][None, :, None]

    def halves(self, x0, x1, v0, v1):
        """The box x0 ≤ x ≤ x1 on both sides, x the distance from the midline, as a :class:`Halves`."""
        a, b = math.floor(x0 / self.pixel), min(math.ceil(x1 / self.pixel), self.half)
        rows = self._rows(v0, v1)
        left, right = slice(self.half - b, self.half - a + 1), slice(self.half + a, self.half + b + 1)
        return Halves(rows, left, right, self.u[right][None, None, :], self.v[rows][None, :, None])

    def _rows(self, v0, v1):
        return slice(max(math.floor((v0 - V_TOP) / self.pixel), 0),
                     min(math.ceil((v1 - V_TOP) / self.pixel), self.height))

    def tile(self, tile, rows, columns, shift):
        """Noise read at whole-number places: rows, columns (h, w) + shift (B,) → (B, h, w)."""
        s = shift.long()[:, None, None]
        return tile[(rows[None] + s) & 511, (columns[None] + 3 * s) & 511]


@lru_cache(maxsize=8)
def canvas_of(size: int, device) -> Canvas:
    """The canvas for images of this size."""
    return Canvas(size, device)


class Halves:
    """A box on both sides of the face: reads and writes (…, H, W) maps of B faces as 2B half faces (left mirrored)."""

    def __init__(self, rows, left, right, x, v):
        self.rows, self.left, self.right, self.x, self.v = rows, left, right, x, v

    def read(self, plane: Tensor) -> Tensor:
        """(B, …, H, W) → (2B, …, h, w)."""
        return torch.cat([plane[..., self.rows, self.left].flip(-1), plane[..., self.rows, self.right]])

    def write(self, plane: Tensor, part: Tensor) -> None:
        """(2B, …, h, w) into (B, …, H, W). The columns on the midline belong to both; the right side writes last."""
        left, right = part.chunk(2)
        plane[..., self.rows, self.left] = left.flip(-1)
        plane[..., self.rows, self.right] = right

    def add(self, plane: Tensor, part: Tensor) -> None:
        """Add (2B, …, h, w) to (B, …, H, W)."""
        left, right = part.chunk(2)
        plane[..., self.rows, self.left] += left.flip(-1)
        plane[..., self.rows, self.right] += right

    def scale(self, plane: Tensor, part: Tensor) -> None:
        """Multiply (B, …, H, W) by (2B, …, h, w)."""
        left, right = part.chunk(2)
        plane[..., self.rows, self.left] *= left.flip(-1)
        plane[..., self.rows, self.right] *= right

    def paint(self, plane: Tensor, colour: Tensor, alpha: Tensor) -> None:
        """Lay a colour (2B, 3) or (2B, 3, h, w) with alpha (2B, h, w) over (B, 3, H, W)."""
        colour = colour[:, :, None, None] if colour.ndim == 2 else colour
        area = self.read(plane)
        self.write(plane, area + alpha[:, None] * (colour - area))


def half_faces(p: dict[str, Tensor]) -> dict[str, Tensor]:
    """The plan of B faces as one of 2B half faces: points of the left half mirrored, (B, 2) amounts one per side."""
    def split(name, t):
        if name in ("face", "rest"):
            return torch.cat([t[:, MIRROR] * t.new_tensor([-1.0, 1.0]), t])
        if name.startswith("f_"):
            return torch.cat([t[:, 0], t[:, 1]])
        if name in ("light", "light_head"):
            return torch.cat([t * t.new_tensor([-1.0, 1.0, 1.0]), t])
        return torch.cat([t, t])

    return {name: split(name, t) for name, t in p.items()}


def curve(x: Tensor, y: Tensor, at: Tensor) -> Tensor:
    """A smooth curve through knots (x, y), (B, K) with x increasing, at places (w,): → (B, w).

    Cubic Hermite pieces whose slopes come from parabolas through neighbouring knots; straight outside the knots.
    """
    h = (x[:, 1:] - x[:, :-1]).clamp_min(1e-3)
    s = (y[:, 1:] - y[:, :-1]) / h
    inner = (s[:, :-1] * h[:, 1:] + s[:, 1:] * h[:, :-1]) / (h[:, 1:] + h[:, :-1])
    slope = torch.cat([2 * s[:, :1] - inner[:, :1], inner, 2 * s[:, -1:] - inner[:, -1:]], 1)
    i = (at[None, :, None] >= x[:, None, 1:-1]).sum(-1)  # the piece of each place
    h, s, x0, y0, m0, m1 = (t.gather(1, i) for t in (h, s, x[:, :-1], y[:, :-1], slope[:, :-1], slope[:, 1:]))
    raw = (at[None] - x0) / h
    t = raw.clamp(0, 1)
    out = (raw - t) * h
    value = y0 + h * t * (m0 + t * ((3 * s - 2 * m0 - m1) + t * (m0 + m1 - 2 * s)))
    return value + out * torch.where(out < 0, m0, m1)


def tilt(values: Tensor, step: float) -> Tensor:
    """1 / sqrt(1 + slope²) of curves (B, w) sampled every ``step``: turns vertical into perpendicular distance."""
    slope = (values[:, 1:] - values[:, :-1]) / step
    slope = torch.cat([slope[:, :1], 0.5 * (slope[:, 1:] + slope[:, :-1]), slope[:, -1:]], 1)
    return torch.rsqrt(1 + slope * slope)


def column(x: Tensor) -> Tensor:
    """(B,) → (B, 1, 1)."""
    return x[:, None, None]


def paint(plane: Tensor, rows, columns, colour: Tensor, alpha: Tensor) -> None:
    """Lay a colour (B, 3) or (B, 3, h, w) with alpha (B, h, w) over a box of (B, 3, H, W), in place."""
    area = plane[:, :, rows, columns]
    colour = colour[:, :, None, None] if colour.ndim == 2 else colour
    area += alpha[:, None] * (colour - area)


def smooth(x: Tensor, low: float, high: float) -> Tensor:
    """0 below low, 1 above high, smooth between."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def power(x: Tensor, exponent) -> Tensor:
    """x to the exponent, x > 0. Unlike ``x**exponent`` it rounds alike everywhere in a block of faces."""
    return torch.exp(exponent * torch.log(x))


def bell(x: Tensor, power: float = 1.0) -> Tensor:
    """exp(−|x|^(2·power)) for power 1, 1.5 or 2: a bell whose top is flatter for a larger power."""
    squared = x * x
    if power == 2:
        squared = squared * squared
    elif power == 1.5:
        squared = squared * squared.sqrt()
    return torch.exp(-squared)


def superellipse(u, v, width, middle, up, down, m, k_up, k_down):
    """The implicit outline |u/width|^m + |v/h|^k − 1 as columns (B, W) and rows (B, H), and their derivatives."""
    x = (u.abs()[None] / width[:, None]).clamp_min(1e-4)
    t = v[None] - middle[:, None]
    upper = t < 0
    h, k = torch.where(upper, up[:, None], down[:, None]), torch.where(upper, k_up, k_down[:, None])
    y = (t.abs() / h).clamp_min(1e-4)
    xm, yk = power(x, m), power(y, k)
    return xm, yk, m * xm / x / width[:, None] * u.sign()[None], k * yk / y / h * t.sign()


def outline(shape) -> Tensor:
    """Signed distance (B, H, W) to a superellipse, negative inside, to first order."""
    x, y, dx, dy = shape
    slope = (dx.square()[:, None, :] + dy.square()[:, :, None]).clamp_min_(1e-3).rsqrt_()
    return slope.mul_(x[:, None, :] + (y[:, :, None] - 1))


class Bumps:
    """A list of Gaussian bumps with axes along u and v for each of N faces, kept as numbers (N, K, 5).

    A bump is the product of a column and a row, so a block of K bumps on a canvas is one batched matrix product.
    """

    def __init__(self, count: int):
        self.count, self.items = count, []

    def add(self, amount, u, v, su, sv) -> None:
        """One bump: amount, centre and widths are numbers or (N,)."""
        self.items.append(np.stack([np.broadcast_to(np.asarray(x, float), (self.count,))
                                    for x in (amount, u, v, su, sv)], -1))

    def pair(self, amount, u, v, su, sv) -> None:
        """A bump on each side at distance u from the midline; any of amount, u, v may be (N, 2), left and right."""
        for side, sign in ((0, -1), (1, 1)):
            a, x, y = (q[:, side] if np.ndim(q) == 2 else q for q in (amount, u, v))
            self.add(a, sign * x, y, su, sv)

    def numbers(self) -> np.ndarray:
        """(N, K, 5)."""
        return np.stack(self.items, 1)


def _bells(numbers, u, v):
    amount, cu, cv, su, sv = numbers[..., None].unbind(2)  # (B, K, 1) each
    x, y = (u - cu) / su, (v - cv) / sv
    ex, ey = torch.exp(-0.5 * x * x), torch.exp(-0.5 * y * y) * amount
    return ex, ey, -x * ex / su, -y * ey / sv


def bump_sum(numbers: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Sum of the bumps (B, K, 5) on the grid u (W,), v (H,): → (B, H, W)."""
    ex, ey, _, _ = _bells(numbers, u, v)
    return torch.bmm(ey.mT, ex)


def bump_slopes(numbers: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes along u and along v of the sum of the bumps: (B, H, W) each."""
    ex, ey, dx, dy = _bells(numbers, u, v)
    return torch.bmm(ey.mT, dx), torch.bmm(dy.mT, ex)
