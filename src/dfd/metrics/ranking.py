"""Ranking metrics: ROC and precision-recall curves and what is read off them; exact with ties, weighted.

Labels are 0 (real) or 1 (fake); scores grow with fakeness and need no bounds, since only their order counts. A missing
class gives NaN. Every metric is a function of `Counts`, whose leading axes may be thousands of resamples: an estimate
and its interval are one code.
"""

from typing import NamedTuple

import numpy as np


class Counts(NamedTuple):
    """Weights of reals and fakes at or above each threshold, from the highest down.

    false, true: (..., K), not falling along the last axis, whose end holds the totals. thresholds: (K,).
    """

    false: np.ndarray
    true: np.ndarray
    thresholds: np.ndarray


def count(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> Counts:
    """Count at every distinct score."""
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    scores, labels = np.asarray(scores, float)[order], np.asarray(labels)[order]
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, float)[order]
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    return Counts(np.cumsum(weights * (labels == 0))[last], np.cumsum(weights * (labels == 1))[last], scores[last])


def rates(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    """Return false and true positive rates (..., K + 1) from (0, 0) to (1, 1); NaN where a class is missing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return tuple(_from_zero(side) / side[..., -1:] for side in counts[:2])


def area(counts: Counts) -> np.ndarray:
    """Return the area under the ROC curve: the probability that a fake scores above a real, ties counting half."""
    false, true, _ = counts
    steps, rises = np.diff(false, prepend=0), np.diff(true, prepend=0)
    won = np.einsum("...k,...k->...", steps, true) - np.einsum("...k,...k->...", steps, rises) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return won / (false[..., -1] * true[..., -1])


def partial_area(counts: Counts, max_fpr: float = 0.1) -> np.ndarray:
    """Return the area up to a false positive rate, scaled so that chance is 0.5 and perfection 1 (McClish 1989)."""
    fpr, tpr = rates(counts)
    width = np.diff(np.minimum(fpr, max_fpr))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.nan_to_num(width / np.diff(fpr))  # of the step that lies left of the limit
    partial = (width * (tpr[..., :-1] + share * np.diff(tpr) / 2)).sum(-1)
    chance = max_fpr**2 / 2
    return (1 + (partial - chance) / (max_fpr - chance)) / 2


def mean_precision(counts: Counts) -> np.ndarray:
    """Return the mean precision over recall steps, without interpolation."""
    false, true, _ = counts
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(true / (true + false))
        value = (np.diff(true, prepend=0) * precision).sum(-1) / true[..., -1]
    return np.where(false[..., -1] > 0, value, np.nan)


def balanced_precision(counts: Counts) -> np.ndarray:
    """Return the mean precision if both classes weighed alike: comparable between tables of different prevalence."""
    false, true, thresholds = counts
    with np.errstate(invalid="ignore", divide="ignore"):
        return mean_precision(Counts(false / false[..., -1:], true / true[..., -1:], thresholds))


def equal_error(counts: Counts) -> np.ndarray:
    """Return the rate at which false alarms equal misses, by linear interpolation along the ROC curve."""
    fpr, tpr = rates(counts)
    gap = fpr + tpr - 1
    after = np.maximum(1, np.argmax(gap >= 0, axis=-1))[..., None]
    start, end = (np.take_along_axis(gap, at, -1) for at in (after - 1, after))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(end > start, -start / (end - start), 0.0)
    left, right = (np.take_along_axis(fpr, at, -1) for at in (after - 1, after))
    return np.where(np.isnan(gap[..., -1]), np.nan, (left + share * (right - left))[..., 0])


def recall_at(counts: Counts, fpr: float | np.ndarray) -> np.ndarray:
    """Return the best true positive rate that a threshold reaches at false positive rates up to `fpr` (M,).

    Nothing is interpolated: what is promised can be had. The result is (...,), or (..., M) for several rates.
    """
    false, true = rates(counts)
    wanted = np.atleast_1d(np.asarray(fpr, float))
    # a rate that is meant to be hit exactly must not be missed by a rounding error
    if len(wanted) < 8:
        last = np.stack([(false <= rate + 1e-12).sum(-1) - 1 for rate in wanted], -1)
    else:
        rows = false.reshape(-1, false.shape[-1])
        last = np.stack([np.searchsorted(row, wanted + 1e-12, side="right") - 1 for row in rows])
    last = np.maximum(last, 0).reshape(*false.shape[:-1], len(wanted))  # rates that are NaN stay so below
    found = np.take_along_axis(true, last, -1)
    found = np.where(np.isnan(false[..., -1:]), np.nan, found)
    return found if np.ndim(fpr) else found[..., 0]


def precision_at(counts: Counts, recall: np.ndarray) -> np.ndarray:
    """Return the precision (..., M) at the highest threshold that reaches each recall (M,)."""
    false, true, _ = counts
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(true / (true + false))
    rows = (true / np.maximum(true[..., -1:], 1e-300)).reshape(-1, true.shape[-1])
    first = np.stack([np.searchsorted(row, recall - 1e-12) for row in rows]).clip(max=true.shape[-1] - 1)
    return np.take_along_axis(precision, first.reshape(*true.shape[:-1], len(recall)), -1)


def roc_curve(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return false and true positive rates and thresholds, from (0, 0) at +inf down to (1, 1)."""
    counts = count(labels, scores, weights)
    return *rates(counts), np.append(np.inf, counts.thresholds)


def pr_curve(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and thresholds, from the highest threshold down."""
    false, true, thresholds = count(labels, scores, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        return true / (true + false), true / true[-1], thresholds


def roc_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the area under the ROC curve."""
    return float(area(count(labels, scores, weights)))


def average_precision(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the mean precision over recall steps."""
    return float(mean_precision(count(labels, scores, weights)))


def precision_area(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the area under precision over recall by trapezoids; more optimistic than average precision."""
    precision, recall, _ = pr_curve(labels, scores, weights)
    if not len(precision) or np.isnan(recall[-1]) or precision[-1] == 1:
        return average_precision(labels, scores, weights)
    return float(np.trapezoid(np.append(1, precision), np.append(0, recall)))


def eer(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the equal error rate."""
    return float(equal_error(count(labels, scores, weights)))


def _from_zero(side: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros((*side.shape[:-1], 1)), side], -1)
