"""Decisions at a threshold: everything at or above it is called fake."""

from typing import NamedTuple

import numpy as np

from dfd.metrics.ranking import count


class Decisions(NamedTuple):
    """Numbers (or weights) of reals called fake, fakes called fake, reals and fakes; all of one shape."""

    false: np.ndarray
    true: np.ndarray
    reals: np.ndarray
    fakes: np.ndarray


def columns(labels: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return, per row, what `Decisions` sums up, (N, 4)."""
    fake, called = np.asarray(labels) == 1, np.asarray(scores) >= threshold
    return np.stack([~fake & called, fake & called, ~fake, fake], 1).astype(float)


def decide(labels: np.ndarray, scores: np.ndarray, threshold: float) -> Decisions:
    """Count the decisions about all rows."""
    return Decisions(*columns(labels, scores, threshold).sum(0))


def right(d: Decisions) -> np.ndarray:
    """Return the accuracy: the share of right decisions."""
    return _share(d.true + d.reals - d.false, d.reals + d.fakes)


def balanced(d: Decisions) -> np.ndarray:
    """Return the balanced accuracy: the mean of the accuracies on reals and on fakes."""
    return (1 - false_rate(d) + true_rate(d)) / 2


def f1(d: Decisions) -> np.ndarray:
    """Return the harmonic mean of precision and recall on fakes; NaN without fakes."""
    return np.where(d.fakes > 0, _share(2 * d.true, d.true + d.false + d.fakes), np.nan)


def false_rate(d: Decisions) -> np.ndarray:
    """Return the false positive rate: the share of reals that are called fake."""
    return _share(d.false, d.reals)


def true_rate(d: Decisions) -> np.ndarray:
    """Return the true positive rate: the share of fakes that are called fake."""
    return _share(d.true, d.fakes)


def accuracy(labels: np.ndarray, scores: np.ndarray, threshold: float = 0.5) -> float:
    """Return the share of right decisions."""
    return float(right(decide(labels, scores, threshold)))


def threshold_at(labels: np.ndarray, scores: np.ndarray, fpr: float) -> float:
    """Return the lowest threshold whose false positive rate is at most `fpr`; just above all scores if none is."""
    counts = count(labels, scores)
    allowed = np.flatnonzero(counts.false <= fpr * counts.false[-1] + 1e-9)
    return float(counts.thresholds[allowed[-1]]) if len(allowed) else float(np.nextafter(counts.thresholds[0], np.inf))


def best_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the threshold of the best balanced accuracy, half-way to the next lower score; NaN for one class."""
    counts = count(labels, scores)
    if not counts.false[-1] or not counts.true[-1]:
        return float("nan")
    best = int(np.argmax(counts.true / counts.true[-1] - counts.false / counts.false[-1]))
    following = counts.thresholds[min(best + 1, len(counts.thresholds) - 1)]
    return float((counts.thresholds[best] + following) / 2)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.true_divide(part, whole)
