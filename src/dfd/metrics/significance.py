"""Paired tests of two detectors on the same videos: DeLong's with clusters, the jackknife, and Holm's correction."""

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from dfd.metrics.bootstrap import RESAMPLES, resample
from dfd.metrics.intervals import SMALL, Spread, crossed, degrees_of_freedom, limits, perfect, spread
from dfd.metrics.jackknife import can_err, clusterings, coded, left_out
from dfd.metrics.measures import Metric, OfCounts, evaluate


class Difference(NamedTuple):
    """How much larger the first detector's value is, the interval of that, and the two-sided p-value; of one test."""

    value: float
    low: float
    high: float
    p: float


def placements(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, per fake, the share of reals below it, and per real, the share of fakes above it; ties count half."""
    fake = np.asarray(labels) == 1
    ranks = rankdata(scores)
    fakes, reals = int(fake.sum()), int((~fake).sum())
    below = (ranks[fake] - rankdata(scores[fake])) / reals
    above = 1 - (ranks[~fake] - rankdata(scores[~fake])) / fakes
    return below, above


def auc_covariance(
    labels: np.ndarray, scores: np.ndarray, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the areas (D,) of several detectors' scores (D, N) on the same rows, and their covariance (D, D).

    Without groups this is DeLong et al., Biometrics 44(3), 1988, by ranks; with groups, whose rows depend on each
    other, Obuchowski, Biometrics 53(2), 1997. NaN where a class has fewer than two rows (or groups).
    """
    labels, scores = np.asarray(labels), np.atleast_2d(np.asarray(scores, float))
    fake = labels == 1
    if fake.sum() < 2 or (~fake).sum() < 2:
        return np.full(len(scores), np.nan), np.full((len(scores), len(scores)), np.nan)
    pairs = [placements(labels, row) for row in scores]
    areas = np.array([below.mean() for below, _ in pairs])
    below = np.stack([p[0] for p in pairs]) - areas[:, None]
    above = np.stack([p[1] for p in pairs]) - areas[:, None]
    if groups is None:
        return areas, np.cov(below).reshape(len(scores), -1) / fake.sum() + np.cov(above).reshape(len(scores), -1) / (
            ~fake
        ).sum()
    _, member = np.unique(groups, return_inverse=True)
    sums = [_by_group(side, member[chosen], member.max() + 1) for side, chosen in ((below, fake), (above, ~fake))]
    held = [len(np.unique(member[chosen])) for chosen in (fake, ~fake)]
    if min(held) < 2:
        return areas, np.full((len(scores), len(scores)), np.nan)
    (s10, s01), (i10, i01), i = sums, held, int(member.max()) + 1
    m, n = fake.sum(), (~fake).sum()
    cross = i / (i - 1) * (s10 @ s01.T) / (m * n)
    covariance = i10 / (i10 - 1) * (s10 @ s10.T) / m**2 + i01 / (i01 - 1) * (s01 @ s01.T) / n**2 + cross + cross.T
    return areas, covariance


def delong(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    groups: np.ndarray | None = None,
    confidence: float = 0.95,
) -> Difference:
    """Compare the areas of two detectors on the same rows; interval and p are of one test.

    With groups the statistic follows Student's t, whose degrees of freedom fall where a few groups decide; without, it
    is DeLong's as published, with the normal distribution.
    """
    areas, covariance = auc_covariance(labels, np.stack([first, second]), groups)
    value = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    error = float(np.sqrt(max(0.0, variance)))
    if groups is None:
        return _tested(value, Spread(error, np.inf), len(labels), confidence)
    if np.isnan(variance):
        return Difference(value, np.nan, np.nan, np.nan)  # undefined: a class of one row, or of one group
    parts = _contributions(labels, np.stack([first, second]), coded(groups))
    df = degrees_of_freedom(parts - parts.mean())
    return _tested(value, Spread(error, df), can_err(labels, groups)["both"], confidence)


def difference(
    metric: Metric,
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    groups: np.ndarray,
    donors: np.ndarray | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> Difference:
    """Compare any metric of two detectors on the same rows by the jackknife over groups (and donors)."""
    one, two = (float(evaluate({"": metric}, labels, scores)[""]) for scores in (first, second))
    spreads = []
    for clusters in clusterings(groups, donors):
        member = coded(clusters)
        spreads.append(_spread_of_difference(metric, labels, first, second, member, resamples))
    found = spreads[0] if len(spreads) == 1 else crossed(*spreads)
    return _tested(one - two, found, can_err(labels, groups)[metric.erring], confidence)


def _spread_of_difference(
    metric: Metric, labels: np.ndarray, first: np.ndarray, second: np.ndarray, member: np.ndarray, resamples: int
) -> Spread:
    count = int(member.max()) + 1 if len(member) else 0
    if count < 2:
        return spread(np.empty(0))
    one, two = (left_out({"": metric}, labels, scores, member, count)[""] for scores in (first, second))
    found = spread(one - two)
    if not isinstance(metric, OfCounts) or metric.influence is not None:
        return found
    drawn = [resample({"": metric}, labels, scores, member, resamples=resamples)[""] for scores in (first, second)]
    error = float(np.nanstd(drawn[0] - drawn[1]) * np.sqrt(count / (count - 1)))
    return Spread(error, found.df if np.isfinite(found.df) else count - 1.0)


def _tested(value: float, found: Spread, erring: int, confidence: float) -> Difference:
    """Return interval and p; of differences without any spread those that two samples without an error would give."""
    if np.isnan(value) or np.isnan(found.error) or np.isnan(found.df):
        return Difference(value, np.nan, np.nan, np.nan)
    if found.error > SMALL:
        low, high = limits(value, found, "plain", confidence)
        return Difference(value, low, high, found.p(value))
    reach = 1 - perfect(1.0, erring, confidence).low
    p = min(1.0, 2 * (1 - min(1.0, abs(value))) ** erring)  # where that interval ends at zero
    return Difference(value, max(-1.0, value - reach), min(1.0, value + reach), p)


def _contributions(labels: np.ndarray, scores: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Return what every group adds to the difference of two areas, to first order, (G,)."""
    fake = np.asarray(labels) == 1
    below, above = (np.subtract(*sides) for sides in zip(*(placements(labels, row) for row in scores), strict=True))
    count = int(member.max()) + 1
    fakes = np.bincount(member[fake], below - below.mean(), count) / len(below)
    return fakes + np.bincount(member[~fake], above - above.mean(), count) / len(above)


def holm(p: np.ndarray) -> np.ndarray:
    """Return p-values adjusted for many comparisons (Holm 1979): their family errs with at most the level given.

    NaN, a test that could not be made, counts as none.
    """
    p = np.asarray(p, float)
    made = int((~np.isnan(p)).sum())
    order = np.argsort(p)[:made]  # NaN sorts last
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * (made - np.arange(made))))
    return adjusted


def _by_group(values: np.ndarray, member: np.ndarray, groups: int) -> np.ndarray:
    return np.stack([np.bincount(member, row, minlength=groups) for row in values])
