"""Expression: action units → displacement of the 49 landmarks and amplitudes of furrows and bulges.

Directions and signs on the skin follow the descriptions of FACS (Ekman, Friesen and Hager 2002). Amounts are ours
(D40; AU 26: D41, AU 43: D42): at intensity 1 (E) a brow rises by a quarter of a ruler and a lip corner by a fifth.
"""

import numpy as np
import torch

from ..facs import ACTION_UNITS
from ..landmarks import MIRROR
from .anatomy import AVERAGE_FACE

AUS: tuple[int, ...] = tuple(ACTION_UNITS)
"""The action units that the renderer knows, in the order of its rows: 1, 2, 4, 5, 6, 7, 9, 10, …, 26, 43."""

_INDEX = {au: i for i, au in enumerate(AUS)}

# Movement of the left half and the midline at full intensity, {AU: {point: (right, down)}}, in rulers.
MOVES: dict[int, dict[int, tuple[float, float]]] = {
    1: {4: (0.02, -0.27), 3: (0.02, -0.21), 2: (0.01, -0.09), 1: (0.0, -0.01), 10: (0.0, -0.02)},
    2: {0: (-0.02, -0.20), 1: (-0.01, -0.27), 2: (0.0, -0.20), 3: (0.0, -0.07), 4: (-0.01, -0.01), 20: (0.0, -0.015)},
    4: {4: (0.13, 0.21), 3: (0.11, 0.205), 2: (0.07, 0.155), 1: (0.04, 0.08), 0: (0.02, 0.03), 21: (0.0, 0.02),
        20: (0.0, 0.01), 10: (0.0, 0.03)},
    5: {20: (0.0, -0.095), 21: (0.0, -0.095)},
    6: {24: (0.0, -0.055), 23: (0.0, -0.045), 20: (0.0, 0.025), 19: (0.015, 0.0), 0: (0.03, 0.05), 1: (0.01, 0.03)},
    7: {24: (0.0, -0.075), 23: (0.0, -0.08), 20: (0.0, 0.04), 21: (0.0, 0.035), 19: (0.015, 0.0)},
    9: {4: (0.05, 0.11), 3: (0.03, 0.08), 2: (0.01, 0.03), 11: (0.0, -0.04), 12: (0.0, -0.06), 13: (0.0, -0.06),
        14: (-0.02, -0.13), 15: (-0.01, -0.10), 16: (0.0, -0.06), 21: (0.0, 0.02), 23: (0.0, -0.05),
        24: (0.0, -0.03), 32: (0.0, -0.07), 33: (0.0, -0.09), 34: (0.0, -0.08), 43: (0.0, -0.03),
        44: (0.0, -0.03), 47: (0.0, -0.03), 48: (0.0, -0.03), 31: (0.0, -0.02)},
    10: {31: (-0.01, -0.03), 32: (-0.02, -0.14), 33: (-0.02, -0.15), 34: (0.0, -0.12), 43: (-0.01, -0.06),
         44: (0.0, -0.05), 48: (-0.01, -0.05), 47: (0.0, -0.045), 14: (-0.03, -0.07), 15: (-0.01, -0.04),
         13: (0.0, -0.02), 23: (0.0, -0.015)},
    12: {31: (-0.19, -0.20), 32: (-0.12, -0.085), 33: (-0.04, 0.01), 34: (0.0, 0.025), 42: (-0.12, -0.10),
         41: (-0.04, -0.015), 40: (0.0, 0.0), 43: (-0.07, -0.01), 44: (0.0, 0.02), 48: (-0.07, -0.01),
         47: (0.0, 0.02), 14: (-0.04, -0.02), 24: (0.0, -0.02), 23: (0.0, -0.01)},
    14: {31: (0.04, -0.02), 32: (0.02, 0.045), 33: (0.0, 0.015), 42: (0.02, -0.055), 41: (0.0, -0.02),
         34: (0.0, 0.01), 40: (0.0, -0.015)},
    15: {31: (-0.02, 0.22), 32: (-0.02, 0.11), 33: (0.0, 0.02), 42: (-0.03, 0.11), 41: (0.0, 0.02), 43: (0.0, 0.05),
         48: (0.0, 0.05)},
    17: {31: (0.01, 0.06), 32: (0.0, -0.01), 33: (0.0, -0.07), 34: (0.0, -0.08), 40: (0.0, -0.17), 41: (0.0, -0.16),
         42: (0.0, -0.06), 43: (0.0, -0.07), 44: (0.0, -0.10), 47: (0.0, -0.10), 48: (0.0, -0.07)},
    20: {31: (-0.23, 0.0), 32: (-0.16, 0.035), 33: (-0.06, 0.03), 34: (0.0, 0.03), 42: (-0.17, -0.03),
         41: (-0.07, -0.05), 40: (0.0, -0.055), 43: (-0.08, -0.005), 48: (-0.08, -0.005)},
    23: {31: (0.17, 0.0), 32: (0.115, 0.05), 33: (0.055, 0.06), 34: (0.0, 0.06), 42: (0.115, -0.06),
         41: (0.055, -0.085), 40: (0.0, -0.085), 43: (0.07, 0.0), 48: (0.07, 0.0)},
    24: {31: (0.02, 0.01), 32: (0.01, 0.07), 33: (0.0, 0.105), 34: (0.0, 0.10), 42: (0.01, -0.105),
         41: (0.0, -0.15), 40: (0.0, -0.155)},
    25: {32: (0.0, -0.015), 33: (0.0, -0.03), 34: (0.0, -0.03), 42: (0.0, 0.09), 41: (0.0, 0.115), 40: (0.0, 0.115),
         43: (-0.02, -0.035), 44: (0.0, -0.035), 48: (-0.03, 0.11), 47: (0.0, 0.12), 31: (0.02, 0.01)},
    26: {31: (0.09, 0.10), 32: (0.05, 0.02), 33: (0.01, 0.01), 34: (0.0, 0.01), 42: (0.03, 0.29), 41: (-0.03, 0.325),
         40: (0.0, 0.325), 43: (-0.01, 0.01), 44: (0.0, 0.005), 48: (-0.03, 0.21), 47: (0.0, 0.22)},
}

SIDED = np.array([0.25 if au in (17, 23, 24, 25, 26) else 0.5 if au in (5, 43) else 1.0 for au in AUS])
"""How much of a person's natural asymmetry each AU shows: those of the midline and the lids show little (D43)."""

CHIN_DROP = {26: 0.36, 17: -0.09, 25: 0.02}
"""How far the chin falls at full intensity, in rulers."""

# Weakened by another: an AU at full intensity takes this share from the effect of the first.
YIELDS: dict[tuple[int, int], float] = {
    (5, 43): 1.0, (7, 6): 0.35, (6, 7): 0.15, (10, 9): 0.35, (10, 12): 0.25, (12, 15): 0.30, (15, 12): 0.30,
    (23, 24): 0.50, (24, 23): 0.30, (25, 24): 0.60, (25, 23): 0.25, (24, 25): 0.50, (25, 17): 0.45, (26, 17): 0.25,
    (26, 24): 0.50, (24, 26): 0.35, (23, 26): 0.25, (25, 26): -0.45, (2, 4): 0.20, (14, 12): 0.25, (14, 25): 0.2,
    (20, 12): 0.40, (23, 12): 0.30, (20, 23): 0.30, (15, 26): 0.25, (17, 26): 0.45, (17, 25): 0.15,
}


def _basis():
    """(2, A, 49, 2): movement of every point by the left and by the right half of each AU."""
    moves = np.zeros((2, len(AUS), 49, 2))
    for au, points in MOVES.items():
        for i, (du, dv) in points.items():
            j = MIRROR[i]
            share = 0.5 if i == j else 1.0
            moves[0, _INDEX[au], i] += np.array([du, dv]) * share
            moves[1, _INDEX[au], j] += np.array([-du, dv]) * share
    return moves


BASIS = _basis()


def displacements(au: int) -> np.ndarray:
    """Movement of the 49 landmarks of the average face by one AU at full intensity on both sides, (49, 2) rulers."""
    if au not in _INDEX:
        raise ValueError(f"unknown action unit {au}: choose from {', '.join(map(str, AUS))}")
    one = np.zeros((1, len(AUS), 2))
    one[0, _INDEX[au]] = 1
    return move(AVERAGE_FACE[None], one)[0] - AVERAGE_FACE


def read_aus(aus) -> np.ndarray:
    """{AU: intensity or (left, right)}, (N, 18) or (N, 18, 2) → (N, 18, 2) float64, left and right of the image."""
    if isinstance(aus, dict):
        values = np.zeros((1, len(AUS), 2))
        for au, x in aus.items():
            if au not in _INDEX:
                raise ValueError(f"aus: unknown action unit {au!r}, choose from {', '.join(map(str, AUS))}")
            try:
                values[0, _INDEX[au]] = np.broadcast_to(np.asarray(x, dtype=np.float64), (2,))
            except (TypeError, ValueError):
                raise ValueError(f"aus[{au}] must be a number or a (left, right) pair, got {x!r}") from None
    else:
        try:
            values = np.asarray(aus.detach().cpu() if isinstance(aus, torch.Tensor) else aus, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"aus must be a dictionary or numbers, got {type(aus).__name__}") from None
        if values.shape[1:] not in ((len(AUS),), (len(AUS), 2)) or len(values) == 0:
            raise ValueError(f"aus must be of shape (N, {len(AUS)}) or (N, {len(AUS)}, 2), got {values.shape}")
        if values.ndim == 2:
            values = np.repeat(values[..., None], 2, axis=-1)
    bad = ~((values >= 0) & (values <= 1))
    if bad.any():
        row, column, side = np.argwhere(bad)[0]
        raise ValueError(f"aus: intensity of AU{AUS[column]} must lie between 0 and 1, got {values[row, column, side]}")
    return values


def effective(aus: np.ndarray) -> np.ndarray:
    """Intensities (N, A, 2) after what acts on the same skin has been shared out (``YIELDS``); same shape."""
    result = aus.copy()
    for (au, by), share in YIELDS.items():
        result[:, _INDEX[au]] -= share * aus[:, _INDEX[au]] * aus[:, _INDEX[by]]
    return result.clip(0, 1.5)


def move(face: np.ndarray, aus: np.ndarray) -> np.ndarray:
    """Landmarks of the resting face (N, 49, 2) after the AUs (N, A, 2)."""
    moved = face + np.einsum("nas,saij->nij", effective(aus), BASIS)
    # 1+4: the corrugator pulls inwards, but cannot lower what the frontalis holds up.
    held = 0.75 * aus[:, _INDEX[1]] * aus[:, _INDEX[4]]
    moved[..., 1] -= np.einsum("ns,si->ni", held, BASIS[:, _INDEX[4], :, 1]) * (np.arange(49) < 10)
    # Lids close along the way to the lower lid; they cannot pass it.
    for s, (upper, lower) in enumerate((((20, 21), (24, 23)), ((27, 26), (29, 30)))):
        shut = 1 - (1 - aus[:, _INDEX[43], s].clip(0, 1)) ** 1.5
        low = moved[:, lower, :] + np.array([0, 0.01])
        moved[:, lower, 1] += (0.02 * shut)[:, None]
        moved[:, upper, :] += shut[:, None, None] * (low - moved[:, upper, :])
        gap = moved[:, lower, 1] - moved[:, upper, 1]
        moved[:, upper, 1] -= np.clip(0.02 - gap, 0, None)
    # Lips meet instead of crossing, and keep some of their red.
    down = moved[..., 1]
    for top, inner_top, inner_low, low in ((33, 43, 48, 41), (34, 44, 47, 40), (35, 45, 46, 39)):
        push = np.clip(0.003 - (down[:, inner_low] - down[:, inner_top]), 0, None) / 2
        down[:, inner_top] -= push
        down[:, inner_low] += push
        down[:, top] = np.minimum(down[:, top], down[:, inner_top] - 0.03)
        down[:, low] = np.maximum(down[:, low], down[:, inner_low] + 0.03)
    return moved


def chin_drop(aus: np.ndarray) -> np.ndarray:
    """How far the chin moves down, (N, A, 2) → (N,) rulers."""
    strength = effective(aus).mean(-1)
    return sum(share * strength[:, _INDEX[au]] for au, share in CHIN_DROP.items())


def furrows(aus: np.ndarray, age: np.ndarray) -> dict[str, np.ndarray]:
    """Depth of each furrow and bulge, left and right: {name: (N, 2)}, 1 = the deepest of a middle-aged face.

    Age leaves resting furrows that look like weak AUs, which is what makes coding old faces hard.
    """
    a = {au: aus[:, i] for au, i in _INDEX.items()}
    old = np.clip(age - 0.25, 0, None)[:, None]
    deep = (0.75 + 0.5 * age)[:, None]  # the same movement folds old skin deeper
    result = {
        "forehead_middle": a[1] * (1 - 0.3 * a[4]) + 0.35 * old,
        "forehead_side": a[2] + 0.30 * old,
        "glabella": np.maximum(a[4], 0.45 * a[9]) + 0.25 * old,
        "crows_feet": np.maximum(a[6], 0.25 * a[7]) + 0.35 * old,
        "under_eye": np.maximum(0.9 * a[6], 0.7 * a[7]) + 0.35 * old,
        "nose_root": a[9],
        "nasolabial_top": np.maximum.reduce([a[9], 0.9 * a[10], 0.45 * a[12]]) + 0.25 * old,
        "nasolabial_low": np.maximum.reduce([0.45 * a[10], 0.95 * a[12], 0.2 * a[9], 0.3 * a[20]]) + 0.30 * old,
        "dimple": a[14],
        "marionette": np.maximum(a[15], 0.2 * a[17]) + 0.25 * old,
        "chin": a[17],
        "mentolabial": np.maximum(0.9 * a[17], 0.4 * a[15]),
        "lip_wrinkles": np.maximum(a[23], 0.25 * a[24]),
        "side_mouth": a[20],
    }
    return {k: x * deep for k, x in result.items()} | {
        "brow_bulge": a[4], "cheek": 1 - (1 - 0.9 * a[6]) * (1 - 0.7 * a[12]), "pouch": np.maximum(a[7], 0.5 * a[6]),
        "press": a[24], "square": a[10], "flare": np.maximum(a[9], 0.5 * a[10]), "pull": a[12], "down": a[15],
        "roll": np.maximum(a[23], a[24]), "tight": a[23] * (1 - 0.5 * a[24]), "lid": a[43], "wide": a[5],
    }
