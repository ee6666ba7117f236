"""Metrics equal scikit-learn's on unbounded, tied and weighted scores, and are undefined where they have no meaning."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from dfd.metrics import measures, probabilities
from dfd.metrics.decisions import accuracy, best_threshold, threshold_at
from dfd.metrics.ranking import average_precision, count, eer, partial_area, recall_at, roc_auc, roc_curve

rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-6, 6).map(lambda s: s * 2.5), st.floats(0.1, 3)), min_size=2, max_size=60
).filter(lambda rows: len({row[0] for row in rows}) == 2)
chances = st.lists(st.tuples(st.integers(0, 1), st.floats(0.001, 0.999), st.floats(0.1, 3)), min_size=2, max_size=60)


@given(rows)
def test_auc_partial_auc_and_ap_equal_scikit_learn(rows):
    labels, scores, weights = map(np.array, zip(*rows))
    given = {"sample_weight": weights}
    assert roc_auc(labels, scores, weights) == pytest.approx(sklearn.metrics.roc_auc_score(labels, scores, **given))
    assert average_precision(labels, scores, weights) == pytest.approx(
        sklearn.metrics.average_precision_score(labels, scores, **given)
    )
    for limit in (0.1, 0.5):
        theirs = sklearn.metrics.roc_auc_score(labels, scores, max_fpr=limit, **given)
        assert partial_area(count(labels, scores, weights), limit) == pytest.approx(theirs)


@given(rows, st.floats(0, 1))
def test_recall_at_a_false_positive_rate_is_the_best_that_a_threshold_reaches(rows, fpr):
    labels, scores, weights = map(np.array, zip(*rows))
    false, true, _ = sklearn.metrics.roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    assert recall_at(count(labels, scores, weights), fpr) == pytest.approx(true[false <= fpr + 1e-12].max())


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


@given(rows, st.sampled_from([-15.0, -2.5, 0.0, 1.0, 15.0, 99.0]))
def test_decisions_equal_scikit_learn(rows, threshold):
    labels, scores, weights = map(np.array, zip(*rows))
    called = (scores >= threshold).astype(int)
    ours = measures.evaluate(measures.deciding(threshold), labels, scores, weights)
    given = {"sample_weight": weights}
    assert ours["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, called, **given))
    assert ours["balanced_accuracy"] == pytest.approx(sklearn.metrics.balanced_accuracy_score(labels, called, **given))
    assert ours["f1"] == pytest.approx(sklearn.metrics.f1_score(labels, called, zero_division=0, **given))
    assert accuracy(labels, scores, threshold) == pytest.approx(((scores >= threshold) == (labels == 1)).mean())


@given(chances)
def test_log_loss_and_brier_equal_scikit_learn(rows):
    labels, scores, weights = map(np.array, zip(*rows))
    ours = measures.evaluate(measures.judging(), labels, scores, weights)
    theirs = sklearn.metrics.log_loss(labels, scores, sample_weight=weights, labels=[0, 1])
    assert ours["log_loss"] == pytest.approx(theirs)
    assert probabilities.log_loss(labels, scores, weights) == pytest.approx(theirs)
    assert ours["brier"] == pytest.approx(np.average((scores - labels) ** 2, weights=weights))


def test_log_loss_is_clipped_and_needs_probabilities():
    assert probabilities.log_loss([0, 1], [1.0, 1.0], clip=0.01) == pytest.approx(-np.log(0.01) / 2, rel=0.01)
    assert np.isnan(probabilities.log_loss(np.array([0, 1]), np.array([-2.0, 3.0])))


def test_calibration_error_of_honest_and_of_bold_probabilities():
    random = np.random.default_rng(0)
    honest = random.uniform(0, 1, 40_000)
    labels = (random.uniform(0, 1, 40_000) < honest).astype(int)
    ece = measures.judging()["ece"]
    assert measures.evaluate({"ece": ece}, labels, honest)["ece"] < 0.015
    assert measures.evaluate({"ece": ece}, labels, np.round(honest))["ece"] == pytest.approx(0.25, abs=0.01)
    mean, share, size = probabilities.reliability(labels, honest)
    assert np.abs(mean - share).max() < 0.05
    assert size.min() > 2600


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_undefined(label):
    labels, scores = np.full(4, label), np.arange(4.0)
    values = measures.evaluate(measures.RANKING, labels, scores)
    assert all(np.isnan(value) for value in values.values()), values


@given(rows, st.floats(0, 1))
def test_a_threshold_keeps_its_false_positive_rate(rows, fpr):
    labels, scores, _ = map(np.array, zip(*rows))
    threshold = threshold_at(labels, scores, fpr)
    real = scores[labels == 0]
    assert (real >= threshold).mean() <= fpr + 1e-9
    below = np.unique(scores)[np.unique(scores) < threshold]
    if len(below):  # the next lower one would break it
        assert (real >= below[-1]).mean() > fpr


def test_the_best_threshold_lies_between_the_classes():
    assert best_threshold(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.9])) == pytest.approx(0.4)
