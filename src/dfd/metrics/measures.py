"""Named metrics in the two forms that can be resampled fast: functions of counts, and functions of sums over rows."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from dfd.metrics import decisions, probabilities, ranking
from dfd.metrics.ranking import Counts


class OfCounts(NamedTuple):
    """A function of the counts along the thresholds; exact at the `thresholds` it names."""

    of: Callable[[Counts], np.ndarray]
    thresholds: tuple[float, ...] = ()


class OfSums(NamedTuple):
    """A function of sums: `rows(labels, scores)` gives (N, M), `of(sums (..., M), total weight (...,))` the value."""

    rows: Callable[[np.ndarray, np.ndarray], np.ndarray]
    of: Callable[[np.ndarray, np.ndarray], np.ndarray]


Metric = OfCounts | OfSums

RANKING: Mapping[str, OfCounts] = {
    "auc": OfCounts(ranking.area),
    "pauc": OfCounts(partial(ranking.partial_area, max_fpr=0.1)),
    "ap": OfCounts(ranking.mean_precision),
    "eer": OfCounts(ranking.equal_error),
    "tpr_1": OfCounts(partial(ranking.recall_at, fpr=0.01)),
    "tpr_5": OfCounts(partial(ranking.recall_at, fpr=0.05)),
    "tpr_10": OfCounts(partial(ranking.recall_at, fpr=0.1)),
}


def deciding(threshold: float) -> dict[str, OfCounts]:
    """Return the metrics of decisions at a threshold."""
    functions = {
        "accuracy": decisions.right,
        "balanced_accuracy": decisions.balanced,
        "f1": decisions.f1,
        "fpr": decisions.false_rate,
        "tpr": decisions.true_rate,
    }
    return {name: OfCounts(partial(f, threshold=threshold), (threshold,)) for name, f in functions.items()}


def judging(clip: float = probabilities.CLIP) -> dict[str, OfSums]:
    """Return the metrics of probabilities."""
    return {
        "log_loss": OfSums(lambda labels, scores: probabilities.log_losses(labels, scores, clip)[:, None], _mean),
        "brier": OfSums(lambda labels, scores: probabilities.brier_losses(labels, scores)[:, None], _mean),
        "ece": OfSums(probabilities.excesses, lambda sums, total: np.abs(sums).sum(-1) / total),
    }


def names() -> tuple[str, ...]:
    """Return what every metric is called."""
    return (*RANKING, *deciding(0.5), *judging())


def evaluate(
    metrics: Mapping[str, Metric], labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return every metric's value on these rows, exactly."""
    counts = ranking.count(labels, scores, weights)
    weights = np.ones(len(labels)) if weights is None else weights
    return {
        name: metric.of(counts)
        if isinstance(metric, OfCounts)
        else metric.of(weights @ metric.rows(labels, scores), weights.sum())
        for name, metric in metrics.items()
    }


def _mean(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
    return sums[..., 0] / total
