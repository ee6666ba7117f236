"""Out-of-distribution detection: ranking of outliers, errors at a threshold, accuracy under rejection.

`ood` is 1 for an outlier and 0 for in-distribution (ID) data; scores grow with abnormality and need no bounds. Equal
scores are one step of every curve.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from dfd.metrics.measures import OfCounts
from dfd.metrics.ranking import Counts, average_precision, count, precision_area, rates, recall_at, roc_auc


def auroc(ood: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the probability that an outlier scores above an ID sample, ties counting half."""
    return roc_auc(ood, scores, weights)


def aupr_out(
    ood: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None, *, trapezoid: bool = False
) -> float:
    """Return the area under precision and recall with outliers as positives.

    By steps it is average precision, scikit-learn's; by trapezoids, as OpenOOD and pytorch-ood have it, it is
    interpolated linearly, which is optimistic (Davis & Goadrich 2006).
    """
    return (precision_area if trapezoid else average_precision)(ood, scores, weights)


def aupr_in(
    ood: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None, *, trapezoid: bool = False
) -> float:
    """Return the same with ID data as positives."""
    return aupr_out(1 - np.asarray(ood), -np.asarray(scores, float), weights, trapezoid=trapezoid)


def fpr95_id_positive(
    ood: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None, rate: float = 0.95
) -> float:
    """Return the share of outliers that is accepted where 95 % of ID data is (the convention of MSP and ODIN)."""
    return _fpr_at(1 - np.asarray(ood), -np.asarray(scores, float), weights, rate)


def fpr95_ood_positive(
    ood: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None, rate: float = 0.95
) -> float:
    """Return the share of ID data that is rejected where 95 % of outliers are (OpenOOD 1.5, pytorch-ood)."""
    return _fpr_at(np.asarray(ood), np.asarray(scores, float), weights, rate)


def detection_error(
    ood: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None, prior: float | None = 0.5
) -> float:
    """Return the least error of any threshold: P(ood) * missed + P(id) * falsely rejected.

    `prior` is P(ood); null takes the share in the data.
    """
    known, outliers, _ = count(ood, scores, weights)
    if not known[-1] or not outliers[-1]:
        return float("nan")
    share = outliers[-1] / (outliers[-1] + known[-1]) if prior is None else prior
    missed, rejected = 1 - np.append(0, outliers) / outliers[-1], np.append(0, known) / known[-1]
    return float((share * missed + (1 - share) * rejected).min())


def threshold_for(known: np.ndarray, kept: float = 0.95) -> float:
    """Return the threshold at or below which at least that share of the known (validation) scores lies."""
    return float(np.quantile(np.asarray(known, float), kept, method="higher"))


def risk_coverage(wrong: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares answered, in the order of rising scores, and the share of errors among the answered."""
    order = np.argsort(np.asarray(scores, float), kind="stable")
    ordered, errors = np.asarray(scores, float)[order], np.cumsum(np.asarray(wrong, float)[order])
    last = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
    return (last + 1) / len(ordered), errors[last] / (last + 1)


def aurc(wrong: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under risk over coverage: the mean risk over all numbers of answers (Geifman et al. 2019)."""
    coverage, risk = risk_coverage(wrong, scores)
    return float(np.sum(risk * np.diff(coverage, prepend=0)))


def coverage_at_accuracy(wrong: np.ndarray, scores: np.ndarray, accuracy: float = 0.95) -> float:
    """Return the largest share that can be answered with at least that accuracy; 0 if there is none."""
    coverage, risk = risk_coverage(wrong, scores)
    enough = coverage[risk <= 1 - accuracy + 1e-12]
    return float(enough.max()) if len(enough) else 0.0


def oscr(right: np.ndarray, known: np.ndarray, outliers: np.ndarray) -> float:
    """Return the area under the rate of right and accepted answers over accepted outliers (Dhamija et al. 2018)."""
    known, outliers = np.asarray(known, float), np.asarray(outliers, float)
    if not len(known) or not len(outliers):
        return float("nan")
    cuts = np.unique(np.concatenate([known, outliers]))
    accepted = np.searchsorted(np.sort(outliers), cuts, side="right") / len(outliers)
    answers = np.sort(known[np.asarray(right, bool)])
    correct = np.searchsorted(answers, cuts, side="right") / len(known)
    return float(np.trapezoid(np.append(0, correct), np.append(0, accepted)))


def _fpr_at(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray | None, rate: float) -> float:
    """Return the smallest false positive rate of a threshold that reaches the rate of true positives."""
    false, true, _ = count(positive, scores, weights)
    if not false[-1] or not true[-1]:
        return float("nan")
    reached = np.flatnonzero(true / true[-1] >= rate - 1e-12)
    return float(false[reached[0]] / false[-1])


def _false_at(counts: Counts, rate: float) -> np.ndarray:
    """Return the false positive rate at the highest threshold that reaches the rate of true positives."""
    fpr, tpr = rates(counts)
    reached = np.argmax(tpr >= rate - 1e-12, axis=-1)[..., None]
    return np.take_along_axis(fpr, reached, -1)[..., 0]


def _accepted_at(counts: Counts, rate: float) -> np.ndarray:
    """Return the share of outliers accepted where at least the rate of what is known is."""
    return 1 - recall_at(counts, 1 - rate)


STEPPING: Mapping[str, OfCounts] = {
    "fpr95_id_positive": OfCounts(partial(_accepted_at, rate=0.95)),
    "fpr95_ood_positive": OfCounts(partial(_false_at, rate=0.95)),
}
