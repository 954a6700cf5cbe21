"""Convolution, BatchNorm and PReLU written out from their definitions, one number at a time, for oracles."""

import torch


def convolve(x, weight, bias):
    """3×3 cross-correlation with a border of zeros: (B, I, H, W), (O, I, 3, 3), (O,) → (B, O, H, W)."""
    (b, c_in, h, w), c_out = x.shape, len(weight)
    out = torch.zeros(b, c_out, h, w, dtype=x.dtype)
    for n in range(b):
        for o in range(c_out):
            for y in range(h):
                for z in range(w):
                    total = float(bias[o])
                    for i in range(c_in):
                        for dy in range(-1, 2):
                            for dz in range(-1, 2):
                                if 0 <= y + dy < h and 0 <= z + dz < w:
                                    total += float(x[n, i, y + dy, z + dz] * weight[o, i, dy + 1, dz + 1])
                    out[n, o, y, z] = total
    return out


def norm_act(x, gain, shift, eps, slope):
    """BatchNorm with the statistics of this batch, then PReLU; gain, shift and slope (C,)."""
    out = torch.zeros_like(x)
    for c in range(x.shape[1]):
        values = [float(v) for v in x[:, c].flatten()]
        mean = sum(values) / len(values)
        var = sum((v - mean) ** 2 for v in values) / len(values)
        z = (x[:, c] - mean) / (var + eps) ** 0.5 * gain[c] + shift[c]
        out[:, c] = torch.where(z > 0, z, slope[c] * z)
    return out
