"""How well AUs and landmarks are found: F1, AUC and accuracy without unknown labels, and landmark error.

Counts come first and everything else from them: counts of frames can be added over videos, subjects and folds, which
F1 cannot (D90). Arrays are NumPy; tensors are welcome too.
"""

import numpy as np
from sklearn.metrics import roc_auc_score

from ..landmarks import interocular


def floor_f1(rate):
    r"""F1 in percent of always saying yes to an AU of the given rate: precision is the rate, recall is 1.

    .. math:: F_1 = 100 \cdot \frac{2 r}{1 + r}
    """
    rate = np.asarray(rate, dtype=np.float64)
    return 100 * 2 * rate / (1 + rate)


def at_threshold(probabilities, labels, threshold: float, rate: float | None = None) -> dict[str, float]:
    """Precision, recall, F1 and floor in percent of one AU at a threshold, and (N,) arrays are all it takes.

    ``rate`` asks what the same detector would score were the AU shown in that share of the frames: what it does on
    frames with and on frames without the AU stays, only their mixture changes. Unknown labels (−1) are left out;
    ValueError unless both kinds of frames are there.
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if p.shape != y.shape or p.ndim != 1:
        raise ValueError(f"one probability per label is needed, got {p.shape} and {y.shape}")
    if not (y == 1).any() or not (y == 0).any():
        raise ValueError("a threshold needs frames that show the AU and frames that do not")
    if rate is not None and not 0 < rate < 1:
        raise ValueError(f"a base rate must lie between 0 and 1, got {rate}")
    r = float((y == 1).sum() / (y >= 0).sum()) if rate is None else rate
    found, alarms = float((p[y == 1] >= threshold).mean()), float((p[y == 0] >= threshold).mean())
    tp, fp, fn = r * found, (1 - r) * alarms, r * (1 - found)
    return {"precision": 100 * tp / (tp + fp) if tp + fp > 0 else 0.0, "recall": 100 * found,
            "f1": 100 * 2 * tp / (2 * tp + fp + fn), "floor": float(floor_f1(r)), "rate": r}


COUNTS = ("tp", "fp", "fn", "tn")
FAILURE_PERCENT = 10.0


def counts(au_logits, labels) -> dict[str, np.ndarray]:
    """tp, fp, fn, tn per AU, each (A,) int64, from logits (N, A) and labels (N, A) in {1, 0, −1 unknown}.

    An AU is predicted where its probability is at least 0.5, its logit at least 0 (D28). Unknown labels count nowhere.
    """
    logits, labels = checked_logits(au_logits, labels)
    predicted, positive, negative = logits >= 0, labels == 1, labels == 0
    hits = (predicted & positive, predicted & negative, ~predicted & positive, ~predicted & negative)
    return {name: hit.sum(0) for name, hit in zip(COUNTS, hits, strict=True)}


def f1_from_counts(count: dict) -> np.ndarray:
    """F1 = 2 tp / (2 tp + fp + fn) in percent, from counts of any shape (…, A) → (…, A).

    An AU that neither occurs nor is predicted (0 / 0) scores 0, as in scikit-learn; one without known labels is NaN.
    """
    tp, fp, fn, tn = (np.asarray(count[name], dtype=np.float64) for name in COUNTS)
    f1 = 100 * 2 * tp / np.maximum(2 * tp + fp + fn, 1)
    return np.where(tp + fp + fn + tn > 0, f1, np.nan)


def accuracy_from_counts(count: dict) -> np.ndarray:
    """Share of known frames told rightly, in percent, (…, A) → (…, A); NaN without any known label."""
    tp, fp, fn, tn = (np.asarray(count[name], dtype=np.float64) for name in COUNTS)
    known = tp + fp + fn + tn
    return np.where(known > 0, 100 * (tp + tn) / np.maximum(known, 1), np.nan)


def auc(au_logits, labels) -> np.ndarray:
    """Area under the ROC curve per AU in percent, (A,); NaN where the known labels are all the same."""
    logits, labels = checked_logits(au_logits, labels)
    result = np.full(labels.shape[1], np.nan)
    for a, label in enumerate(labels.T):
        known = label >= 0
        if len(np.unique(label[known])) == 2:
            result[a] = 100 * roc_auc_score(label[known], logits[known, a])
    return result


def always_positive_f1(labels) -> list[float]:
    """The F1 (%) of saying yes to every frame, 2 r / (1 + r) for an AU of rate r: the floor to clear, A numbers.

    NaN for an AU without any known label, as any other F1: means of the two are then over the same AUs."""
    labels = as_array(labels)
    return f1_from_counts(counts(np.zeros(labels.shape), labels)).tolist()


def summarise(au_logits, labels, subjects=None) -> dict:
    """All AU measures of one output, as plain lists and numbers for JSON.

    Shape: au_logits (N, A), labels (N, A) in {1, 0, −1 unknown}, subjects (N,) names or None. Returned: f1, auc,
    accuracy per AU and their means over AUs in percent (None where undefined, which the means leave out), counts, and
    the counts of each subject.
    """
    logits, labels = checked_logits(au_logits, labels)
    total = counts(logits, labels)
    measures = {"f1": f1_from_counts(total), "auc": auc(logits, labels), "accuracy": accuracy_from_counts(total)}
    result = {}
    for name, values in measures.items():
        result[name] = [or_none(v) for v in values]
        result[f"mean_{name}"] = mean_or_none(values)
    result["counts"] = as_lists(total)
    subjects = np.asarray([] if subjects is None else subjects)
    if len(subjects) not in (0, len(labels)):
        raise ValueError(f"{len(labels)} frames but {len(subjects)} subjects")
    result["per_subject"] = {
        str(s): as_lists(counts(logits[subjects == s], labels[subjects == s])) for s in np.unique(subjects)
    }
    return result


def landmark_nme(predicted, truth) -> np.ndarray:
    """Mean distance of the 49 points over the true inter-ocular distance, in percent: (N, 49, 2) twice → (N,)."""
    predicted, truth = (as_array(p).astype(np.float64) for p in (predicted, truth))
    if predicted.shape != truth.shape:
        raise ValueError(f"predicted landmarks {predicted.shape} and true ones {truth.shape} differ in shape")
    distance = np.linalg.norm(predicted - truth, axis=-1).mean(-1)
    return 100 * distance / interocular(truth)


def landmark_errors(predicted, truth) -> dict:
    """Mean error of faces (NME) and the share of faces with an error above 10 %, both in percent."""
    errors = landmark_nme(predicted, truth)
    return {"nme_percent": float(errors.mean()), "failure_percent": float(100 * (errors > FAILURE_PERCENT).mean())}


def checked_logits(au_logits, labels) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays; ValueError unless they are (N, A), the logits finite and the labels 1, 0 or −1."""
    logits, labels = as_array(au_logits), as_array(labels)
    if logits.shape != labels.shape or labels.ndim != 2:
        raise ValueError(f"logits and labels must both be (N, A), got {logits.shape} and {labels.shape}")
    if not np.isfinite(logits).all():
        raise ValueError("logits must be finite: the model has diverged")
    if not np.isin(labels, (-1, 0, 1)).all():
        raise ValueError("labels must be 1, 0 or -1 (unknown)")
    return logits, labels


def as_array(values) -> np.ndarray:
    return np.asarray(values.detach().float().cpu() if hasattr(values, "detach") else values)


def as_lists(count: dict) -> dict:
    return {name: [int(v) for v in values] for name, values in count.items()}


def or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def mean_or_none(values) -> float | None:
    known = [value for value in values if value is not None and not np.isnan(value)]
    return float(np.mean(known)) if known else None
