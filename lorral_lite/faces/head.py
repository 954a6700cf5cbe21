"""The head: skin, furrows, features, hair and what covers them, painted on the canvas in the frame of the head.

A feature's edge is a curve through its landmarks, so a landmark lies exactly where its feature is drawn. Furrows are
creases of Gaussian profile along curves; creases and bumps tilt the skin, and the tilt is what the light shows.
"""

import math

import numpy as np
import torch

from . import anatomy
from .drawing import (
    Bumps,
    bell,
    bump_slopes,
    bump_sum,
    canvas_of,
    column,
    curve,
    half_faces,
    outline,
    paint,
    power,
    smooth,
    superellipse,
    tilt,
)

OCCLUDERS: dict[str, tuple[int, ...]] = {  # D49
    "hand": (), "hair": (), "microphone": (),
    "fringe": (1, 2, 4), "glasses_dark": (5, 6, 7, 43), "mask": (9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26),
}
"""What can cover a face → the AUs whose own place it covers whatever the person (the others cover a part)."""
UNDER: dict[str, tuple[int, ...]] = {
    "hand": (), "hair": (), "microphone": (),
    "fringe": tuple(range(10)), "glasses_dark": tuple(range(19, 31)), "mask": (*range(13, 19), *range(31, 49)),
}
"""The landmarks under each cover of a whole region."""

# Per hair style: widening of the head, rise above the crown, how far down it reaches, half-width of the face
# window, cover (0 bald), unruliness of the outline, curls instead of strands, relief of the strands, sweep of the
# hairline.
_STYLES = {
    "bald": (0.0, 0.0, -0.5, 1.62, 0.0, 0.0, 0, 1, 0), "cropped": (0.02, 0.03, 0.12, 1.66, 0.72, 0.004, 0.8, 0.7, 0.3),
    "short": (0.05, 0.16, 0.18, 1.60, 1.0, 0.010, 0, 1, 1), "quiff": (0.04, 0.32, 0.10, 1.61, 1.0, 0.020, 0, 1, 1.6),
    "medium": (0.20, 0.26, 1.00, 1.60, 1.0, 0.022, 0, 1, 1.4), "curly": (0.34, 0.34, 1.35, 1.57, 1.0, 0.040, 1, 1.5, 1),
    "long": (0.22, 0.22, 3.9, 1.54, 1.0, 0.012, 0, 1, 1.2), "afro": (0.46, 0.44, 0.75, 1.58, 1.0, 0.035, 1, 1.2, 0),
    "tied": (0.02, 0.08, 0.05, 1.64, 1.0, 0.004, 0, 1, 0.3), "scarf": (0.12, 0.12, 3.9, 1.50, 1.0, 0.0, 0, 0.12, 0.3),
}
SCARF = anatomy.HAIR.index("scarf")
_STYLE_TABLE = torch.tensor([_STYLES[name] for name in anatomy.HAIR])


def relief(person, lengths, furrows, face, rest, drop) -> np.ndarray:
    """The bumps of each face, resting and moving, as numbers (N, K, 5); amounts in rulers."""
    f, b = furrows, Bumps(len(face))
    nose, chin = lengths["nose"], lengths["chin"] + drop
    wide = 1 + 0.10 * person["nose_width"]
    b.add(0.24, 0, 0.20 * nose, 0.17, 0.38)
    b.add(0.19, 0, 0.62 * nose, 0.155 * wide, 0.26)
    b.add(0.19, 0, face[:, 13, 1], 0.175 * wide, 0.14)
    b.pair(0.13 + 0.04 * f["flare"], 0.255 * wide, face[:, 16, 1] - 0.14, 0.085 * wide, 0.10)
    b.add(-0.12, 0, face[:, 16, 1] + 0.10, 0.40, 0.09)
    ridge = 0.05 + 0.02 * (lengths["jaw"] - 1.88) + 0.01 * person["brow_thickness"]
    b.pair(ridge, 0.72, rest[:, 2, 1] + 0.10, 0.42, 0.13)
    b.pair(-0.13, 0.62, -0.12, 0.22, 0.16)
    b.pair(-0.05, 0.95, 0.22, 0.38, 0.10)
    b.pair(0.09, 0.86, -0.02, 0.26, 0.14)
    b.pair(0.10 - 0.02 * person["build"], 1.12, 0.62, 0.36, 0.26)
    b.pair(0.04 + 0.03 * person["build"], 0.95, 1.25, 0.38, 0.38)
    b.pair(-0.05, 1.50, -0.55, 0.22, 0.40)
    b.pair(0.04, 0.55, -1.20, 0.38, 0.30)
    b.add(0.12, 0, 1.62, 0.55, 0.34)
    b.pair(0.015, 0.075, 1.34, 0.035, 0.10)
    b.add(0.13, 0, chin - 0.28, 0.34, 0.20)
    b.add(-0.07, 0, face[:, 40, 1] + 0.16, 0.36, 0.08)
    # What moves: brow bulge, cheeks, lid pouches, dimples, pouches below the corners, pressed lips, chin boss.
    b.pair(0.06 * f["brow_bulge"], 0.30, rest[:, 4, 1] + 0.22, 0.14, 0.13)
    b.pair(-0.03 * f["brow_bulge"], 0.10, rest[:, 4, 1] + 0.10, 0.10, 0.12)
    b.pair(0.16 * f["cheek"], 1.02, 0.66 - 0.07 * f["cheek"], 0.30, 0.20)
    b.pair(0.06 * f["pull"], 1.22, 1.30, 0.24, 0.26)
    b.pair(0.055 * f["pouch"], 0.86, 0.185, 0.27, 0.045)
    corner = np.stack([-face[:, 31, 0], face[:, 37, 0]], 1)
    level = np.stack([face[:, 31, 1], face[:, 37, 1]], 1)
    b.pair(-0.10 * f["dimple"], corner + 0.10, level, 0.05, 0.08)
    b.pair(0.05 * f["dimple"], corner + 0.24, level, 0.07, 0.12)
    b.pair(0.05 * f["dimple"], corner - 0.02, level + 0.11, 0.09, 0.05)
    b.pair(0.085 * f["down"], corner + 0.02, level + 0.17, 0.11, 0.07)
    b.pair(0.05 * f["square"], 0.52, face[:, [33, 35], 1] - 0.12, 0.16, 0.08)
    b.add(0.07 * f["press"].mean(1), 0, face[:, 34, 1] - 0.08, 0.36, 0.055)
    b.add(0.08 * f["press"].mean(1), 0, face[:, 40, 1] + 0.075, 0.34, 0.055)
    b.pair(0.07 * f["tight"], corner + 0.12, level, 0.07, 0.11)
    b.add(0.14 * f["chin"].mean(1), 0, chin - 0.34, 0.28, 0.16)
    b.add(0.06 * f["nose_root"].mean(1), 0, 0.02, 0.10, 0.10)
    return b.numbers()


def tints(person, lengths, face) -> tuple[np.ndarray, np.ndarray]:
    """Where blood reddens and where hollows darken the resting skin: bumps (N, K, 5) each."""
    blood, shade = Bumps(len(face)), Bumps(len(face))
    blood.pair(0.42, 1.05, 0.72, 0.34, 0.26)
    blood.add(0.40, 0, face[:, 13, 1], 0.20, 0.17)
    blood.add(0.15, 0, lengths["chin"] - 0.2, 0.3, 0.2)
    blood.pair(0.35, 0.85, 0.10, 0.28, 0.10)
    shade.pair(0.16 + 0.10 * person["age"], 0.78, 0.20, 0.24, 0.085)
    shade.pair(0.16, 0.66, -0.20, 0.26, 0.12)
    shade.add(0.16, 0, face[:, 16, 1] + 0.07, 0.26, 0.05)
    shade.add(0.15, 0, face[:, 40, 1] + 0.10, 0.30, 0.055)
    shade.pair(0.10, 0.36, 0.55, 0.09, 0.40)
    return blood.numbers(), shade.numbers()


def paint_head(p, size, device):
    """The head on its canvas: linear colour times cover, cover, occluder: (B, 5, H, W)."""
    canvas = canvas_of(size, device)
    u, v, px = canvas.u, canvas.v, canvas.pixel
    one = torch.ones_like(p["age"])
    style = _STYLE_TABLE.to(device)[p["hair"].long()]
    h = half_faces(p)

    middle = 0.25 * one
    up, down = middle - p["crown"], p["chin"] + p["drop"] - middle
    head = superellipse(u, v, p["width"], middle, up, down, 2.25, 3.2, p["jaw"])
    edge = outline(head)
    cover = (0.5 - edge / px).clamp_(0, 1)

    gu, gv = bump_slopes(p["relief"], u, v)
    turn = (edge + 0.34).clamp_min_(0) * 2.6  # the outline turns away from the viewer
    turn = turn * turn.clamp(max=1.5)
    gu -= turn * (head[2] / (head[2].abs() + 0.6))[:, None, :]
    gv -= turn * (head[3] / (head[3].abs() + 0.6) * 0.8)[:, :, None]
    gu -= (0.6325 * u / (0.36 + 0.55 * u * u).sqrt())[None, None, :]
    gv -= (0.168 * (v - 0.4) / (1 + 0.14 * (v - 0.4) ** 2).sqrt())[None, :, None]

    grain = canvas.tile(canvas.soft, canvas.grain_row, canvas.grain_column, p["marks"][:, 0] * 500)
    tone = (1 + 0.016 * grain).sub_(bump_sum(p["shade"], u, v), alpha=0.75)
    red = bump_sum(p["blood"], u, v)
    albedo = torch.stack([tone, tone * (1 - 0.20 * red), tone * (1 - 0.22 * red)], 1) * p["c_skin"][:, :, None, None]
    gloss = (0.05 + 0.045 * column(p["skin"])).expand_as(gu).contiguous()

    hollow = torch.zeros_like(gu)  # depth of creases
    swell = torch.zeros_like(gu)  # height of lips
    _ears(h, canvas, albedo, gu, edge, cover, style)
    _creases(p, h, canvas, hollow)
    _nose(h, canvas, albedo, hollow)
    _mouth(p, h, canvas, albedo, swell, hollow, gloss)
    rows, columns, _, _ = canvas.box(-1.85, 1.85, -1.85, 3.1)  # creases and lips tilt the skin
    dent = hollow[:, rows, columns]
    deeper = column(p["skin"])  # creases of dark skin are drawn deeper, or the picture would lose them (D57)
    step = (0.050 * swell[:, rows, columns] - 0.045 * (1 + 0.5 * deeper) * dent) * (0.5 / px)
    gu[:, rows, columns][:, :, 1:-1] += step[:, :, 2:] - step[:, :, :-2]
    gv[:, rows, columns][:, 1:-1] += step[:, 2:] - step[:, :-2]
    albedo[:, :, rows, columns] *= (1 - (0.48 + 0.20 * deeper) * dent / (1 + 0.4 * dent.abs()))[:, None]

    _beard(p, canvas, albedo, gloss, edge)
    _eyes(h, canvas, albedo, gu, gv, gloss)
    _brows(h, canvas, albedo, gloss)
    cover = _hair(p, canvas, albedo, gu, gv, gloss, cover, style, grain)
    colour = _shade(p, albedo, gu, gv, gloss)
    _glasses(h, canvas, colour)
    occluded = torch.zeros_like(cover)
    cover = _occlude(p, canvas, colour, cover, occluded)
    return torch.cat([colour * cover[:, None], cover[:, None], occluded[:, None]], 1)


def _ears(h, canvas, albedo, gu, edge, cover, style):
    box = canvas.halves(1.35, 2.45, -0.55, 1.05)
    x, v = box.x, box.v
    du, dv = (x - column(h["width"]) - 0.04 - 0.10 * (0.3 - v)) / 0.17, (v - 0.26) / 0.42
    r = (du * du + dv * dv).sqrt()
    alpha = ((1 - r) * (0.17 / canvas.pixel) + 0.5).clamp(0, 1) * column((style[:, 2] < 0.5).float().repeat(2))
    face = box.read(cover)
    box.scale(albedo, (1 - 0.35 * bell((r - 0.45) / 0.3) * (1 - face))[:, None])
    sign = torch.ones_like(h["age"])
    sign[: len(sign) // 2] = -1  # slopes along u change sign in the mirror
    slope = column(sign) * (0.55 * du.clamp(-1, 1) - 0.25)
    box.write(gu, torch.where(box.read(edge) > 0, slope, box.read(gu)))
    box.write(cover, torch.maximum(face, alpha))


def _along(v, f, width, canvas):
    """Profile (B, h, w) of a crease along v = f(u), f (B, w)."""
    scale = tilt(f, canvas.pixel) / max(width, 0.75 * canvas.pixel)
    d = (v - f[:, None, :]) * scale[:, None, :]
    return torch.exp(-d * d)


def _upright(x, f, width, canvas):
    """Profile (B, h, w) of a crease along x = f(v), f (B, h)."""
    scale = tilt(f, canvas.pixel) / max(width, 0.75 * canvas.pixel)
    d = (x - f[:, :, None]) * scale[:, :, None]
    return torch.exp(-d * d)


def _creases(p, h, canvas, hollow):
    """Furrows, each along a curve of its own, as deep as its AUs say, faded at both ends."""
    marks = p["marks"]
    _forehead(p, canvas, hollow)
    half, f = h["marks"], {k[2:]: t[:, None] for k, t in h.items() if k.startswith("f_")}
    face, rest = h["face"], h["rest"]

    # Glabella: an upright furrow on each side, leaning in at the top.
    box = canvas.halves(0.0, 0.45, -1.00, 0.05)
    t = (box.v[:, :, 0] - rest[:, 5, 1:] - 0.10) / 0.26
    x = 0.165 - 0.05 * f["brow_bulge"] - 0.045 * t + 0.02 * (half[:, 20:21] - 0.5)
    depth = f["glabella"] * bell(t, 1.5) * (0.85 + 0.3 * half[:, 21:22])
    box.add(hollow, depth[:, :, None] * _upright(box.x, x, 0.048, canvas))

    # Nose root: lines across it, oblique ones on the sides of the nose.
    box = canvas.halves(0.0, 0.62, -0.32, 0.75)
    x = box.x[0]
    across = bell(x / 0.22, 2)
    for level, share, lean, window in ((-0.10, 1.0, 0.15, across), (0.06, 0.95, 0.2, across), (0.19, 0.5, 0.25, across),
                                       (0.19, 0.8, 0.62, bell((x - 0.30) / 0.13, 1.5)),
                                       (0.37, 0.7, 0.58, bell((x - 0.31) / 0.12, 1.5))):
        line = level + lean * x * (1 if lean > 0.3 else x)
        line = line - (0.10 if lean > 0.3 else 0.0)
        crease = _along(box.v, line, 0.042, canvas)
        add = (share * f["nose_root"] * window)[:, None, :] * crease
        if lean <= 0.3:
            add[:, :, :1] *= 0.5  # the midline belongs to both sides
        box.add(hollow, add)

    # Crow's feet fan out from the outer corner of the eye.
    outer, lower = face[:, 28], face[:, [30, 29], 1].mean(1)[:, None]
    box = canvas.halves(1.15, 1.78, -0.50, 0.62)
    t = box.x[0] - outer[:, :1] - 0.09
    fade = smooth(t, -0.02, 0.08) * smooth(-t, -0.36, -0.16)
    for k, (rise, share) in enumerate(((-0.55, 0.75), (-0.02, 1.0), (0.55, 0.9))):
        line = outer[:, 1:] + 0.02 + 0.09 * (k - 1) + rise * t + 0.35 * (k - 1) * t * t
        box.add(hollow, (1.1 * share * f["crows_feet"] * fade)[:, None, :] * _along(box.v, line, 0.036, canvas))

    # Below the eye.
    box = canvas.halves(0.30, 1.40, 0.0, 0.62)
    t = (box.x[0] - 0.84) / 0.40
    line = lower + 0.155 - 0.10 * t * t - 0.03 * t
    add = (0.75 * f["under_eye"] * bell(t, 2))[:, None, :] * _along(box.v, line, 0.045, canvas)
    depth = 0.55 * f["crows_feet"] * bell((box.x[0] - 0.62) / 0.26, 2)
    box.add(hollow, add + depth[:, None, :] * _along(box.v, line + 0.16 + 0.10 * t, 0.05, canvas))

    # Nasolabial fold, from the wing of the nose past the corner of the mouth.
    wing, corner = face[:, 18], face[:, 37]
    box = canvas.halves(0.25, 1.45, 0.75, 2.05)
    rows = box.v[:, :, 0]
    t = (rows - wing[:, 1:] + 0.12) / (corner[:, 1:] - wing[:, 1:] + 0.12)
    start, end = wing[:, :1] + 0.06, corner[:, :1] + 0.20
    fold = start + (end - start) * t + 0.12 * (f["pull"] + f["square"]) * 4 * t * (1 - t)
    upper = f["nasolabial_top"] * smooth(t, -0.10, 0.12) * smooth(-t, -0.75, -0.35)
    low = f["nasolabial_low"] * smooth(t, 0.05, 0.45) * smooth(-t, -1.25, -0.85)
    box.add(hollow, torch.maximum(upper, low)[:, :, None] * _upright(box.x, fold, 0.065, canvas))

    # Beside the corner of the mouth (dimple, stretch) and below it.
    box = canvas.halves(0.35, 1.30, 1.25, 2.60)
    d = box.v[:, :, 0] - corner[:, 1:]
    t = d / 0.16
    depth = 1.1 * f["dimple"] * bell(t, 1.5)
    add = depth[:, :, None] * _upright(box.x, corner[:, :1] + 0.09 - 0.03 * t * t, 0.05, canvas)
    t = d / 0.45
    depth = 1.05 * f["marionette"] * smooth(t, 0.02, 0.3) * smooth(-t, -1.15, -0.6)
    add += depth[:, :, None] * _upright(box.x, corner[:, :1] + 0.07 + 0.05 * t, 0.05, canvas)
    depth = 0.7 * f["side_mouth"] * bell(d / 0.2, 1.5)
    add += depth[:, :, None] * _upright(box.x, corner[:, :1] + 0.14 - 0.8 * (d - 0.02).square(), 0.05, canvas)
    box.add(hollow, add)

    # Chin: the crescent above the boss and its dimpled skin.
    face = p["face"]
    rows, columns, u, v = canvas.box(-0.75, 0.75, 1.80, 2.95)
    line = face[:, 40, 1:] + 0.17 + 0.28 * u[0] ** 2
    depth = (0.10 + p["f_mentolabial"].mean(1)[:, None]) * bell(u[0] / 0.36, 2)
    pebbles = canvas.tile(canvas.soft, (v[0] * 55).long().expand(-1, u.shape[2]),
                          (u[0].abs() * 55).long().expand(v.shape[1], -1), marks[:, 3] * 500)
    window = bell(u / 0.36) * bell((v - column(p["chin"] + p["drop"]) + 0.30) / 0.22)
    hollow[:, rows, columns] += depth[:, None, :] * _along(v, line, 0.06, canvas) + (
        0.34 * column(p["f_chin"].mean(1)) * window * pebbles)

    # Small upright wrinkles around tightened lips.
    rows, columns, u, v = canvas.box(-0.75, 0.75, 1.15, 2.35)
    place = u.abs() + 0.05 * torch.sin(u.abs() * 9 + 6 * column(marks[:, 22]))
    ridges = torch.cos(place * (2 * math.pi / 0.16) + 0.4).clamp_min(0) * bell(u / 0.46)
    near = bell((v - column(face[:, 33, 1]) + 0.09) / 0.10) + 0.8 * bell((v - column(face[:, 40, 1]) - 0.08) / 0.08)
    hollow[:, rows, columns] += 0.60 * column(p["f_lip_wrinkles"].mean(1)) * near * ridges


def _forehead(p, canvas, hollow):
    """Three lines that echo the brows; the middle belongs to AU1, the sides to AU2."""
    face, rest, marks = p["face"], p["rest"], p["marks"]
    rows, columns, u, v = canvas.box(-1.5, 1.5, -1.75, -0.62)
    u = u[0]
    rise = (face - rest)[:, [1, 2, 3, 6, 7, 8], 1]
    top = rest[:, [2, 7], 1].mean(1)[:, None]
    wave = curve(rest[:, [1, 2, 3, 6, 7, 8], 0], rise, u[0])
    depth = p["f_forehead_middle"].mean(1)[:, None] * bell(u / 0.50, 1.5)
    depth = depth + p["f_forehead_side"][:, :1] * bell((-u - 0.92) / 0.46, 1.5)
    depth = depth + p["f_forehead_side"][:, 1:] * bell((u - 0.92) / 0.46, 1.5)
    depth = 1.2 * depth / (1 + 0.25 * depth)
    uneven = p["asymmetry"][:, None].clamp(max=1)
    total = 0
    for i, (gap, share) in enumerate(((0.34, 0.75), (0.58, 1.0), (0.82, 0.7))):
        a, b, c = (marks[:, 4 + 3 * i + j : 5 + 3 * i + j] for j in range(3))
        line = top - gap - 0.06 * (b - 0.5) + (0.55 - 0.12 * i) * wave + 0.035 * torch.cos(u * (3.2 + c))
        line = line + 0.02 * (2 * a - 1) * uneven * torch.sin(2.1 * u + 6 * b)
        broken = 0.8 + 0.3 * torch.cos(u * (5 + 3 * a) + 2.1 * i * uneven)
        total = total + (share * depth * broken)[:, None, :] * _along(v, line, 0.045, canvas)
    hollow[:, rows, columns] += total


def _nose(h, canvas, albedo, hollow):
    """Nostrils and the groove behind the wings."""
    box = canvas.halves(0.0, 0.75, 0.70, 1.45)
    x, v, flare = box.x, box.v, column(h["f_flare"])
    under, wing = h["face"][:, 17], h["face"][:, 18]
    d = x - column(under[:, 0])
    du = d / (0.088 + 0.014 * flare)
    dv = (v - column(under[:, 1]) + 0.035 + 0.22 * d) / (0.036 + 0.008 * flare)
    box.paint(albedo, h["c_skin"] * 0.12 + 0.006, 0.85 * smooth(-(du * du + dv * dv).sqrt(), -1.35, -0.55))
    du, dv = x - column(wing[:, 0]), v - column(wing[:, 1])
    r = (((du + 0.13) / 0.155) ** 2 + ((dv + 0.08) / 0.17) ** 2).sqrt()
    ring = bell((r - 1) / 0.20) * smooth(du, -0.10, 0.0) * smooth(dv, -0.26, -0.10) * smooth(-dv, -0.06, 0.03)
    box.add(hollow, (0.40 + 0.35 * flare) * ring)


def _mouth(p, h, canvas, albedo, swell, hollow, gloss):
    face, rest = p["face"], p["rest"]
    rows, columns, u, v = canvas.box(-1.2, 1.2, 1.05, 2.72)
    uu, px = u[0, 0], canvas.pixel

    def through(*points):
        return curve(face[:, points, 0], face[:, points, 1], uu)

    def below(f, soft=1.0):
        """Cover of what lies below the curve f."""
        return ((v - f[:, None]) * (tilt(f, px) / (soft * px))[:, None] + 0.5).clamp(0, 1)

    top, low = through(31, 32, 33, 34, 35, 36, 37), through(31, 42, 41, 40, 39, 38, 37)
    inner_top, inner_low = through(31, 43, 44, 45, 37), through(31, 48, 47, 46, 37)
    inner_low = torch.maximum(inner_top, inner_low)
    ends = ((uu - face[:, 31, :1]) / px + 0.5).clamp(0, 1) * ((face[:, 37, :1] - uu) / px + 0.5).clamp(0, 1)
    ends = ends[:, None]
    soft = max(1.0, 0.05 / px)
    under_top, under_low = below(inner_top), below(inner_low)
    upper = below(top, soft) * (1 - under_top) * ends
    lower = under_low * (1 - below(low, soft)) * ends
    inside = under_top * (1 - under_low) * ends

    thick_up = (inner_top - top).clamp_min(0.02)[:, None]
    thick_low = (low - inner_low).clamp_min(0.02)[:, None]
    t_up = ((v - top[:, None]) / thick_up).clamp(0, 1)
    t_low = ((v - inner_low[:, None]) / thick_low).clamp(0, 1)
    full = 1 - 0.4 * column(p["f_roll"].mean(1))
    swell[:, rows, columns] += full * (5.2 * thick_up * t_up * (1 - t_up * t_up) * upper
                                       + 7.8 * thick_low * t_low * (1 - t_low) * lower)
    # Tightened lips turn redder inside a rolled rim that stands out.
    tight = column(p["f_tight"].mean(1))
    rim = bell((top[:, None] - v - 0.04) / 0.045) + bell((v - low[:, None] - 0.04) / 0.045)
    rim = tight * rim * ends
    swell[:, rows, columns] += 0.30 * rim
    albedo[:, :, rows, columns] *= (1 + 0.16 * rim)[:, None]
    lip = p["c_lip"][:, :, None, None] * (1 - tight[:, None] * tight.new_tensor([-0.06, 0.26, 0.22])[:, None, None])
    paint(albedo, rows, columns, (0.86 - 0.16 * t_up)[:, None] * lip, upper * 0.88)
    lines = 0.05 * torch.cos(u * 40).square()
    paint(albedo, rows, columns, (1.06 - 0.14 * t_low - lines)[:, None] * lip, lower * 0.80)
    gloss[:, rows, columns] += 0.10 * lower * bell((t_low - 0.4) / 0.2)

    # Inside: dark; the upper teeth hang from the skull, the tongue lies on the jaw.
    paint(albedo, rows, columns, lip.new_tensor([[0.030, 0.008, 0.008]]), inside)
    half = (face[:, 37, :1] - face[:, 31, :1]) * 0.42
    middle = 0.5 * (face[:, 37, :1] + face[:, 31, :1])
    arch = ((uu - middle) / half) ** 2
    tooth = rest[:, 44, 1:] + 0.055 - 0.10 * arch + 0.3 * (face[:, 44, 1:] - rest[:, 44, 1:]).clamp(-0.2, 0)
    teeth = (1 - below(tooth)) * inside * (1 - smooth(arch, 0.65, 1.1))[:, None]
    gaps = 1 - 0.22 * bell((torch.remainder(uu.abs() + 0.075, 0.15) - 0.075) / 0.014)
    light = ((1 - 0.55 * arch.clamp(0, 1)) * gaps)[:, None]
    light = light * (0.72 + 0.28 * ((v - inner_top[:, None]) / 0.06).clamp(0, 1))
    enamel = (1 - 0.45 * p["skin"])[:, None, None, None] * lip.new_tensor([0.72, 0.68, 0.58])[None, :, None, None]
    paint(albedo, rows, columns, enamel * light[:, None], teeth)
    edge = rest[:, 47, 1:] + 0.045 + 0.06 * arch + 0.85 * p["drop"][:, None]  # the lower teeth ride on the jaw
    below_teeth = below(edge) * inside * (1 - teeth) * (1 - smooth(arch, 0.45, 0.9))[:, None]
    gaps = 1 - 0.20 * bell((torch.remainder(uu.abs() + 0.055, 0.11) - 0.055) / 0.012)
    light = ((0.75 - 0.40 * arch.clamp(0, 1)) * gaps)[:, None]
    paint(albedo, rows, columns, enamel * light[:, None], below_teeth)
    tongue = bell((uu - middle) / (0.62 * half), 2) * smooth(inner_low - inner_top, 0.16, 0.30)
    tongue = tongue[:, None] * smooth(v - inner_low[:, None] + 0.15, 0.0, 0.12) * inside * (1 - teeth - below_teeth)
    paint(albedo, rows, columns, lip.new_tensor([[0.26, 0.075, 0.075]]), tongue)

    # Where closed lips meet, and a little shade at the corners.
    seam = 0.5 * (inner_top + inner_low)
    d = (v - seam[:, None]) * (tilt(seam, px) / max(0.022, 0.65 * px))[:, None]
    closed = bell((inner_low - inner_top) / 0.05)[:, None] * ends
    paint(albedo, rows, columns, p["c_lip"] * 0.10, 0.80 * bell(d) * closed)
    box, corner = canvas.halves(0.30, 1.2, 1.20, 2.30), h["face"][:, 37]
    spot = bell((box.x - column(corner[:, 0])) / 0.05) * bell((box.v - column(corner[:, 1])) / 0.04)
    box.add(hollow, (0.35 + 0.5 * column(h["f_dimple"])) * spot)


def _eyes(h, canvas, albedo, gu, gv, gloss):
    px, face, rest = canvas.pixel, h["face"], h["rest"]
    box = canvas.halves(0.36, 1.52, -0.62, 0.42)
    x, v = box.x, box.v
    xx = x[0, 0]
    upper, lower = [25, 26, 27, 28], [25, 30, 29, 28]
    up, low = curve(face[:, upper, 0], face[:, upper, 1], xx), curve(face[:, lower, 0], face[:, lower, 1], xx)
    rest_up = curve(rest[:, upper, 0], rest[:, upper, 1], xx)
    inner, outer = face[:, 25, :1], face[:, 28, :1]
    d_up, d_low = (v - up[:, None]) * tilt(up, px)[:, None], (low[:, None] - v) * tilt(low, px)[:, None]
    within = ((xx - inner) / px + 0.5).clamp(0, 1) * ((outer - xx) / px + 0.5).clamp(0, 1)
    ball = (d_up / px + 0.5).clamp(0, 1) * (d_low / px + 0.5).clamp(0, 1) * within[:, None]
    span = ((xx - inner) / (outer - inner)).clamp(-0.2, 1.25)

    # The crease above the upper lid.
    lid = 0.10 + 0.02 * h["eye_size"][:, None] - 0.045 * h["age"][:, None]
    raised = (face - rest)[:, [6, 7], 1].mean(1)[:, None]
    crease = rest_up - lid * (0.55 + 0.45 * torch.sin(span.clamp(0, 1) * math.pi)) + 0.22 * raised
    crease = torch.minimum(crease, up - 0.045)
    fold = bell((v - crease[:, None]) / max(0.028, 0.7 * px)) * column(0.35 + 0.8 * h["marks"][:, 23])
    ends = smooth(span, -0.05, 0.2) * smooth(-span, -1.15, -0.85)
    box.paint(albedo, h["c_skin"] * 0.42, 0.5 * fold * ends[:, None])

    # White, iris, pupil and a glint; the upper lid shades them.
    cx = 0.5 * (rest[:, 25, 0] + rest[:, 28, 0]) + h["gaze_x"] * 0.0052
    cy = rest[:, [26, 27, 29, 30], 1].mean(1) - 0.010 + h["gaze_y"] * 0.0052
    radius = column(0.158 + 0.003 * h["eye_size"])
    dx, dy = x - column(cx), v - column(cy)
    r = (dx * dx + dy * dy).sqrt() / radius
    edge = (span * (1 - span)).clamp(0, 0.25)[:, None]
    shade = (1 - 0.55 * torch.exp(-(d_up / 0.055).clamp_min(0))) * (0.62 + 1.5 * edge)
    shade = shade * (1 - 0.32 * column(h["skin"]))  # the exposure is for the skin
    pink = 1 - 0.25 * bell((span - 0.02) / 0.10)[:, None]
    eye = torch.stack([0.60 * shade, 0.56 * shade * pink, 0.53 * shade * pink], 1)
    pattern = (0.75 + 0.5 * dy / radius - 0.55 * smooth(r, 0.72, 1.0)) * shade
    iris = ((1 - r) * (radius / px) + 0.5).clamp(0, 1)[:, None]
    eye += iris * (h["c_iris"][:, :, None, None] * 1.25 * pattern[:, None].clamp_min(0.12) - eye)
    eye *= 1 - 0.95 * ((0.43 - r) * (radius / px) + 0.5).clamp(0, 1)[:, None]
    glint = (dx - 0.055 * column(h["light"][:, 0])) ** 2 + (dy - 0.07 * column(h["light"][:, 1]) + 0.02) ** 2
    eye += 0.9 * torch.exp(-glint / max(0.028, 0.75 * px) ** 2)[:, None] * (1.1 - eye)
    box.paint(albedo, eye, ball)
    for slope in (gu, gv):
        box.scale(slope, 1 - 0.85 * ball)
    box.scale(gloss, 1 - ball)

    # Lash lines.
    wing = (max(0.030, 0.8 * px) * (0.55 + 0.45 * span).clamp(0.3, 1))[:, None]
    ends = (smooth(span, -0.03, 0.08) * smooth(-span, -1.08, -0.98))[:, None]
    box.paint(albedo, h["c_brow"] * 0.25, 0.88 * bell((d_up + 0.012) / wing) * ends)
    ends = (smooth(span, 0.1, 0.5) * smooth(-span, -1.05, -0.95))[:, None]
    box.paint(albedo, h["c_skin"] * 0.30, 0.50 * bell((d_low + 0.012) / max(0.020, 0.7 * px)) * ends)


def _brows(h, canvas, albedo, gloss):
    px = canvas.pixel
    box = canvas.halves(0.05, 1.80, -1.30, 0.02)
    x, v = box.x, box.v
    knots = h["face"][:, 5:10]
    line = curve(knots[..., 0], knots[..., 1], x[0, 0])
    span = (x[0] - knots[:, :1, 0]) / (knots[:, 4:, 0] - knots[:, :1, 0])
    half = h["brow"][:, None] * (1.05 - 0.15 * span - 0.55 * smooth(span, 0.55, 1.05)).clamp_min(0.2)
    d = (v - line[:, None]) * tilt(line, px)[:, None]
    soft = max(0.035, 0.7 * px)
    ends = smooth(span, -0.05, 0.10) * smooth(-span, -1.05, -0.93)
    body = smooth(half[:, None] - d.abs(), -soft, soft) * ends[:, None]
    shift = (h["marks"][:, 19] * 500).long()[:, None, None]
    hairs = canvas.white[((d * 9 + x * 3).long() + 200 + shift) & 511, ((x * 42 + 24 * d).long() + 2 * shift) & 511]
    alpha = (body * (0.80 + 0.11 * hairs)).clamp(0, 0.95)
    box.paint(albedo, h["c_brow"] * 0.8, alpha)
    box.scale(gloss, 1 - alpha)


def _beard(p, canvas, albedo, gloss, edge_of_face):
    kind, face = p["facial_hair"], p["face"]
    if not bool((kind > 0).any()):
        return
    rows, columns, u, v = canvas.box(-1.95, 1.95, 0.10, 3.0)
    uu = u[0, 0]
    at = uu.abs()
    x = torch.tensor([0.0, 0.35, 0.70, 0.95, 1.25, 1.55, 1.75], device=u.device)
    y = torch.tensor([1.98, 1.98, 1.86, 1.66, 1.22, 0.55, 0.10], device=u.device)
    edge = curve(x[None].expand(len(kind), -1), y[None] + (face[:, 40, 1:] - 1.93) * (x < 0.6), at)
    whole = smooth(v - edge[:, None], -0.22, 0.30)
    corner = column(0.5 * (face[:, 37, 0] - face[:, 31, 0]))
    outer, inner = [31, 32, 33, 34, 35, 36, 37], [31, 42, 41, 40, 39, 38, 37]
    top = curve(face[:, outer, 0], face[:, outer, 1], uu)[:, None]
    low = curve(face[:, inner, 0], face[:, inner, 1], uu)[:, None]
    reach = corner * (0.75 + 0.5 * (v - 1.35).clamp(0, 0.6)) - u.abs()
    above = v - column(face[:, 16, 1]) - 0.30 * u * u
    lip = smooth(above, 0.01, 0.12) * smooth(top - v, -0.02, 0.05) * smooth(reach, -0.14, 0.08)
    band = smooth(-u.abs() + corner, -0.26, -0.08) * smooth(u.abs() - corner, -0.10, 0.04) * smooth(v, 1.40, 1.75)
    tuft = whole * smooth(-u.abs(), -0.62, -0.45)
    k, every = column(kind), torch.maximum(whole, lip)
    goatee = torch.maximum(torch.maximum(lip, tuft), band * smooth(-v, -2.1, -1.9))
    area = (k == 1) * every * 0.24 + (k == 2) * lip * 0.9 + (k == 3) * goatee * 0.88
    area = area + (k == 4) * torch.maximum(every, band) * 0.92
    lips = smooth(v - top, -0.03, 0.02) * smooth(low - v, -0.02, 0.03) * (u.abs() < corner)
    area = area * (1 - lips) * (edge_of_face[:, rows, columns] < 0)
    hairs = canvas.tile(canvas.white, (v[0] * 22 + 100).long().expand(-1, u.shape[2]),
                        (at[None] * 60).long().expand(v.shape[1], -1), p["marks"][:, 18] * 500)
    alpha = (area * (0.9 + 0.12 * hairs)).clamp(0, 0.95)
    paint(albedo, rows, columns, torch.minimum(p["c_beard"] * 1.1, p["c_skin"] * 0.5), alpha)
    gloss[:, rows, columns] *= 1 - 0.7 * alpha


def _hair(p, canvas, albedo, gu, gv, gloss, cover, style, grain):
    """Hair over the head: an outline, a hairline, strands that run from the crown; returns the cover of the head."""
    u, v = canvas.u, canvas.v
    one = torch.ones_like(p["age"])
    dw, dtop, reach, window, present, wild, curls, coarse, sweep = style.unbind(1)
    natural = p["asymmetry"].clamp(max=1)
    shift = p["marks"][:, 15] * 500
    index = torch.where(column(natural) > 0, canvas.strand_column[1], canvas.strand_column[0])
    s = shift.long()[:, None, None]
    strands = canvas.white[(canvas.strand_row + s) & 511, (index + 3 * s) & 511]
    strands += column(curls) * (grain - strands)
    strands *= column(coarse)
    ripple = coarse.clamp(max=1)
    locks = canvas.soft[(canvas.strand_row // 3 + s) & 511, (index // 2 + 3 * s) & 511]
    swing = 0.05 * torch.sin(v * (1.2 + 0.8 * p["marks"][:, 12:13]) + 6 * p["marks"][:, 13:14])
    hang = smooth(v, 0.2, 2.2) * (reach[:, None] > 1.5)
    outer = outline(superellipse(u, v, p["width"] + dw, 0.0 * one, dtop - p["crown"],
                                 torch.where(reach > 1.5, 30.0, reach + 0.35), 2.25, (3.0 - 1.4 * dw)[:, None],
                                 2.3 * one))
    outer -= ((swing + 0.12) * hang)[:, :, None]
    outer += column(wild) * (locks + 0.5 * strands)
    low = torch.where(p["hair"] == SCARF, p["chin"] + p["drop"] + 0.22, 30.0)  # a scarf closes below the chin
    inner = outline(superellipse(u, v, window * p["width"] / 1.75, -0.15 * one, -0.15 - p["hairline"], low, 2.7,
                                 2.4, 2.4 * one))
    # The hairline: a parting on one side, hair swept to the other; a peak or a straight edge.
    part, peak = natural * (p["marks"][:, 14] - 0.5) * sweep, (p["marks"][:, 11] - 0.5) * sweep.clamp(max=1)
    sway = 0.26 * part[:, None] * u.clamp(-1.4, 1.4) + 0.14 * peak[:, None] * (bell(u / 0.35) - 0.35)
    inner += sway[:, None, :] * smooth(-v, 0.6, 1.4)[:, None]
    inner += 0.018 * strands + column(0.02 * ripple) * locks
    inner -= ((swing - 0.10) * hang)[:, :, None]
    inner *= 1 + 2 * column((p["hair"] == SCARF).float())  # cloth has a sharp edge
    reached = smooth(reach[:, None] - v, -0.12, 0.16) * present[:, None]
    alpha = smooth(inner, -0.07, 0.07) * (0.5 - outer / (canvas.pixel + column(wild))).clamp_(0, 1)
    alpha *= reached[:, :, None]
    albedo *= (1 - (0.22 * reached)[:, :, None] * bell((inner + 0.02) / 0.13))[:, None]  # its shade on the skin

    band = bell((outer + 0.42) / 0.17) * smooth(-v, 0.9, 2.0)[:, None]
    tone = (0.86 + 0.15 * strands + column(0.10 * ripple) * locks + band * (0.55 + 0.22 * strands)).clamp_min_(0.3)
    tone *= 1 - 0.45 * smooth(outer, -0.12, 0.02)
    tone *= 1 - (0.40 * smooth(v, -0.6, 1.2))[:, None] * smooth(-outer, 0.05, 0.4)
    tone = tone[:, None] * (p["c_hair"][:, :, None, None] + 0.012 * band[:, None])
    share = alpha / (alpha + cover * (1 - alpha)).clamp_min_(1e-4)
    albedo += share[:, None] * (tone - albedo)
    gloss += share * (0.02 - gloss)
    gu += share * (-0.5 * u - gu)
    gv += share * ((-0.45 * (v + 0.9)).clamp(-1, 1.0)[:, None] - gv)
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


def _glasses(h, canvas, colour):
    kind = h["glasses"]
    if not bool((kind > 0).any()):
        return
    box, px = canvas.halves(0.0, 2.0, -0.80, 0.85), canvas.pixel
    x, v = box.x, box.v
    thick, dark, worn = column((kind == 2).float()), column((kind == 3).float()), column((kind > 0).float())
    line = 0.030 + 0.035 * thick + 0.02 * dark
    qx, qy = ((x - 0.86).abs() - 0.26).clamp_min(0), ((v - 0.06).abs() - 0.17).clamp_min(0)
    d = (qx * qx + qy * qy).sqrt() - 0.16
    rim = ((line / 2 - d.abs()) / px + 0.5).clamp(0, 1)
    bridge = ((line / 2 - (v + 0.06 - 0.25 * x * x).abs()) / px + 0.5).clamp(0, 1) * (x < 0.44)
    arm = ((line / 2 - (v + 0.10).abs()) / px + 0.5).clamp(0, 1) * (x > 1.28) * (x < 1.75)
    lens = (0.5 - d / px).clamp(0, 1) * worn
    area = box.read(colour) * (1 - 0.93 * dark * lens)[:, None]
    box.write(colour, area + (0.10 * lens * bell((x - 0.7 + 0.6 * v) / 0.10))[:, None])
    frame = h["marks"][:, 16:17] * colour.new_tensor([[0.10, 0.08, 0.07]]) + 0.008
    box.paint(colour, frame, torch.maximum(torch.maximum(rim, bridge), arm) * worn)


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
        cloth = column((p["hair"] == 0).float())  # the bald wear a band
        top = -2.20 + 0.25 * cloth + 0.30 * (u / 1.4) ** 2
        alpha = smooth(edge - v, -0.02, 0.02) * smooth(v - top, -0.15, 0.15) * smooth(-u.abs(), -1.78, -1.66)
        cloth = cloth[:, None]
        hair = p["c_hair"][:, :, None, None] * (0.9 + 0.16 * strands + 0.35 * bell((v + 1.1) / 0.25))[:, None]
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
            tone = 0.012 + 0.05 * smooth(v + 0.3 * x, 0.1, 0.8) + 0.05 * bell((x * s - 0.5 * v - 0.8) / 0.12)
            lay("glasses_dark", rows, columns, tone[:, None].expand(len(colour), -1, -1, -1),
                torch.maximum(lens, bar).expand(len(colour), -1, -1))
    if asked("mask"):
        rows, columns, u, v = canvas.box(-2.1, 2.1, 0.2, 3.2)
        width, base = column(p["width"]), column(p["chin"]) + 0.34
        down = ((v - 0.55) / (base - 0.55)).clamp_min(1e-4)
        edge = (power((u.abs() / width).clamp_min(1e-4), 2.6) + power(down, 2.2) - 1) * 0.7
        top = v - 0.42 - 0.15 * u * u
        alpha = (0.5 - edge / px).clamp(0, 1) * (0.5 + top / px).clamp(0, 1)
        strap = (0.5 - ((v - 0.62 + 0.25 * (u.abs() - 1.2)).abs() - 0.02) / px).clamp(0, 1) * (u.abs() > 1.4) * (
            u.abs() < width + 0.06)
        hue = torch.where(r[:, 28:29] < 0.5, torch.tensor([[0.36, 0.60, 0.72]], device=u.device),
                          torch.where(r[:, 28:29] < 0.75, 0.70, 0.035)) * p["gain"][:, None].rsqrt()
        pleats = 1 - 0.16 * bell((torch.remainder(v - 0.1 * u * u, 0.42) - 0.2) / 0.035) * (u.abs() < 1.2)
        form = 1 - 0.35 * (u / width) ** 2 + 0.25 * lx * u / width - 0.18 * ((v - 1.4) / 1.3).clamp(-1, 1)
        lay("mask", rows, columns, hue[:, :, None, None] * (pleats * form)[:, None], torch.maximum(alpha, strap))
    if asked("hair"):
        rows, columns, u, v = canvas.box(-2.3, 2.3, -2.7, 2.2)
        x = u * column(side)
        mid = 0.35 + 0.55 * smooth(v, -2.0, 0.6) + 0.25 * smooth(v, -0.2, 1.8) + 0.25 * (column(r[:, 27]) - 0.5)
        wide = 0.34 * (1 - smooth(v, 0.0, 1.9)) + 0.05
        strands = canvas.tile(canvas.white, (v[0] * 5 + 300).long().expand(-1, u.shape[2]),
                              (u[0] * 40 + 300 - 8 * v[0]).long().expand(v.shape[1], -1), p["marks"][:, 15] * 500)
        d = (x - mid).abs() - wide
        alpha = smooth(-d + 0.03 * strands, -0.03, 0.05) * smooth(v, -2.6, -2.2) * smooth(-v, -2.0, -1.5)
        tone = p["c_hair"][:, :, None, None] * (0.85 + 0.18 * strands + 0.4 * bell((x - mid) / 0.12))[:, None]
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
            finger = 1.0 - 0.45 * (d / 0.145).clamp(0, 1.2) ** 2 - 0.12 * bell((along - length + 0.28) / 0.03)
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
        tone = torch.where(ball > 0.5, 0.035 + 0.05 * mesh + 0.35 * form, 0.02 + 0.10 * bell((du + 0.03) / 0.05))
        lay("microphone", rows, columns, tone[:, None], torch.maximum(ball, stem))
    return cover


