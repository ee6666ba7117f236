"""Intervals from values without each group: scales, perfect samples, differences and means."""

import numpy as np
import pytest
from scipy.stats import t

from dfd.metrics.intervals import Spread, crossed, group_interval, leave_one_out, limits, mean_spread, spread
from dfd.metrics.ranking import roc_auc


def toy(groups, seed=0):
    random = np.random.default_rng(seed)
    labels = np.tile([0, 1], groups)
    return labels, labels + random.normal(0, 1, 2 * groups), np.repeat(np.arange(groups), 2)


def test_any_function_of_rows_gets_an_interval():
    labels, scores, groups = toy(20)
    value, (low, high) = group_interval(lambda rows: roc_auc(labels[rows], scores[rows]), groups)
    assert value == roc_auc(labels, scores)
    assert 0 < low < value < high < 1
    names = np.array([f"person {group}" for group in groups])[::-1].copy()  # any order, any name
    again = group_interval(lambda rows: roc_auc(labels[::-1][rows], scores[::-1][rows]), names)
    assert again[1] == pytest.approx((low, high))


def test_the_spread_of_a_mean_is_the_textbook_one():
    values = np.random.default_rng(0).normal(3, 2, 50)
    found = spread(leave_one_out(lambda rows: values[rows].mean(), np.arange(50)))
    assert found.error == pytest.approx(values.std(ddof=1) / np.sqrt(50))
    low, high = limits(values.mean(), found, "plain")
    assert high - low == pytest.approx(2 * t.ppf(0.975, found.df) * found.error)
    assert found.p(values.mean()) < 1e-9


def test_several_metrics_at_once_and_bundles_of_many_groups():
    values = np.random.default_rng(0).normal(0, 1, 4000)
    several = leave_one_out(lambda rows: np.array([values[rows].mean(), values[rows].std()]), np.arange(4000), most=400)
    assert several.shape == (400, 2)
    assert spread(several[:, 0]).error == pytest.approx(values.std() / np.sqrt(4000), rel=0.1)


@pytest.mark.parametrize(("value", "expected"), [(1.0, (0.025 ** (1 / 8), 1)), (0.0, (0, 1 - 0.025 ** (1 / 8)))])
def test_a_perfect_sample_gets_the_exact_limit(value, expected):
    assert limits(value, Spread(0.0, 7.0), erring=8) == pytest.approx(expected)
    assert np.isnan(limits(value, Spread(0.0, 7.0), erring=0)).all()


def test_scales_keep_their_range():
    wide = Spread(0.2, 7.0)
    assert 0 < limits(0.97, wide).low < limits(0.97, wide).high < 1
    low, high = limits(0.4, wide, "log")
    assert low * high == pytest.approx(0.16)
    assert limits(0.1, wide, "plain").low < 0
    assert np.isnan(limits(0.5, Spread(0.0, 7.0))).all()  # all groups alike, and yet not perfect
    assert np.isnan(limits(float("nan"), wide)).all()


def test_crossed_groups_add_up_and_never_fall_below_one():
    one, two, both = Spread(3.0, 10.0), Spread(4.0, 6.0), Spread(1.0, 99.0)
    assert crossed(one, two, both) == pytest.approx((np.sqrt(24), 6.0))
    assert crossed(one, Spread(0.5, 20.0), Spread(2.0, 99.0)).error == 3.0
    assert crossed(one, Spread(float("nan"), float("nan")), both) == one


def test_a_mean_of_independent_estimates():
    found = mean_spread([Spread(0.3, 5.0), Spread(0.3, 5.0)])
    assert found == pytest.approx((0.3 / np.sqrt(2), 10.0))
    mostly_one = mean_spread([Spread(0.3, 5.0), Spread(0.003, 500.0)])  # a small set among large ones
    assert mostly_one.df == pytest.approx(5, rel=0.01)
