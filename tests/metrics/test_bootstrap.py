"""Intervals cover what they promise, follow groups, and the fast way gives what the slow one gives."""

import numpy as np
import pytest

from dfd.metrics import bootstrap
from dfd.metrics.bootstrap import expanded_tail, interval, intervals, resample
from dfd.metrics.measures import RANKING, OfCounts, deciding, evaluate, judging
from dfd.metrics.ranking import area, roc_auc

ALL = {**RANKING, **deciding(0.5), **judging()}
AUC = {"auc": OfCounts(area)}


def toy(groups, seed=0, shared=0.0):
    """Two reals and two fakes per group, whose scores share a part."""
    random = np.random.default_rng(seed)
    labels = np.tile([0, 0, 1, 1], groups)
    common = np.repeat(random.normal(0, 1, groups), 4)
    scores = labels + shared * common + np.sqrt(1 - shared**2) * random.normal(0, 1, 4 * groups)
    return labels, 1 / (1 + np.exp(-scores)), np.repeat(np.arange(groups), 4)


def slowly(metrics, labels, scores, groups, resamples, seed=0):
    """Draw rows one resample at a time."""
    random = np.random.default_rng(seed)
    size = groups.max() + 1
    values = []
    for _ in range(resamples):
        drawn = np.bincount(random.integers(0, size, size, dtype=np.int32), minlength=size)[groups]
        values.append(evaluate(metrics, np.repeat(labels, drawn), np.repeat(scores, drawn)))
    return {name: np.array([value[name] for value in values]) for name in metrics}


def test_all_resamples_at_once_equal_one_at_a_time():
    labels, scores, groups = toy(40)
    metrics = {name: metric for name, metric in ALL.items() if name != "ece"}  # whose bins follow each sample
    fast = resample(metrics, labels, scores, groups, resamples=50).values
    slow = slowly(metrics, labels, scores, groups, 50)
    for name in metrics:
        assert fast[name] == pytest.approx(slow[name], rel=1e-6), name


def test_curves_at_knots_differ_from_exact_ones_far_less_than_resamples_do():
    labels, scores, groups = toy(5000)
    coarse = resample(ALL, labels, scores, groups, resamples=60, knots=4000).values
    exact = resample(ALL, labels, scores, groups, resamples=60, knots=10**9).values
    for name in ALL:
        assert np.abs(coarse[name] - exact[name]).mean() < 0.1 * exact[name].std(), name
    for name in deciding(0.5):
        assert coarse[name] == pytest.approx(exact[name])


def test_bundles_of_groups_vary_as_groups_do(monkeypatch):
    labels, scores, groups = toy(4000)
    exact = resample(AUC, labels, scores, groups, resamples=600).values["auc"].std()
    monkeypatch.setattr(bootstrap, "BUNDLES", 500)
    assert resample(AUC, labels, scores, groups, resamples=600).values["auc"].std() == pytest.approx(exact, rel=0.15)


def test_draws_depend_on_seed_and_groups_only():
    labels, scores, groups = toy(30)
    one = resample(AUC, labels, scores, groups, resamples=300).values["auc"]
    again = resample(ALL, labels, np.round(scores, 1), groups, resamples=300).values
    assert np.corrcoef(one, again["auc"])[0, 1] > 0.9
    assert np.array_equal(one, resample(AUC, labels, scores, groups, resamples=300).values["auc"])


def test_the_interval_holds_the_estimate_and_narrows_with_more_groups():
    widths = []
    for groups in (20, 500):
        labels, scores, names = toy(groups)
        low, high = intervals(resample(AUC, labels, scores, names, resamples=200))["auc"]
        assert low < roc_auc(labels, scores) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_whole_groups_are_resampled():
    """Copies of a video within its group add no information: the interval must not narrow."""
    labels, scores, names = toy(30)
    once = intervals(resample(AUC, labels, scores, names, resamples=300))["auc"]
    copied = (np.repeat(column, 20) for column in (labels, scores, names))
    many = intervals(resample(AUC, *copied, resamples=300))["auc"]
    assert many == pytest.approx(once)


def test_percentiles_are_expanded_for_few_groups_only():
    assert expanded_tail(0.025, 8) == pytest.approx(0.0057, abs=2e-4)
    assert expanded_tail(0.025, 10**6) == pytest.approx(0.025, abs=1e-5)


def test_resamples_of_one_class_are_counted_and_one_group_has_no_interval():
    labels, scores = np.array([0, 1]), np.array([0.0, 1.0])
    resampled = resample(AUC, labels, scores, np.array([0, 1]), resamples=100)
    assert 20 < resampled.useless < 80
    assert intervals(resampled)["auc"] == (1.0, 1.0)
    assert intervals(resample(AUC, labels, scores, np.array([0, 0]))) == {}
    assert np.isnan(interval(np.full(10, np.nan), 5)).all()


@pytest.mark.parametrize("shared", [0.0, 0.6])
def test_an_interval_of_95_percent_covers_the_truth_in_93_to_97_of_100_draws(shared):
    """Five hundred data sets of 60 people; the truth is known from the normal distribution."""
    from scipy.stats import norm

    # a real and a fake of different groups differ by N(1, 2); within a group they share a part, but such pairs are few
    within = norm.cdf(1 / np.sqrt(2 - 2 * shared**2))
    truth = norm.cdf(1 / np.sqrt(2)) * 59 / 60 + within / 60
    draws, inside = 500, 0
    for seed in range(draws):
        labels, scores, groups = toy(60, seed + 1000, shared)
        low, high = intervals(resample(AUC, labels, scores, groups, resamples=500, seed=seed))["auc"]
        inside += low <= truth <= high
    assert 0.93 <= inside / draws <= 0.97, inside / draws
