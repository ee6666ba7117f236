"""Metrics equal scikit-learn's on unbounded, tied and weighted scores, and are undefined where they have no meaning."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from dfd.metrics.bootstrap import expanded_tail, group_bootstrap
from dfd.metrics.decisions import accuracy, log_loss
from dfd.metrics.pooling import pool
from dfd.metrics.ranking import average_precision, eer, roc_auc, roc_curve

rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-6, 6).map(lambda s: s * 2.5), st.floats(0.1, 3)), min_size=2, max_size=60
).filter(lambda rows: len({row[0] for row in rows}) == 2)


@given(rows)
def test_auc_and_ap_equal_scikit_learn(rows):
    labels, scores, weights = map(np.array, zip(*rows))
    sk_auc = sklearn.metrics.roc_auc_score(labels, scores, sample_weight=weights)
    sk_ap = sklearn.metrics.average_precision_score(labels, scores, sample_weight=weights)
    assert roc_auc(labels, scores, weights) == pytest.approx(sk_auc)
    assert average_precision(labels, scores, weights) == pytest.approx(sk_ap)


@given(rows)
def test_auc_counts_pairs_and_follows_order_only(rows):
    labels, scores, _ = map(np.array, zip(*rows))
    fake, real = scores[labels == 1], scores[labels == 0]
    pairs = np.sign(fake[:, None] - real[None]) / 2 + 0.5
    assert roc_auc(labels, scores) == pytest.approx(pairs.mean())
    assert roc_auc(labels, np.exp(scores / 5)) == pytest.approx(roc_auc(labels, scores))
    assert roc_auc(1 - labels, scores) == pytest.approx(1 - roc_auc(labels, scores))


@given(rows)
def test_eer_lies_on_the_roc_curve_where_errors_are_equal(rows):
    labels, scores, _ = map(np.array, zip(*rows))
    rate = eer(labels, scores)
    fpr, tpr, _ = roc_curve(labels, scores)
    # a vertical stretch of the curve holds a whole range of true positive rates at one false positive rate
    at = tpr[np.isclose(fpr, rate)]
    assert np.isclose(np.interp(rate, fpr, tpr), 1 - rate) or (at.min() - 1e-9 <= 1 - rate <= at.max() + 1e-9)


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [([0, 1], [0.0, 1.0], 0.0), ([1, 0], [0.0, 1.0], 1.0), ([0, 0, 1, 1], [1.0, 2.0, 1.0, 2.0], 0.5)],
)
def test_eer_by_hand(labels, scores, expected):
    assert eer(np.array(labels), np.array(scores)) == pytest.approx(expected)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_undefined(label):
    labels, scores = np.full(4, label), np.arange(4.0)
    assert all(np.isnan(metric(labels, scores)) for metric in (roc_auc, average_precision, eer))


def test_decisions():
    labels, scores = np.array([0, 0, 1, 1]), np.array([0.2, 0.5, 0.5, 0.9])
    assert accuracy(labels, scores) == 0.75
    assert log_loss(labels, scores) == pytest.approx(sklearn.metrics.log_loss(labels, scores))
    assert np.isnan(log_loss(labels, scores * 10))


def test_pooling_takes_the_mean_of_each_video():
    video = np.array([7, 3, 7, 3, 3])
    labels, scores = pool(video, np.array([1, 0, 1, 0, 0]), np.array([1.0, 0.0, 0.0, 0.3, 0.6]))
    assert labels.tolist() == [0, 1]
    assert scores.tolist() == pytest.approx([0.3, 0.5])


def toy(groups, seed=0):
    random = np.random.default_rng(seed)
    labels = np.tile([0, 1], groups)
    return labels, labels + random.normal(0, 1.2, 2 * groups), np.repeat(np.arange(groups), 2)


def test_bootstrap_holds_the_estimate_and_narrows_with_more_groups():
    widths = []
    for groups in (20, 500):
        labels, scores, names = toy(groups)
        intervals, useless = group_bootstrap({"auc": roc_auc}, labels, scores, names, resamples=200)
        low, high = intervals["auc"]
        assert low < roc_auc(labels, scores) < high
        assert useless == 0
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_bootstrap_resamples_whole_groups():
    """Copies of a video within its group add no information: the interval must not narrow."""
    labels, scores, names = toy(30)
    once = group_bootstrap({"auc": roc_auc}, labels, scores, names, resamples=300)[0]["auc"]
    copied = (np.repeat(column, 20) for column in (labels, scores, names))
    many = group_bootstrap({"auc": roc_auc}, *copied, resamples=300)[0]["auc"]
    assert many == pytest.approx(once)


def test_percentiles_are_expanded_for_few_groups_only():
    assert expanded_tail(0.025, 8) == pytest.approx(0.0057, abs=2e-4)
    assert expanded_tail(0.025, 10**6) == pytest.approx(0.025, abs=1e-5)


def test_bootstrap_counts_resamples_of_one_class_and_needs_two_groups():
    labels, scores = np.array([0, 1]), np.array([0.0, 1.0])
    intervals, useless = group_bootstrap({"auc": roc_auc}, labels, scores, np.array([0, 1]), resamples=100)
    assert 20 < useless < 80
    assert intervals["auc"] == (1.0, 1.0)
    assert group_bootstrap({"auc": roc_auc}, labels, scores, np.array([0, 0])) == ({}, 0)
