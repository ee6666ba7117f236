"""Resamples follow groups, and all at once equal one at a time."""

import numpy as np
import pytest

from dfd.metrics import bootstrap
from dfd.metrics.bootstrap import band, deviations, resample
from dfd.metrics.measures import AUC, RANKING, evaluate
from tests.metrics.test_jackknife import toy


def slowly(labels, scores, groups, resamples):
    """Draw rows one resample at a time."""
    size = groups.max() + 1
    random = np.random.default_rng((size, 0))
    values = []
    for _ in range(resamples):
        drawn = np.bincount(random.integers(0, size, size, dtype=np.int32), minlength=size)[groups]
        values.append(evaluate(RANKING, np.repeat(labels, drawn), np.repeat(scores, drawn)))
    return {name: np.array([value[name] for value in values]) for name in RANKING}


def test_all_resamples_at_once_equal_one_at_a_time():
    labels, scores, groups = toy(40)
    fast, slow = resample(RANKING, labels, scores, groups, resamples=50), slowly(labels, scores, groups, 50)
    for name in RANKING:
        assert fast[name] == pytest.approx(slow[name], rel=1e-6), name


def test_curves_at_knots_differ_from_exact_ones_far_less_than_resamples_do():
    labels, scores, groups = toy(5000)
    coarse, exact = (resample(RANKING, labels, scores, groups, resamples=60, knots=k) for k in (2000, 10**9))
    for name in RANKING:
        assert np.abs(coarse[name] - exact[name]).mean() < 0.1 * exact[name].std(), name


def test_bundles_of_groups_vary_as_groups_do(monkeypatch):
    labels, scores, groups = toy(4000)
    exact = deviations(AUC, labels, scores, groups, 600)["auc"]
    monkeypatch.setattr(bootstrap, "BUNDLES", 500)
    assert deviations(AUC, labels, scores, groups, 600)["auc"] == pytest.approx(exact, rel=0.15)


def test_draws_depend_on_groups_only():
    labels, scores, groups = toy(30)
    one = resample(AUC, labels, scores, groups, resamples=300)["auc"]
    again = resample(RANKING, labels, np.round(scores, 1), groups, resamples=300)["auc"]
    assert np.corrcoef(one, again)[0, 1] > 0.9
    assert np.array_equal(one, resample(AUC, labels, scores, groups, resamples=300)["auc"])


def test_a_band_holds_the_curve():
    labels, scores, groups = toy(50)
    values = resample(RANKING, labels, scores, groups, resamples=200)
    low, high = band(values["tpr_10"])
    assert low < float(evaluate(RANKING, labels, scores)["tpr_10"]) < high
    assert np.isnan(band(np.full((10, 3), np.nan))).all()


def test_resamples_of_one_class_are_left_out_and_one_group_has_none():
    labels, scores = np.array([0, 1]), np.array([0.0, 1.0])
    drawn = resample(AUC, labels, scores, np.array([0, 1]), resamples=100)["auc"]
    assert 20 < np.isnan(drawn).sum() < 80
    assert resample(AUC, labels, scores, np.array([0, 0])) == {}
    assert np.isnan(deviations(AUC, labels, scores, np.array([0, 0]))["auc"])
