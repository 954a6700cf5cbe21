"""The head: skin, furrows, features, hair and what covers them, painted on the canvas in the frame of the head.

A feature's edge is a curve through its landmarks, so a landmark lies exactly where its feature is drawn. Furrows are
creases of Gaussian profile along curves; creases and bumps tilt the skin, and the tilt is what the light shows.
"""

import math

import numpy as np
import torch

from . import coverings
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
    smooth,
    superellipse,
    tilt,
)


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
    style = coverings.STYLE_TABLE.to(device)[p["hair"].long()]
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
    cover = coverings.hair(p, canvas, albedo, gu, gv, gloss, cover, style, grain)
    colour = coverings.shade(p, albedo, gu, gv, gloss)
    coverings.glasses(h, canvas, colour)
    occluded = torch.zeros_like(cover)
    cover = coverings.occlude(p, canvas, colour, cover, occluded)
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
    cx = 0.5 * (rest[:, 25, 0] + rest[:, 28, 0])
    cy = rest[:, [26, 27, 29, 30], 1].mean(1) - 0.010
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
