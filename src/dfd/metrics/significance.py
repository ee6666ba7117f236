"""Is one detector better than another on the same videos: DeLong's test, with clusters, and corrections for many."""

from typing import NamedTuple

import numpy as np
from scipy.stats import norm, rankdata, t


class Difference(NamedTuple):
    """How much larger the first area under the ROC curve is, its 95 % interval, and the two-sided p-value."""

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


def delong(labels: np.ndarray, first: np.ndarray, second: np.ndarray, groups: np.ndarray | None = None) -> Difference:
    """Compare the areas of two detectors on the same rows; few groups have the wider tails of Student's t."""
    areas, covariance = auc_covariance(labels, np.stack([first, second]), groups)
    value = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if np.isnan(value) or np.isnan(variance):  # the test is undefined: a class of one row, or of one group
        return Difference(value, np.nan, np.nan, np.nan)
    error = float(np.sqrt(max(0.0, variance)))
    if error < 1e-12:  # the same ranking twice
        return Difference(value, value, value, 1.0 if abs(value) < 1e-12 else 0.0)
    law = norm if groups is None else t(len(np.unique(groups)) - 1)
    reach = float(law.ppf(0.975)) * error
    return Difference(value, value - reach, value + reach, float(2 * law.sf(abs(value) / error)))


def bootstrap_p(differences: np.ndarray) -> float:
    """Return the two-sided p-value of resampled differences: how often they change sign, never exactly zero."""
    usable = differences[~np.isnan(differences)]
    if not len(usable):
        return float("nan")
    smaller = min((usable <= 0).sum(), (usable >= 0).sum())
    return float(min(1.0, 2 * (smaller + 1) / (len(usable) + 1)))


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
