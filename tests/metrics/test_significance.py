"""DeLong's test against an independent implementation by its definition, and against simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from dfd.metrics.intervals import spread
from dfd.metrics.jackknife import coded, left_out
from dfd.metrics.measures import AUC, RANKING, judging
from dfd.metrics.ranking import roc_auc
from dfd.metrics.significance import auc_covariance, delong, difference, holm

columns = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8), st.integers(0, 8)), min_size=6, max_size=40).filter(
    lambda rows: 2 <= sum(row[0] for row in rows) <= len(rows) - 2
)


def by_definition(labels, scores):
    """The structural components as the paper writes them: means of the kernel over all pairs."""
    fake, real = scores[:, labels == 1], scores[:, labels == 0]
    kernel = np.sign(fake[:, :, None] - real[:, None, :]) / 2 + 0.5
    return np.cov(kernel.mean(2)) / fake.shape[1] + np.cov(kernel.mean(1)) / real.shape[1]


@given(columns)
def test_covariance_is_that_of_the_definition(rows):
    labels, one, two = map(np.array, zip(*rows))
    areas, covariance = auc_covariance(labels, np.stack([one, two]))
    assert areas == pytest.approx([roc_auc(labels, one), roc_auc(labels, two)])
    assert covariance == pytest.approx(by_definition(labels, np.stack([one, two]).astype(float)), abs=1e-12)


@given(columns)
def test_groups_of_one_row_give_almost_what_no_groups_give(rows):
    labels, one, two = map(np.array, zip(*rows))
    scores = np.stack([one, two])
    plain, clustered = auc_covariance(labels, scores)[1], auc_covariance(labels, scores, np.arange(len(labels)))[1]
    assert clustered == pytest.approx(plain, abs=1e-9)


def simulated(seed, people=40, gain=0.0, shared=0.7):
    """Two detectors on one real and one fake per person; a person's look shifts all of its scores."""
    random = np.random.default_rng(seed)
    labels, groups = np.tile([0, 1], people), np.repeat(np.arange(people), 2)
    look = np.repeat(random.normal(0, shared, people), 2)
    scores = [labels * (1 + g) + look + random.normal(0, 0.7, 2 * people) for g in (gain, 0.0)]
    return labels, *scores, groups


def test_with_clusters_the_variance_is_the_true_one_and_without_it_is_not():
    areas, clustered, plain = [], [], []
    for seed in range(400):
        labels, one, _, groups = simulated(seed)
        area, variance = auc_covariance(labels, one, groups)
        areas.append(area[0])
        clustered.append(variance[0, 0])
        plain.append(auc_covariance(labels, one)[1][0, 0])
    assert np.mean(clustered) == pytest.approx(np.var(areas), rel=0.15)
    assert np.mean(plain) > 1.3 * np.var(areas)  # a person's real and fake move together, which helps


def test_no_difference_is_found_in_five_of_a_hundred_and_a_large_one_nearly_always():
    found = [delong(*simulated(seed, people=100)).p < 0.05 for seed in range(400)]
    assert 0.02 <= np.mean(found) <= 0.08
    assert np.mean([delong(*simulated(seed, people=100, gain=1.0)).p < 0.05 for seed in range(100)]) > 0.85


def test_a_difference_has_a_sign_and_an_interval():
    labels, better, worse, groups = simulated(1, people=200, gain=1.0)
    one, other = delong(labels, better, worse, groups), delong(labels, worse, better, groups)
    assert one.low < one.value < one.high
    assert one.value == pytest.approx(-other.value)
    assert one.p == pytest.approx(other.p)
    assert delong(labels, better, better * 3 + 1).p == 1.0
    close = delong(*simulated(3, people=40, gain=0.1))  # interval and p are of one test
    edge = delong(*simulated(3, people=40, gain=0.1), confidence=1 - close.p)
    assert min(abs(edge.low), abs(edge.high)) == pytest.approx(0, abs=1e-6)
    alone = delong(labels, better, worse)
    error = (alone.high - alone.low) / 2 / norm.ppf(0.975)
    assert alone.p == pytest.approx(2 * norm.sf(abs(alone.value) / error))


def test_one_class_has_no_covariance():
    assert np.isnan(auc_covariance(np.zeros(4), np.arange(4.0))[1]).all()


@pytest.mark.parametrize(
    ("labels", "groups"),
    [([0, 0, 1, 1], ["g"] * 4), ([0, 1, 1, 1], None), ([1, 1, 1, 1], None), ([0, 0, 1, 1], ["a", "a", "a", "b"])],
)
def test_an_undefined_test_is_not_a_certain_one(labels, groups):
    groups = None if groups is None else np.array(groups)
    found = delong(np.array(labels), np.array([0.1, 0.2, 0.8, 0.9]), np.array([0.6, 0.2, 0.1, 0.7]), groups)
    assert np.isnan([found.low, found.high, found.p]).all()


def test_holm_leaves_out_tests_that_were_not_made():
    assert holm([np.nan, 0.02, 0.03, np.nan]) == pytest.approx([np.nan, 0.04, 0.04, np.nan], nan_ok=True)
    assert np.isnan(holm([np.nan])).all()


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1, 1])


@pytest.mark.parametrize("people", [6, 12, 60])
def test_interval_and_p_never_contradict_each_other(people):
    for seed in range(60):
        found = delong(*simulated(seed, people, gain=0.5))
        assert (found.low > 0 or found.high < 0) == (found.p < 0.05)


def test_a_true_null_is_rejected_in_at_most_seven_of_a_hundred_with_few_groups():
    found = [delong(*simulated(seed, people=8)).p < 0.05 for seed in range(200)]
    assert np.mean(found) <= 0.07


def test_the_jackknife_of_a_difference_agrees_with_delong():
    labels, one, two, groups = simulated(4, people=80, gain=0.3)
    test, jack = delong(labels, one, two, groups), difference(AUC["auc"], labels, one, two, groups)
    assert jack.value == pytest.approx(test.value)
    assert jack.high - jack.low == pytest.approx(test.high - test.low, rel=0.05)
    swapped = difference(AUC["auc"], labels, two, one, groups)
    assert (swapped.low, swapped.high) == pytest.approx((-jack.high, -jack.low))


@pytest.mark.parametrize("metric", [judging()["log_loss"], RANKING["eer"], RANKING["ap"]])
def test_any_metric_can_be_compared(metric):
    labels, one, two, groups = simulated(4, people=60, gain=0.8)
    first, second = (1 / (1 + np.exp(-scores)) for scores in (one, two))
    found = difference(metric, labels, first, second, groups)
    assert found.low < found.value < found.high
    assert 0 < found.p < 1
    same = difference(metric, labels, first, first, groups)
    assert (same.value, same.p) == (0, 1)
    assert same.low < 0 < same.high


def test_two_samples_without_an_error_are_not_certainly_equal():
    labels, groups = np.tile([0, 1], 8), np.repeat(np.arange(8), 2)
    same = delong(labels, labels * 1.0, labels * 2.0, groups)
    reach = 1 - 0.025 ** (1 / 8)
    assert same == pytest.approx((0, -reach, reach, 1))
    apart = delong(labels, labels * 1.0, np.zeros(16), groups)  # perfect, against a guess
    assert apart.low > 0
    assert apart.p == pytest.approx(2 * 0.5**8)


def test_what_a_group_adds_is_what_leaving_it_out_takes():
    labels, one, two, groups = simulated(9, people=100)
    without = [left_out(AUC, labels, scores, coded(groups), 100)["auc"] for scores in (one, two)]
    test = delong(labels, one, two, groups)
    found = spread(without[0] - without[1])
    low, high = found.reach(), (test.high - test.low) / 2
    assert low == pytest.approx(high, rel=0.03)
