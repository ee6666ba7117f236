"""Influence functions of ranking metrics: how a metric changes, to first order, per unit of weight of one row.

A row's influence depends only on its class and threshold, so that the standard error over any number of groups is a
sum over rows (the infinitesimal jackknife): the limit of leaving out one group of many, at the cost of one curve.
"""

import numpy as np

from dfd.metrics.ranking import Counts, area, mean_precision, partial_area, rates

Influence = tuple[np.ndarray, np.ndarray]  # of a real and of a fake at each threshold, (K,) each


def of_area(counts: Counts) -> Influence:
    """Return the influences on the AUC: a row's placement among the other class, less the AUC."""
    fpr, tpr = _middles(counts)
    auc = float(area(counts))
    return (tpr - auc) / counts.false[-1], (1 - fpr - auc) / counts.true[-1]


def of_partial_area(counts: Counts, max_fpr: float = 0.1) -> Influence:
    """Return the influences on the scaled partial AUC."""
    fpr, tpr = _middles(counts)
    chance = max_fpr**2 / 2
    scale = 1 / (2 * (max_fpr - chance))
    part = (2 * float(partial_area(counts, max_fpr)) - 1) * (max_fpr - chance) + chance  # the area itself
    end = float(np.interp(max_fpr, *rates(counts)))
    real = max_fpr * end - part - np.where(fpr < max_fpr, end - tpr, 0)
    fake = np.maximum(max_fpr - fpr, 0) - part
    return scale * real / counts.false[-1], scale * fake / counts.true[-1]


def of_mean_precision(counts: Counts) -> Influence:
    """Return the influences on average precision."""
    real, fake = _of_precision_sum(counts.false, counts.true)
    fakes = counts.true[-1]
    return real / fakes, (fake - float(mean_precision(counts))) / fakes


def of_balanced_precision(counts: Counts) -> Influence:
    """Return the influences on average precision at equal prevalence: of rates, so centred within each class."""
    sides = [side / side[-1] for side in counts[:2]]
    effects = zip(_of_precision_sum(*sides), sides, counts[:2], strict=True)
    real, fake = ((effect - (effect * np.diff(rate, prepend=0)).sum()) / side[-1] for effect, rate, side in effects)
    return real, fake


def _of_precision_sum(false: np.ndarray, true: np.ndarray) -> Influence:
    """Return the effects of mass at each threshold on the sum over j of steps_j * true_j / (true_j + false_j).

    More reals at a threshold lower the precision there and below; more fakes raise it, and lengthen the step there.
    """
    steps, called = np.diff(true, prepend=0), true + false
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, lost, won = (np.nan_to_num(x) for x in (true / called, true / called**2, false / called**2))
    return -_from_here_down(steps * lost), precision + _from_here_down(steps * won)


def _from_here_down(values: np.ndarray) -> np.ndarray:
    return values[::-1].cumsum()[::-1]


def _middles(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    """Return both rates half-way through each threshold's step: ties count half."""
    fpr, tpr = rates(counts)
    return (fpr[1:] + fpr[:-1]) / 2, (tpr[1:] + tpr[:-1]) / 2
