"""How well a score tells outliers from what is known, and what it is worth to leave the doubtful unanswered.

`ood` is 1 for an outlier, 0 for what is known; scores grow with strangeness and need no bounds. Ties count as one step.
"""

from collections.abc import Iterator

import numpy as np

from dfd.metrics.ranking import average_precision, count, roc_auc


def auroc(ood: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the probability that an outlier scores above what is known, ties counting half."""
    return roc_auc(ood, scores, weights)


def aupr_out(ood: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the average precision with outliers as positives."""
    return average_precision(ood, scores, weights)


def aupr_in(ood: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the average precision with what is known as positives."""
    return average_precision(1 - np.asarray(ood), -np.asarray(scores, float), weights)


def fpr95_id_positive(
    ood: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None, rate: float = 0.95
) -> float:
    """Return the share of outliers that is accepted where 95 % of what is known is (the convention of MSP and ODIN)."""
    return _fpr_at(1 - np.asarray(ood), -np.asarray(scores, float), weights, rate)


def fpr95_ood_positive(
    ood: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None, rate: float = 0.95
) -> float:
    """Return the share of what is known that is rejected where 95 % of outliers are (OpenOOD 1.5, pytorch-ood)."""
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
    """Return the shares answered, from the least strange on, and the share of errors among the answered."""
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


def resampled_weights(groups: np.ndarray, resamples: int, seed: int = 0) -> np.ndarray:
    """Return how often each row is drawn, (resamples, N), when whole groups are drawn with replacement."""
    _, membership = np.unique(groups, return_inverse=True)
    count = int(membership.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    return drawn[:, membership].astype(np.float32)


def resampled_auroc(ood: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the AUROC under each row of weights (R, N); NaN where a side is missing."""
    order = np.argsort(np.asarray(scores, float), kind="stable")
    ordered, positive = np.asarray(scores, float)[order], np.asarray(ood)[order] == 1
    starts = np.flatnonzero(np.append(True, np.diff(ordered) != 0))
    values = [_weighted_auroc(part[:, order], positive, starts) for part in _some_rows(weights)]
    return np.concatenate(values)


def _weighted_auroc(weights: np.ndarray, positive: np.ndarray, starts: np.ndarray) -> np.ndarray:
    above = np.add.reduceat(weights * positive, starts, axis=1, dtype=float)
    below = np.add.reduceat(weights * ~positive, starts, axis=1, dtype=float)
    total = above.sum(1) * below.sum(1)
    won = (above * (below.cumsum(1) - below / 2)).sum(1)
    return np.where(total > 0, won / np.maximum(total, 1e-300), np.nan)


def _some_rows(weights: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, 4_000_000 // weights.shape[1])
    return (weights[start : start + step] for start in range(0, len(weights), step))


def _fpr_at(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray | None, rate: float) -> float:
    """Return the smallest false positive rate of a threshold that reaches the rate of true positives."""
    false, true, _ = count(positive, scores, weights)
    if not false[-1] or not true[-1]:
        return float("nan")
    reached = np.flatnonzero(true / true[-1] >= rate - 1e-12)
    return float(false[reached[0]] / false[-1])
