"""How well scores rank fakes above reals: exact with ties, weighted, NaN where a class is missing.

Labels are 0 (real) or 1 (fake), scores grow with fakeness and need no bounds; only their order counts.
"""

import numpy as np


def cumulative(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights of reals and fakes at or above each distinct score, and those scores, from the highest down."""
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    scores, labels = np.asarray(scores, float)[order], np.asarray(labels)[order]
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, float)[order]
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True))
    return np.cumsum(weights * (labels == 0))[last], np.cumsum(weights * (labels == 1))[last], scores[last]


def roc_curve(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return false and true positive rates and thresholds, from (0, 0) at +inf down to (1, 1)."""
    false, true, thresholds = cumulative(labels, scores, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        fpr, tpr = np.append(0, false) / false[-1], np.append(0, true) / true[-1]
    return fpr, tpr, np.append(np.inf, thresholds)


def pr_curve(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and thresholds, from the highest threshold down."""
    false, true, thresholds = cumulative(labels, scores, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        return true / (true + false), true / true[-1], thresholds


def roc_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the probability that a fake scores above a real, ties counting half."""
    fpr, tpr, _ = roc_curve(labels, scores, weights)
    return float(np.trapezoid(tpr, fpr))


def average_precision(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the mean precision over recall steps, without interpolation."""
    if not np.any(np.asarray(labels) == 0):
        return float("nan")
    precision, recall, _ = pr_curve(labels, scores, weights)
    return (
        float(np.sum(np.diff(recall, prepend=0) * np.nan_to_num(precision)))
        if np.isfinite(recall[-1])
        else float("nan")
    )


def eer(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the rate at which false alarms equal misses, by linear interpolation along the ROC curve."""
    fpr, tpr, _ = roc_curve(labels, scores, weights)
    gap = fpr - (1 - tpr)
    if np.isnan(gap).any():
        return float("nan")
    after = int(np.argmax(gap >= 0))
    before = max(0, after - 1)
    step = gap[after] - gap[before]
    share = 0.0 if step == 0 else -gap[before] / step
    return float(fpr[before] + share * (fpr[after] - fpr[before]))
