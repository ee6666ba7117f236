"""Standard errors of named metrics: every metric without each group in turn, from one count of rows by group.

Metrics of sums are exact for any number of groups. Metrics of counts are exact up to `EXACT` groups; beyond, their
influence functions are summed by group, which is the same to one part in the number of groups. Metrics that step (EER,
TPR at a fixed FPR) take their standard error from the bootstrap.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from dfd.metrics.bootstrap import BUDGET, KNOTS, RESAMPLES, by_group, deviations
from dfd.metrics.intervals import NONE, Interval, Spread, crossed, limits, spread
from dfd.metrics.measures import Erring, Metric, OfCounts, OfSums
from dfd.metrics.ranking import Counts, count

EXACT = 500  # groups, up to which curves are computed without each of them


def spreads(
    metrics: Mapping[str, Metric],
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    donors: np.ndarray | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Spread]:
    """Return the standard error of every metric that has an interval.

    With `donors`, a second group of every row (the person whose face a fake shows), rows depend on each other through
    either group, and the variances by both are combined.
    """
    wanted = {name: metric for name, metric in metrics.items() if metric.scale is not None}
    found = [_spreads(wanted, labels, scores, coded(each), resamples) for each in clusterings(groups, donors)]
    return found[0] if len(found) == 1 else {name: crossed(*(by[name] for by in found)) for name in wanted}


def clusterings(groups: np.ndarray, donors: np.ndarray | None) -> list[np.ndarray]:
    """Return the groups, or with a second group of every row: the groups, the donors, and the pairs of both."""
    if donors is None or np.array_equal(groups, donors):
        return [groups]
    pairs = np.char.add(np.char.add(np.asarray(groups).astype(str), "\0"), np.asarray(donors).astype(str))
    return [groups, donors, pairs]


def intervals(
    metrics: Mapping[str, Metric],
    values: Mapping[str, float],
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    donors: np.ndarray | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Return the interval of every metric around its value; NaN where it has none."""
    found = spreads(metrics, labels, scores, groups, donors, resamples)
    able = can_err(labels, groups)
    return {
        name: limits(float(values[name]), found[name], metric.scale, confidence, able[metric.erring])
        if metric.scale is not None
        else NONE
        for name, metric in metrics.items()
    }


def can_err(labels: np.ndarray, groups: np.ndarray) -> dict[Erring, int]:
    """Return how many groups can err: those with reals, those with fakes, the fewer of the two, and all."""
    member = coded(groups)
    reals, fakes = (int((np.bincount(member[np.asarray(labels) == label]) > 0).sum()) for label in (0, 1))
    return {"all": int(member.max(initial=-1)) + 1, "both": min(reals, fakes), "reals": reals, "fakes": fakes}


def coded(groups: np.ndarray) -> np.ndarray:
    """Return the number of every row's group, 0, 1, ... in the order of their names."""
    groups = np.asarray(groups)
    if groups.dtype.kind in "iu" and len(groups) and groups.min() == 0 and np.bincount(groups).all():
        return groups  # coded already
    return np.unique(groups, return_inverse=True)[1]


def left_out(
    metrics: Mapping[str, Metric], labels: np.ndarray, scores: np.ndarray, member: np.ndarray, count: int
) -> dict[str, np.ndarray]:
    """Return every metric without each group in turn, (count,); `member` numbers the rows' groups.

    A group without a row leaves the value as it is, so that tables of the same groups can be compared. Stepping metrics
    of more than `EXACT` groups are NaN.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, float)
    found = {
        name: _sums_without(metric, labels, scores, member, count)
        for name, metric in metrics.items()
        if isinstance(metric, OfSums)
    }
    curves = {name: metric for name, metric in metrics.items() if isinstance(metric, OfCounts)}
    if curves and count <= EXACT:
        without = _counts_without(labels, scores, member, count)
        parts = [{name: metric.of(counts) for name, metric in curves.items()} for counts in without]
        found |= {name: np.concatenate([part[name] for part in parts]) for name in curves}
    elif curves:
        found |= _influences(curves, labels, scores, member, count)
    return found


def _spreads(
    metrics: Mapping[str, Metric], labels: np.ndarray, scores: np.ndarray, member: np.ndarray, resamples: int
) -> dict[str, Spread]:
    groups = int(member.max()) + 1 if len(member) else 0
    if groups < 2:
        return dict.fromkeys(metrics, spread(np.empty(0)))
    found = {name: spread(values) for name, values in left_out(metrics, labels, scores, member, groups).items()}
    steps = {name: m for name, m in metrics.items() if isinstance(m, OfCounts) and m.influence is None}
    drawn = deviations(steps, labels, scores, member, resamples) if steps else {}
    # the kurtosis of what is left out still says whether a few groups decide
    return found | {
        name: Spread(error, found[name].df if np.isfinite(found[name].df) else groups - 1.0)
        for name, error in drawn.items()
    }


def _sums_without(metric: OfSums, labels: np.ndarray, scores: np.ndarray, member: np.ndarray, count: int) -> np.ndarray:
    rows = metric.rows(labels, scores)
    sums = np.stack([np.bincount(member, column, count) for column in rows.T], 1)
    return np.asarray(metric.of(rows.sum(0) - sums, len(rows) - np.bincount(member, minlength=count)), float)


def _counts_without(labels: np.ndarray, scores: np.ndarray, member: np.ndarray, groups: int) -> Iterator[Counts]:
    """Yield the counts without each of some groups, (few, K), until all groups had their turn."""
    sides, thresholds = by_group(labels, scores, member, groups, KNOTS)
    totals = [side.sum(1) for side in sides]
    few = max(1, BUDGET // len(thresholds))
    for start in range(0, groups, few):
        part = slice(start, min(start + few, groups))
        false, true = (
            np.cumsum(total - side[:, part].toarray().T, axis=1) for total, side in zip(totals, sides, strict=True)
        )
        yield Counts(false, true, thresholds)


def _influences(
    metrics: Mapping[str, OfCounts], labels: np.ndarray, scores: np.ndarray, member: np.ndarray, groups: int
) -> dict[str, np.ndarray]:
    """Return each metric less what every group adds to it, to first order."""
    counts = count(labels, scores)
    at = len(counts.thresholds) - 1 - np.searchsorted(counts.thresholds[::-1], scores)
    found = {}
    for name, metric in metrics.items():
        if metric.influence is None or not (counts.false[-1] and counts.true[-1]):
            found[name] = np.full(groups, np.nan)
            continue
        real, fake = metric.influence(counts)
        added = np.bincount(member, np.where(labels == 1, fake[at], real[at]), groups)
        found[name] = float(metric.of(counts)) - added * groups / (groups - 1)
    return found
