"""Related, rare and lasting labels: phi and its limits, bouts, and the latent normal variables that have them."""

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtri

_SMALLEST_EIGENVALUE = 0.01  # of a repaired correlation matrix; DISFA's own has 0.010
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


# --- pairs of AUs -----------------------------------------------------------------------------------------------


def phi(labels) -> np.ndarray:
    """Phi coefficients, the correlations of occurrence.

    labels: (..., A) with 1, 0 and −1 for unknown, which leaves that frame out of the pairs it concerns.
    Returns (A, A) float64; NaN where an AU is constant over the frames of a pair.
    """
    labels = _label_array(labels)
    frames = labels.reshape(-1, labels.shape[-1])
    yes, no = (frames == 1).astype(float), (frames == 0).astype(float)
    n11, n10, n01, n00 = yes.T @ yes, yes.T @ no, no.T @ yes, no.T @ no
    spread = (n11 + n10) * (n01 + n00) * (n11 + n01) * (n10 + n00)
    with np.errstate(invalid="ignore"):
        return np.where(spread > 0, n11 * n00 - n10 * n01, np.nan) / np.sqrt(spread)


def lowest_phi(rate_a, rate_b):
    """The lowest phi that two rates allow: both AUs together as rarely as the rates let them be.

    rate_a, rate_b: rates in (0, 1), numbers or arrays. Returns a number or an array.
    """
    a, b = np.asarray(rate_a, float), np.asarray(rate_b, float)
    if not (np.all((a > 0) & (a < 1)) and np.all((b > 0) & (b < 1))):
        raise ValueError(f"rates must be above 0 and below 1, got {rate_a} and {rate_b}")
    lowest = (np.maximum(a + b - 1, 0) - a * b) / np.sqrt(a * (1 - a) * b * (1 - b))
    return float(lowest) if lowest.ndim == 0 else lowest


def bouts(labels) -> list[np.ndarray]:
    """Lengths in frames of the uninterrupted runs of 1, one array per AU.

    labels: (..., frames, A) with 1, 0 and −1 for unknown, which ends a run. A run cut by the end of a clip counts
    with the length that was seen.
    """
    labels = _label_array(labels)
    if labels.ndim < 2:
        raise ValueError(f"labels must be (..., frames, AUs), got shape {labels.shape}")
    shown = (labels == 1).reshape(-1, *labels.shape[-2:]).transpose(2, 0, 1)  # (A, clips, frames)
    return [runs_of(one) for one in shown]


def runs_of(shown: np.ndarray) -> np.ndarray:
    """Run lengths of True along the last axis of (clips, frames)."""
    edges = np.diff(np.pad(shown.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    return np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1]


def _label_array(labels) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim == 0 or not np.isin(labels, (-1, 0, 1)).all():
        raise ValueError("labels must be an array of 1, 0 and -1 (unknown)")
    return labels


def _together(rate_a, rate_b, latent) -> np.ndarray:
    """P(both AUs shown) when their latent variables correlate by ``latent``; the arguments broadcast.

    d/dr of the bivariate normal probability is its density (Plackett 1954); integrated over r = sin(angle).
    """
    a, b = ndtri(1 - np.asarray(rate_a))[..., None], ndtri(1 - np.asarray(rate_b))[..., None]
    top = np.arcsin(np.asarray(latent, float))[..., None]
    angle = top * (_NODES + 1) / 2
    density = np.exp(-(a * a + b * b - 2 * a * b * np.sin(angle)) / (2 * np.cos(angle) ** 2))
    return rate_a * rate_b + (density * _WEIGHTS * top).sum(-1) / (4 * np.pi)


def phi_of(rate_a, rate_b, latent) -> np.ndarray:
    spread = np.sqrt(rate_a * (1 - rate_a) * rate_b * (1 - rate_b))
    return (_together(rate_a, rate_b, latent) - rate_a * rate_b) / spread


def rate_spread(rates, between) -> np.ndarray:
    """Standard deviation of the subjects' rates when ``between`` of the latent variance lies between subjects.

    Two frames of one subject have latents that correlate by ``between``: E[rate²] is the probability of both.
    """
    return np.sqrt(np.maximum(_together(rates, rates, between) - rates**2, 0))


def bisect(increasing, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Zero of an increasing function, element by element."""
    for _ in range(50):
        middle = (low + high) / 2
        above = increasing(middle) > 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


# --- correlation matrices ---------------------------------------------------------------------------------------


def _at_least(matrix: np.ndarray, floor: float) -> np.ndarray:
    """The nearest symmetric matrix whose eigenvalues are all at least ``floor``."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, floor)) @ vectors.T


def factor(matrix: np.ndarray) -> np.ndarray:
    """Lower triangular L with L Lᵀ = matrix, which may be singular (Cholesky stops there)."""
    values, vectors = np.linalg.eigh(matrix)
    lower = np.linalg.qr((vectors * np.sqrt(np.maximum(values, 0))).T)[1].T
    return lower * np.where(np.diag(lower) < 0, -1.0, 1.0)


def nearest_correlation(target: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """The positive definite correlation matrix nearest to ``target``, entries marked in ``fixed`` kept if possible.

    Higham 2002, alternating projections with Dykstra's correction. When no such matrix has the fixed entries, the
    last step keeps the matrix valid and gives up a little of them.
    """
    if np.linalg.eigvalsh(target)[0] >= _SMALLEST_EIGENVALUE:
        return target
    fixed = fixed | np.eye(len(target), dtype=bool)
    matrix, correction = target, np.zeros_like(target)
    for _ in range(5000):
        definite = _at_least(matrix + correction, _SMALLEST_EIGENVALUE)
        correction = matrix + correction - definite
        matrix = np.where(fixed, target, definite)
        if np.abs(matrix - definite).max() < 1e-9:
            break
    matrix = _at_least(matrix, _SMALLEST_EIGENVALUE)
    scale = np.sqrt(np.diag(matrix))
    return matrix / np.outer(scale, scale)


def between_subjects(latent: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """B: covariance between subjects with the given diagonal, so that B and W = latent − B both are covariances.

    The nearest such matrix to one with the correlations of ``latent`` (D45), by Dykstra's alternating projections.
    Where no such matrix exists (relations at the edge of what is possible), the whole of B is scaled down.
    """
    spread = np.sqrt(variances)
    margin = np.linalg.eigvalsh(latent)[0] / 2  # leaves every AU something of its own within subjects
    matrix = latent * np.outer(spread, spread)
    first, second = np.zeros_like(latent), np.zeros_like(latent)
    for _ in range(3000):
        upper = _at_least(matrix + first, 0)
        first = matrix + first - upper
        lower = latent - _at_least(latent - (upper + second), margin)
        second = upper + second - lower
        moved = np.abs(np.diag(lower) - variances).max()
        matrix = lower.copy()
        np.fill_diagonal(matrix, variances)
        if moved < 1e-9:
            break
    matrix = _at_least(matrix, 0)
    root = np.linalg.inv(factor(latent))
    return matrix * min(1.0, 1 / np.linalg.eigvalsh(root @ matrix @ root.T)[-1])


def smoothed(noise: np.ndarray, frames: float) -> np.ndarray:
    """Stationary smooth noise of variance 1: (clips, T + 2) white → (clips, T), correlated over ``frames`` frames.

    Second-order autoregression with a double root exp(−1/frames), critically damped: no jumps, no oscillation, so
    runs start and end once instead of flickering (D46). The first two columns draw its state before frame 0.
    """
    root = np.exp(-1 / frames)
    neighbours = 2 * root / (1 + root**2)  # correlation of two successive frames
    gain = np.sqrt((1 - root**2) ** 3 / (1 + root**2))  # makes the variance 1
    earlier = noise[:, 0]
    last = neighbours * earlier + np.sqrt(1 - neighbours**2) * noise[:, 1]
    state = np.stack([2 * root * last - root**2 * earlier, -(root**2) * last], axis=1)
    return lfilter([gain], [1, -2 * root, root**2], noise[:, 2:], axis=1, zi=state)[0]
