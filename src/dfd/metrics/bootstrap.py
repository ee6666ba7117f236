"""The bootstrap over groups: bands of curves, and standard errors of metrics that step.

All resamples are computed at once: rows are counted by threshold and group, and one product with the matrix of how
often each group was drawn gives the curves of every resample.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array

from dfd.metrics.measures import OfCounts
from dfd.metrics.ranking import Counts

RESAMPLES = 500
KNOTS = 4096  # thresholds of a curve of many groups; with fewer distinct scores it is exact
COARSE = 1024  # thresholds behind a standard error, which need not be as fine as a curve
BUNDLES = 10_000  # more groups than this are drawn in random bundles: a sum over bundles varies as one over groups
BUDGET = 4_000_000  # numbers held at once per matrix


def resample(
    metrics: Mapping[str, OfCounts],
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    *,
    resamples: int = RESAMPLES,
    knots: int = KNOTS,
) -> dict[str, np.ndarray]:
    """Draw groups with replacement, as often as there are groups, and compute every metric on each draw, (B, ...).

    A draw that holds one class only is NaN. With more distinct scores than `knots`, curves are taken at quantiles of
    the scores; values then differ from exact ones by far less than draws differ from each other. The same groups give
    the same draws.
    """
    names, member = np.unique(groups, return_inverse=True)
    if len(names) < 2 or resamples < 1:
        return {}
    if len(names) > BUNDLES:
        member = np.random.default_rng(0).permutation(len(names))[member] % BUNDLES
    drawn = min(len(names), BUNDLES)
    sides, thresholds = by_group(labels, scores, member, drawn, knots)
    size = max(1, min(256, BUDGET // max(drawn, len(thresholds))))
    parts = []
    for start in range(0, resamples, size):
        draws = _draws(drawn, min(size, resamples - start), start)
        false, true = (np.cumsum((side @ draws).T, axis=1, dtype=float) for side in sides)
        parts.append({name: metric.of(Counts(false, true, thresholds)) for name, metric in metrics.items()})
        for value in parts[-1].values():
            value[(false[:, -1] == 0) | (true[:, -1] == 0)] = np.nan
    return {name: np.concatenate([part[name] for part in parts]) for name in metrics}


def deviations(
    metrics: Mapping[str, OfCounts],
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    resamples: int = RESAMPLES,
) -> dict[str, float]:
    """Return the standard error of every metric: the standard deviation of its resamples, corrected for few groups."""
    count = len(np.unique(groups))
    drawn = resample(metrics, labels, scores, groups, resamples=resamples, knots=COARSE)
    found = {}
    for name in metrics:
        usable = drawn[name][np.isfinite(drawn[name])] if name in drawn else np.empty(0)
        found[name] = float(usable.std() * np.sqrt(count / (count - 1))) if len(usable) > 1 else float("nan")
    return found


def band(values: np.ndarray, confidence: float = 0.95) -> np.ndarray:
    """Return the percentile band (2, ...) of resampled curves (B, ...); NaN where there are too few.

    Percentiles are too narrow for few groups and near the ends of a curve: a band is for looking.
    """
    usable = values[np.isfinite(values).reshape(len(values), -1).all(1)]
    if len(usable) < 2:
        return np.full((2, *values.shape[1:]), np.nan)
    tail = (1 - confidence) / 2
    return np.quantile(usable, [tail, 1 - tail], axis=0)


def by_group(
    labels: np.ndarray, scores: np.ndarray, member: np.ndarray, groups: int, knots: int = KNOTS
) -> tuple[list[csr_array], np.ndarray]:
    """Count the reals and the fakes by threshold and group, two (K, groups), at falling thresholds (K,)."""
    edges = _edges(labels, scores, knots)
    bins = len(edges) - 1 - (np.searchsorted(edges, scores, side="right") - 1)  # the highest score first
    size = (len(edges), groups)
    return [_counted(bins[labels == label], member[labels == label], size) for label in (0, 1)], edges[::-1]


def _edges(labels: np.ndarray, scores: np.ndarray, knots: int) -> np.ndarray:
    """Return rising thresholds: every distinct score, or quantiles, denser where few reals are left."""
    ordered = np.sort(scores)
    distinct = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    if len(distinct) <= knots:
        return distinct
    reals = np.sort(scores[labels == 0])[::-1]
    few = reals[np.geomspace(1, max(1, len(reals)), knots // 2).astype(int) - 1] if len(reals) else reals
    quantiles = ordered[np.linspace(0, len(ordered) - 1, knots - knots // 2).astype(int)]
    return np.unique(np.concatenate([few, quantiles]))


def _counted(bins: np.ndarray, member: np.ndarray, size: tuple[int, int]) -> csr_array:
    cells, number = np.unique(bins * size[1] + member, return_counts=True)
    return csr_array((number.astype(np.float32), (cells // size[1], cells % size[1])), shape=size)


@lru_cache(maxsize=4)  # every manipulation against the same reals draws from as many groups
def _draws(groups: int, resamples: int, start: int) -> np.ndarray:
    """Return how often each group was drawn, (G, B), in the resamples from `start` on."""
    random = np.random.default_rng((groups, start))
    drawn = np.empty((groups, resamples), np.float32)
    for column in range(resamples):
        drawn[:, column] = np.bincount(random.integers(0, groups, groups, dtype=np.int32), minlength=groups)
    return drawn
