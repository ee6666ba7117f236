"""Intervals by resampling groups: videos of one person or source are not independent of each other.

All resamples are computed at once: rows are counted by score and group, and one product with the matrix of how often
each group was drawn gives every resample's curve. A million rows and 2,000 resamples take seconds.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import norm, t

from dfd.metrics.measures import Metric, OfCounts, OfSums
from dfd.metrics.ranking import Counts

KNOTS = 8192  # thresholds of a resampled curve; with fewer distinct scores it is exact
BUNDLES = 20_000  # more groups than this are resampled in random bundles
BUDGET = 4_000_000  # numbers held at once per matrix


class Interval(NamedTuple):
    """A range that holds the truth with the given confidence."""

    low: float
    high: float


class Resampled(NamedTuple):
    """Values of every metric on every resample (NaN where undefined), the number of groups, and how many were useless.

    The same groups and seed give the same resamples, so that values of two detectors can be subtracted.
    """

    values: dict[str, np.ndarray]
    groups: int
    useless: int


def expanded_tail(tail: float, count: int) -> float:
    """Return the share to cut off each end when only `count` groups were resampled.

    Plain percentiles are too narrow for few groups: they lack the factor sqrt(n / (n - 1)) and Student's t. Hesterberg,
    What teachers should know about the bootstrap, The American Statistician 69(4), 2015.
    """
    return float(norm.cdf(np.sqrt(count / (count - 1)) * t.ppf(tail, count - 1)))


def resample(
    metrics: Mapping[str, Metric],
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    *,
    resamples: int = 1000,
    seed: int = 0,
    knots: int = KNOTS,
) -> Resampled:
    """Draw groups with replacement, as often as there are groups, and compute every metric on each draw.

    A draw that holds one class only is useless and NaN. With more distinct scores than `knots`, curves are taken at
    quantiles of the scores; values then differ from exact ones by far less than draws differ from each other. Very many
    groups are drawn in random bundles: a sum over bundles varies as one over groups does.
    """
    names, membership = np.unique(groups, return_inverse=True)
    if len(names) < 2 or resamples < 1:
        return Resampled({}, len(names), 0)
    random = np.random.default_rng(seed)
    if len(names) > BUNDLES:
        membership = random.permutation(len(names))[membership] % BUNDLES
    drawn = min(len(names), BUNDLES)
    by_group = _per_group(metrics, np.asarray(labels), np.asarray(scores, float), membership, knots)
    size = max(1, min(256, BUDGET // max(drawn, KNOTS)))
    steps = range(0, resamples, size)
    parts = [by_group(_draw(random, min(size, resamples - start), drawn)) for start in steps]
    values = {name: np.concatenate([part[name] for part in parts]) for name in metrics}
    usable = np.concatenate([part[_USABLE] for part in parts])
    for value in values.values():
        value[~usable] = np.nan
    return Resampled(values, len(names), int((~usable).sum()))


def interval(values: np.ndarray, groups: int, confidence: float = 0.95) -> np.ndarray:
    """Return the expanded percentile interval (2, ...) of resampled values (B, ...); NaN where there are too few."""
    usable = values[~np.isnan(values).reshape(len(values), -1).all(1)]
    if groups < 2 or len(usable) < 2:
        return np.full((2, *values.shape[1:]), np.nan)
    tail = expanded_tail((1 - confidence) / 2, groups)
    return np.nanquantile(usable, [tail, 1 - tail], axis=0)


def intervals(resampled: Resampled, confidence: float = 0.95) -> dict[str, Interval]:
    """Return the interval of every metric that is a single number."""
    found = {name: interval(values, resampled.groups, confidence) for name, values in resampled.values.items()}
    return {name: Interval(*map(float, limits)) for name, limits in found.items() if limits.ndim == 1}


_USABLE = "\0usable"


def _per_group(
    metrics: Mapping[str, Metric], labels: np.ndarray, scores: np.ndarray, membership: np.ndarray, knots: int
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Sum rows by group once; return the function from draws (G, B) to values."""
    exact = tuple(th for metric in metrics.values() if isinstance(metric, OfCounts) for th in metric.thresholds)
    edges = _edges(labels, scores, knots, exact)
    bins = len(edges) - 1 - (np.searchsorted(edges, scores, side="right") - 1)  # the highest score first
    size = (len(edges), int(membership.max()) + 1)
    sides = [_counted(bins[labels == label], membership[labels == label], size) for label in (0, 1)]
    sums = {
        name: csr_array([np.bincount(membership, column) for column in metric.rows(labels, scores).T])
        for name, metric in metrics.items()
        if isinstance(metric, OfSums)
    }
    totals = np.bincount(membership).astype(np.float32)

    def values(drawn: np.ndarray) -> dict[str, np.ndarray]:
        false, true = (np.cumsum((side @ drawn).T, axis=1, dtype=float) for side in sides)
        counts = Counts(false, true, edges[::-1])
        found = {_USABLE: (false[:, -1] > 0) & (true[:, -1] > 0)}
        for name, metric in metrics.items():
            if isinstance(metric, OfCounts):
                found[name] = np.array(metric.of(counts), float)
            else:
                found[name] = np.array(metric.of((sums[name] @ drawn).T, totals @ drawn), float)
        return found

    return values


def _edges(labels: np.ndarray, scores: np.ndarray, knots: int, exact: tuple[float, ...]) -> np.ndarray:
    """Return rising thresholds: every distinct score, or quantiles, denser where few reals are left, and exact ones."""
    ordered = np.sort(scores)
    distinct = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    if len(distinct) <= knots:
        return distinct
    reals = np.sort(scores[labels == 0])[::-1]
    few = reals[np.geomspace(1, max(1, len(reals)), knots // 2).astype(int) - 1] if len(reals) else reals
    quantiles = ordered[np.linspace(0, len(ordered) - 1, knots - knots // 2).astype(int)]
    first = np.minimum(np.searchsorted(distinct, exact), len(distinct) - 1)
    return np.unique(np.concatenate([few, quantiles, distinct[first]]))


def _counted(bins: np.ndarray, membership: np.ndarray, size: tuple[int, int]) -> csr_array:
    cells, number = np.unique(bins * size[1] + membership, return_counts=True)
    return csr_array((number.astype(np.float32), (cells // size[1], cells % size[1])), shape=size)


def _draw(random: np.random.Generator, resamples: int, groups: int) -> np.ndarray:
    """Return how often each group was drawn, (G, B)."""
    drawn = np.empty((groups, resamples), np.float32)
    for column in range(resamples):
        drawn[:, column] = np.bincount(random.integers(0, groups, groups, dtype=np.int32), minlength=groups)
    return drawn
