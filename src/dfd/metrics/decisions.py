"""How right decisions at a threshold are: everything at or above it is called fake."""

from typing import NamedTuple

import numpy as np

from dfd.metrics.ranking import Counts, count


class Decisions(NamedTuple):
    """Weights of reals called fake, fakes called fake, reals and fakes; all of one shape."""

    false: np.ndarray
    true: np.ndarray
    reals: np.ndarray
    fakes: np.ndarray


def decide(counts: Counts, threshold: float) -> Decisions:
    """Return what is decided at a threshold; exact where the counts have a step at the first score above it."""
    last = int(np.searchsorted(-counts.thresholds, -threshold, side="right")) - 1
    false, true = (side[..., last] if last >= 0 else np.zeros(side.shape[:-1]) for side in counts[:2])
    return Decisions(false, true, counts.false[..., -1], counts.true[..., -1])


def right(counts: Counts, threshold: float = 0.5) -> np.ndarray:
    """Return the share of right decisions."""
    d = decide(counts, threshold)
    return (d.true + d.reals - d.false) / (d.reals + d.fakes)


def balanced(counts: Counts, threshold: float = 0.5) -> np.ndarray:
    """Return the mean of the shares of right decisions on reals and on fakes."""
    return (1 - false_rate(counts, threshold) + true_rate(counts, threshold)) / 2


def f1(counts: Counts, threshold: float = 0.5) -> np.ndarray:
    """Return the harmonic mean of precision and recall on fakes; NaN without fakes."""
    d = decide(counts, threshold)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(d.fakes > 0, 2 * d.true / (d.true + d.false + d.fakes), np.nan)


def false_rate(counts: Counts, threshold: float = 0.5) -> np.ndarray:
    """Return the share of reals that are called fake."""
    d = decide(counts, threshold)
    with np.errstate(invalid="ignore", divide="ignore"):
        return d.false / d.reals


def true_rate(counts: Counts, threshold: float = 0.5) -> np.ndarray:
    """Return the share of fakes that are called fake."""
    d = decide(counts, threshold)
    with np.errstate(invalid="ignore", divide="ignore"):
        return d.true / d.fakes


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


def accuracy(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None, threshold: float = 0.5
) -> float:
    """Return the share of right decisions."""
    return float(right(count(labels, scores, weights), threshold))
