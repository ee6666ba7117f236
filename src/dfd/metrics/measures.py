"""Named metrics in two forms whose intervals are fast: functions of counts, and functions of sums over rows."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from dfd.metrics import decisions, influence, probabilities, ranking
from dfd.metrics.influence import Influence
from dfd.metrics.intervals import Scale
from dfd.metrics.ranking import Counts

Erring = Literal["all", "both", "reals", "fakes"]
DecisionRate = Callable[[decisions.Decisions], np.ndarray]


class OfCounts(NamedTuple):
    """A function of the counts along the thresholds.

    Without `influence` a metric steps: it is a quantile, whose leave-one-out variance is inconsistent, so that its
    standard error comes from the bootstrap. `scale` and `erring` (whose groups can be wrong) say how its interval is
    made; without a scale it has none.
    """

    of: Callable[[Counts], np.ndarray]
    influence: Callable[[Counts], Influence] | None = None
    scale: Scale | None = "logit"
    erring: Erring = "both"


class OfSums(NamedTuple):
    """A function of sums: `rows(labels, scores)` gives (N, M), `of(sums (..., M), total weight (...,))` the value."""

    rows: Callable[[np.ndarray, np.ndarray], np.ndarray]
    of: Callable[[np.ndarray, np.ndarray], np.ndarray]
    scale: Scale | None = "logit"
    erring: Erring = "all"


Metric = OfCounts | OfSums

AUC: Mapping[str, OfCounts] = {"auc": OfCounts(ranking.area, influence.of_area)}
RATES: Mapping[str, float] = {"tpr_1": 0.01, "tpr_5": 0.05, "tpr_10": 0.1}
RANKING: Mapping[str, OfCounts] = {
    **AUC,
    "pauc": OfCounts(partial(ranking.partial_area, max_fpr=0.1), partial(influence.of_partial_area, max_fpr=0.1)),
    "ap": OfCounts(ranking.mean_precision, influence.of_mean_precision),
    "ap_balanced": OfCounts(ranking.balanced_precision, influence.of_balanced_precision),
    "eer": OfCounts(ranking.equal_error),
    **{name: OfCounts(partial(ranking.recall_at, fpr=rate)) for name, rate in RATES.items()},
}


def deciding(threshold: float) -> dict[str, OfSums]:
    """Return the metrics of decisions at a threshold."""
    rows = partial(decisions.columns, threshold=threshold)
    functions: dict[str, tuple[DecisionRate, Erring]] = {
        "accuracy": (decisions.right, "all"),
        "balanced_accuracy": (decisions.balanced, "both"),
        "f1": (decisions.f1, "all"),
        "fpr": (decisions.false_rate, "reals"),
        "tpr": (decisions.true_rate, "fakes"),
    }
    return {name: OfSums(rows, partial(_of_decisions, f), erring=erring) for name, (f, erring) in functions.items()}


def judging(clip: float = probabilities.CLIP) -> dict[str, OfSums]:
    """Return the metrics of probabilities."""
    return {
        "log_loss": OfSums(partial(_log_losses, clip=clip), _mean, "log"),
        "brier": OfSums(_brier_losses, _mean, "log"),
        "ece": OfSums(probabilities.excesses, _mean_of_bins, None),
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


def _of_decisions(function: DecisionRate, sums: np.ndarray, total: np.ndarray) -> np.ndarray:
    return function(decisions.Decisions(*np.moveaxis(sums, -1, 0)))


def _log_losses(labels: np.ndarray, scores: np.ndarray, clip: float) -> np.ndarray:
    return probabilities.log_losses(labels, scores, clip)[:, None]


def _brier_losses(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return probabilities.brier_losses(labels, scores)[:, None]


def _mean(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
    return sums[..., 0] / total


def _mean_of_bins(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.abs(sums).sum(-1) / total
