"""What lies over the head: hair and its shade, glasses, and what covers a part of the face."""

import torch

from . import anatomy
from .drawing import bell, column, outline, power, smooth, superellipse

OCCLUDERS: dict[str, tuple[int, ...]] = {  # D49 no trace under a cover
    "fringe": (1, 2, 4), "glasses_dark": (5, 6, 7, 43), "mask": (9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26),
}
"""What can cover a region of the face → the AUs whose own place it covers whatever the person."""
UNDER: dict[str, tuple[int, ...]] = {
    "fringe": tuple(range(10)), "glasses_dark": tuple(range(19, 31)), "mask": (*range(13, 19), *range(31, 49)),
}
"""The landmarks under each cover."""

# Per hair style: widening of the head, rise above the crown, how far down it reaches, half-width of the face
# window, cover (0 bald), unruliness of the outline, curls instead of strands, relief of the strands, sweep of the
# hairline.
STYLES = {
    "bald": (0.0, 0.0, -0.5, 1.62, 0.0, 0.0, 0, 1, 0), "cropped": (0.02, 0.03, 0.12, 1.66, 0.72, 0.004, 0.8, 0.7, 0.3),
    "short": (0.05, 0.16, 0.18, 1.60, 1.0, 0.010, 0, 1, 1), "quiff": (0.04, 0.32, 0.10, 1.61, 1.0, 0.020, 0, 1, 1.6),
    "medium": (0.20, 0.26, 1.00, 1.60, 1.0, 0.022, 0, 1, 1.4), "curly": (0.34, 0.34, 1.35, 1.57, 1.0, 0.040, 1, 1.5, 1),
    "long": (0.22, 0.22, 3.9, 1.54, 1.0, 0.012, 0, 1, 1.2), "afro": (0.46, 0.44, 0.75, 1.58, 1.0, 0.035, 1, 1.2, 0),
    "tied": (0.02, 0.08, 0.05, 1.64, 1.0, 0.004, 0, 1, 0.3), "scarf": (0.12, 0.12, 3.9, 1.50, 1.0, 0.0, 0, 0.12, 0.3),
}
SCARF = anatomy.HAIR.index("scarf")
STYLE_TABLE = torch.tensor([STYLES[name] for name in anatomy.HAIR])


def hair(p, canvas, albedo, gu, gv, gloss, cover, style, grain):
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


def shade(p, albedo, gu, gv, gloss):
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


def glasses(h, canvas, colour):
    kind = h["glasses"]
    if not bool((kind > 0).any()):
        return
    box, px = canvas.halves(0.0, 2.0, -0.80, 0.85), canvas.pixel
    x, v = box.x, box.v
    thick, worn = column((kind == 2).float()), column((kind > 0).float())
    line = 0.030 + 0.035 * thick
    qx, qy = ((x - 0.86).abs() - 0.26).clamp_min(0), ((v - 0.06).abs() - 0.17).clamp_min(0)
    d = (qx * qx + qy * qy).sqrt() - 0.16
    rim = ((line / 2 - d.abs()) / px + 0.5).clamp(0, 1)
    bridge = ((line / 2 - (v + 0.06 - 0.25 * x * x).abs()) / px + 0.5).clamp(0, 1) * (x < 0.44)
    arm = ((line / 2 - (v + 0.10).abs()) / px + 0.5).clamp(0, 1) * (x > 1.28) * (x < 1.75)
    lens = (0.5 - d / px).clamp(0, 1) * worn
    box.add(colour, (0.10 * lens * bell((x - 0.7 + 0.6 * v) / 0.10))[:, None])
    frame = h["marks"][:, 16:17] * colour.new_tensor([[0.10, 0.08, 0.07]]) + 0.008
    box.paint(colour, frame, torch.maximum(torch.maximum(rim, bridge), arm) * worn)


def occlude(p, canvas, colour, cover, occluded):
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
    return cover
