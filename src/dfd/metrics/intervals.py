"""Confidence intervals of a metric whose rows depend on each other within groups: people, source videos.

The recipe, one for every metric: leave each group out in turn (the jackknife), take the spread of the values as the
standard error, Student's t with degrees of freedom that fall when a few groups carry all of the variance, and a scale
on which the estimate is closer to normal (logit for rates, log for losses). A sample without an error gets an exact
one-sided limit instead of [1, 1]. Coverage by simulation: `docs/evaluation_protocol.md`.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import expit, logit, stdtr, stdtrit

Scale = Literal["logit", "log", "plain"]

BUNDLES = 1000  # more groups than this are left out in random bundles by `leave_one_out`
SMALL = 1e-12  # a standard error below it is rounding


class Interval(NamedTuple):
    """A range that holds the true value with the given confidence; NaN where none can be given."""

    low: float
    high: float


NONE = Interval(np.nan, np.nan)


class Spread(NamedTuple):
    """The standard error of an estimate and the degrees of freedom of its t distribution."""

    error: float
    df: float

    def reach(self, confidence: float = 0.95) -> float:
        """Return half the width of the symmetric interval."""
        return float(stdtrit(self.df, (1 + confidence) / 2) * self.error)

    def p(self, value: float) -> float:
        """Return the two-sided p-value of the hypothesis that the true value is zero."""
        return float(2 * stdtr(self.df, -abs(value) / self.error))


UNKNOWN = Spread(np.nan, np.nan)


def group_interval(
    function: Callable[[np.ndarray], float],
    groups: Sequence | np.ndarray,
    *,
    scale: Scale = "logit",
    confidence: float = 0.95,
    erring: int | None = None,
) -> tuple[float, Interval]:
    """Return the value of any metric and its interval; whole groups of rows are left out in turn.

    Example: `group_interval(lambda rows: roc_auc(labels[rows], scores[rows]), people)`. For several metrics at once
    call `leave_one_out` with a function that returns an array, then `spread` and `limits` on each column.

    Args:
        function: the metric of some rows, given by their positions (n,); NaN where it is undefined.
        groups: of every row (N,), e.g. the person or the source video; rows of one group depend on each other.
        scale: `logit` for a rate in [0, 1], `log` for a loss in (0, inf), `plain` for differences and means.
        confidence: how often such intervals hold the true value.
        erring: number of groups that can err, for the limit of a perfect sample (default: all groups); for a ranking
            the smaller of the numbers of groups with positives and with negatives.
    """
    value = float(function(np.arange(len(groups))))
    left_out = leave_one_out(function, groups)
    return value, limits(value, spread(left_out), scale, confidence, erring or len(np.unique(groups)))


def leave_one_out(
    function: Callable[[np.ndarray], float | np.ndarray], groups: Sequence | np.ndarray, most: int = BUNDLES
) -> np.ndarray:
    """Return the values of a function of row positions without each group in turn, (G,) or (G, M).

    More than `most` groups are left out in that many random bundles: a mean over bundles varies as one over groups.
    """
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    member = bundled(member, len(names), most)
    order = np.argsort(member, kind="stable")
    starts = np.searchsorted(member[order], np.arange(member.max() + 2)) if len(order) else [0]
    rows = (np.delete(order, slice(*ends)) for ends in pairwise(starts))
    return np.array([function(np.sort(kept)) for kept in rows], float)


def bundled(member: np.ndarray, count: int, most: int) -> np.ndarray:
    """Return the bundle of every row, 0 ... most - 1, where groups (`member` of `count`) are more than `most`."""
    if count <= most:
        return member
    return np.random.default_rng(0).permutation(count)[member] % most


def spread(left_out: np.ndarray) -> Spread:
    """Return the standard error and degrees of freedom from the values without each group (G,).

    The degrees of freedom follow the kurtosis of the groups' contributions: where a few groups carry all the variance,
    the standard error itself is uncertain. Undefined values (a class vanished with its group) are left out.
    """
    left_out = np.asarray(left_out, float)
    known = left_out[np.isfinite(left_out)]
    count = len(known)
    if count < 2:
        return UNKNOWN
    around = known - known.mean()
    error = float(np.sqrt((count - 1) / count * (around**2).sum()))
    return Spread(error, degrees_of_freedom(around))


def degrees_of_freedom(contributions: np.ndarray) -> float:
    """Return 2 G / (kurtosis - 1) of centred contributions (G,), between 2 and G - 1 (at least 1)."""
    count, squares = len(contributions), float((contributions**2).sum())
    largest = max(1.0, count - 1.0)
    if squares <= 0:
        return largest
    kurtosis = count * float((contributions**4).sum()) / squares**2
    return largest if kurtosis <= 1 else float(np.clip(2 * count / (kurtosis - 1), min(2.0, largest), largest))


def crossed(first: Spread, second: Spread, both: Spread) -> Spread:
    """Return the spread where rows depend on each other through either of two groups: a target and a donor.

    The variances by each group add up; that of the rows that share both is in the two of them and is taken off once
    (Cameron, Gelbach & Miller 2011). Never below either; the fewer degrees of freedom count.
    """
    one, two = first.error**2, second.error**2
    if np.isnan(one) or np.isnan(two):
        return first if np.isnan(two) else second
    shared = 0.0 if np.isnan(both.error) else both.error**2
    return Spread(float(np.sqrt(max(one + two - shared, one, two))), min(first.df, second.df))


def mean_spread(spreads: Sequence[Spread]) -> Spread:
    """Return the spread of the mean of independent estimates; degrees of freedom by Welch and Satterthwaite."""
    variances = np.array([each.error for each in spreads]) ** 2
    total = float(variances.sum())
    if not total > 0:
        return Spread(float(np.sqrt(total)) / len(spreads), min(each.df for each in spreads))
    df = total**2 / float((variances**2 / np.array([each.df for each in spreads])).sum())
    return Spread(float(np.sqrt(total)) / len(spreads), df)


def limits(value: float, spread: Spread, scale: Scale = "logit", confidence: float = 0.95, erring: int = 0) -> Interval:
    """Return the interval around an estimate; NaN where there is none.

    A rate of exactly 1 or 0 has no spread in the sample: `erring` groups without an error make its limit exact.
    """
    if np.isnan(value):
        return NONE
    if scale == "logit" and value in (0.0, 1.0):
        return perfect(value, erring, confidence)
    if not spread.error > SMALL:
        return NONE
    reach = spread.reach(confidence)
    if scale == "logit":
        reach /= value * (1 - value)
        low, high = expit(logit(value) - reach), expit(logit(value) + reach)
    elif scale == "log":
        low, high = value * np.exp(-reach / value), value * np.exp(np.minimum(reach / value, 700))
    else:
        low, high = value - reach, value + reach
    return Interval(min(float(low), value), max(float(high), value))


def perfect(value: float, erring: int, confidence: float = 0.95) -> Interval:
    """Return the exact interval of a rate that was 1 (or 0) in every one of `erring` groups (Clopper & Pearson)."""
    if erring < 2:  # nobody else to err
        return NONE
    lost = 1 - ((1 - confidence) / 2) ** (1 / erring)
    return Interval(1 - lost, 1.0) if value == 1 else Interval(0.0, lost)
