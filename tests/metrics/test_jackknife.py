"""Standard errors: leaving groups out at once equals one at a time, and influence functions are derivatives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfd.metrics import jackknife
from dfd.metrics.intervals import leave_one_out, spread
from dfd.metrics.jackknife import coded, intervals, left_out, spreads
from dfd.metrics.measures import RANKING, deciding, evaluate, judging
from dfd.metrics.ranking import count

ALL = {**RANKING, **deciding(0.5), **judging()}
SMOOTH = [name for name, metric in RANKING.items() if metric.influence]


def toy(groups, seed=0, shared=0.0, shift=1.0, ties=False):
    """Two reals and two fakes per group, whose scores share a part."""
    random = np.random.default_rng(seed)
    labels = np.tile([0, 0, 1, 1], groups)
    common = np.repeat(random.normal(0, 1, groups), 4)
    scores = shift * labels + shared * common + np.sqrt(1 - shared**2) * random.normal(0, 1, 4 * groups)
    scores = 1 / (1 + np.exp(-scores))
    return labels, np.round(scores, 1) if ties else scores, np.repeat(np.arange(groups), 4)


@pytest.mark.parametrize("ties", [False, True])
def test_all_groups_at_once_equal_one_at_a_time(ties):
    labels, scores, groups = toy(30, ties=ties)
    metrics = {name: metric for name, metric in ALL.items() if name != "ece"}  # whose bins follow each sample
    at_once = left_out(metrics, labels, scores, coded(groups), 30)
    for name, metric in metrics.items():
        alone = leave_one_out(lambda rows, m=metric: evaluate({"x": m}, labels[rows], scores[rows])["x"], groups)
        assert at_once[name] == pytest.approx(alone, rel=1e-6), name


def test_a_group_without_a_row_changes_nothing():
    labels, scores, groups = toy(6)
    values = left_out(ALL, labels, scores, 2 * groups, 12)
    for name, value in evaluate(ALL, labels, scores).items():
        assert values[name][1::2] == pytest.approx(float(value)), name


@given(st.integers(0, 1000), st.booleans())
def test_influences_are_derivatives(seed, ties):
    labels, scores, _ = toy(6, seed, ties=ties)
    counts, step = count(labels, scores), 1e-6
    for name in SMOOTH:
        if name == "pauc" and ties:
            continue  # the limit may cut a tied step, where the influence is that of its middle
        metric = RANKING[name]
        real, fake = metric.influence(counts)
        base = float(metric.of(counts))
        for row in range(0, len(labels), 5):
            weights = np.ones(len(labels))
            weights[row] += step
            slope = (float(metric.of(count(labels, scores, weights))) - base) / step
            at = int(np.flatnonzero(counts.thresholds == scores[row])[0])
            assert slope == pytest.approx((fake if labels[row] else real)[at], abs=1e-4), name


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_many_groups_by_influence_equal_each_left_out(monkeypatch, shift):
    labels, scores, groups = toy(400, 3, shared=0.5, shift=shift)
    exact = spreads(RANKING, labels, scores, groups, resamples=0)
    monkeypatch.setattr(jackknife, "EXACT", 10)
    fast = spreads(RANKING, labels, scores, groups, resamples=0)
    for name in SMOOTH:
        assert fast[name].error == pytest.approx(exact[name].error, rel=0.02), name


def test_the_error_of_an_accuracy_is_the_textbook_one():
    labels, scores, _ = toy(100)
    values = evaluate(deciding(0.5), labels, scores)["accuracy"]
    error = spreads(deciding(0.5), labels, scores, np.arange(len(labels)))["accuracy"].error
    assert error == pytest.approx(np.sqrt(values * (1 - values) / (len(labels) - 1)))


def test_copies_within_a_group_add_no_information():
    labels, scores, groups = toy(30)
    once = spreads(RANKING, labels, scores, groups)
    copied = spreads(RANKING, *(np.repeat(column, 20) for column in (labels, scores, groups)))
    for name in ("auc", "pauc", "ap", "eer"):
        assert copied[name].error == pytest.approx(once[name].error, rel=1e-6), name


def test_a_second_group_widens_and_equal_ones_do_not():
    random = np.random.default_rng(0)
    targets, donors = (random.integers(0, 12, 400) for _ in range(2))
    labels = np.arange(400) % 2
    scores = labels + random.normal(0, 1, 12)[donors] + random.normal(0, 1, 400)
    alone, both = (spreads(RANKING, labels, scores, targets, second)["auc"] for second in (None, donors))
    assert both.error > 1.3 * alone.error
    assert spreads(RANKING, labels, scores, targets, targets)["auc"] == alone


def test_a_sample_without_an_error_has_no_certain_interval():
    labels = np.tile([0, 1], 8)
    values = evaluate(ALL, labels, labels * 0.8 + 0.1)
    found = intervals(ALL, values, labels, labels * 0.8 + 0.1, np.arange(16) // 2)
    for name in ("auc", "ap", "pauc", "tpr_10", "accuracy", "f1", "balanced_accuracy", "tpr"):
        assert found[name] == pytest.approx((0.025 ** (1 / 8), 1.0)), name
    for name in ("eer", "fpr"):
        assert found[name] == pytest.approx((0.0, 1 - 0.025 ** (1 / 8))), name
    assert np.isnan([*found["ece"], *found["log_loss"]]).all()


def test_one_group_has_no_interval():
    labels, scores, _ = toy(4)
    values = evaluate(ALL, labels, scores)
    found = intervals(ALL, values, labels, scores, np.zeros(16))
    assert np.isnan([limit for interval in found.values() for limit in interval]).all()


def test_the_kurtosis_lowers_the_degrees_of_freedom():
    even = spread(np.tile([-1.0, 1.0], 50))
    assert even.df == 99
    few = spread(np.append(np.zeros(98), [-1.0, 1.0]))  # two groups carry everything
    assert few.df == pytest.approx(4, abs=0.2)
