"""Percentile intervals by resampling groups: videos of one person or source are not independent of each other."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


class Interval(NamedTuple):
    """A range that holds the truth with the given confidence."""

    low: float
    high: float


def expanded_tail(tail: float, count: int) -> float:
    """Return the share to cut off each end when only `count` groups were resampled.

    Plain percentiles are too narrow for few groups: they lack the factor sqrt(n / (n - 1)) and Student's t. Hesterberg,
    What teachers should know about the bootstrap, The American Statistician 69(4), 2015.
    """
    return float(norm.cdf(np.sqrt(count / (count - 1)) * t.ppf(tail, count - 1)))


def group_bootstrap(
    metrics: Mapping[str, Metric],
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[dict[str, Interval], int]:
    """Return an interval per metric, and how many resamples were of no use because they held one class only.

    Groups are drawn with replacement, as often as there are groups; how often a group was drawn is the weight of its
    videos. Percentiles are expanded for few groups. With fewer than two there is nothing to resample and no interval.
    """
    _, membership = np.unique(groups, return_inverse=True)
    count = int(membership.max()) + 1 if len(membership) else 0
    if count < 2 or resamples < 1:
        return {}, 0
    random = np.random.default_rng(seed)
    order = np.argsort(-np.asarray(scores, float), kind="stable")  # sorted once, every metric finds it so
    labels, scores, membership = np.asarray(labels)[order], np.asarray(scores, float)[order], membership[order]
    values = np.full((resamples, len(metrics)), np.nan)
    useless = 0
    for row in values:
        weights = np.bincount(random.integers(0, count, count), minlength=count)[membership]
        drawn = weights > 0
        if labels[drawn].min() == labels[drawn].max():
            useless += 1
            continue
        row[:] = [metric(labels[drawn], scores[drawn], weights[drawn]) for metric in metrics.values()]
    tail = expanded_tail((1 - confidence) / 2, count)
    tails = [tail, 1 - tail]
    usable = values[~np.isnan(values).all(1)]
    if not len(usable):
        return {}, useless
    limits = np.nanquantile(usable, tails, axis=0)
    return {name: Interval(float(low), float(high)) for name, low, high in zip(metrics, *limits, strict=True)}, useless
