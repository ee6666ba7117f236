"""OOD metrics against scikit-learn and brute force, with ties, both conventions and unequal priors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from dfd.metrics import ood as m
from dfd.metrics.measures import evaluate


def drawn(seed, ties=True):
    draw = np.random.default_rng(seed)
    ood = np.r_[np.zeros(40, int), np.ones(int(draw.integers(5, 80)), int)]
    scores = draw.normal(size=len(ood)) * 30 + 25 * ood
    return ood, (np.round(scores / 10) if ties else scores)


@given(st.integers(0, 500), st.booleans())
@settings(max_examples=40, deadline=None)
def test_against_scikit_learn(seed, ties):
    ood, scores = drawn(seed, ties)
    assert m.auroc(ood, scores) == pytest.approx(roc_auc_score(ood, scores))
    assert m.aupr_out(ood, scores) == pytest.approx(average_precision_score(ood, scores))
    assert m.aupr_in(ood, scores) == pytest.approx(average_precision_score(1 - ood, -scores))
    for positive, values, ours in ((ood, scores, m.fpr95_ood_positive), (1 - ood, -scores, m.fpr95_id_positive)):
        fpr, tpr, _ = roc_curve(positive, values, drop_intermediate=False)
        assert ours(ood, scores) == pytest.approx(fpr[tpr >= 0.95 - 1e-12].min())
    fpr, tpr, _ = roc_curve(ood, scores, drop_intermediate=False)
    share = ood.mean()
    assert m.detection_error(ood, scores, prior=None) == pytest.approx((share * (1 - tpr) + (1 - share) * fpr).min())
    assert m.detection_error(ood, scores) == pytest.approx((0.5 * (1 - tpr) + 0.5 * fpr).min())


def test_the_two_conventions_of_fpr95_are_not_the_same():
    ood = np.r_[np.zeros(100, int), np.ones(100, int)]
    scores = np.r_[np.arange(100), np.full(90, 1000), np.full(10, -1)]  # a tenth of the outliers looks most normal
    assert m.fpr95_id_positive(ood, scores) == pytest.approx(0.1)
    assert m.fpr95_ood_positive(ood, scores) == pytest.approx(1.0)


def test_priors_weigh_the_right_errors():
    ood = np.r_[np.zeros(90, int), np.ones(10, int)]
    scores = np.zeros(100)  # nothing to go by: the best is to call everything by the more frequent name
    assert m.detection_error(ood, scores, prior=None) == pytest.approx(0.1)
    assert m.detection_error(ood, scores, prior=0.9) == pytest.approx(0.1)
    assert m.detection_error(ood, scores) == pytest.approx(0.5)


def test_perfect_random_and_one_sided():
    ood = np.r_[np.zeros(50, int), np.ones(50, int)]
    perfect = ood * 5.0
    numbers = (m.auroc, m.aupr_in, m.aupr_out)
    assert [f(ood, perfect) for f in numbers] == [1, 1, 1]
    assert (
        m.fpr95_id_positive(ood, perfect) == m.fpr95_ood_positive(ood, perfect) == m.detection_error(ood, perfect) == 0
    )
    assert m.auroc(ood, np.ones(100)) == 0.5
    assert m.fpr95_id_positive(ood, np.ones(100)) == m.fpr95_ood_positive(ood, np.ones(100)) == 1
    for function in (*numbers, m.fpr95_id_positive, m.fpr95_ood_positive, m.detection_error):
        assert np.isnan(function(np.zeros(4, int), np.arange(4)))


@given(st.integers(0, 300), st.floats(0.5, 0.99))
@settings(max_examples=30, deadline=None)
def test_a_threshold_keeps_what_it_promises(seed, kept):
    known = np.random.default_rng(seed).normal(size=57).round(1)
    threshold = m.threshold_for(known, kept)
    assert (known <= threshold).mean() >= kept
    assert (known < threshold).mean() < kept + 1 / 57


def test_risk_and_coverage():
    wrong, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4])
    coverage, risk = m.risk_coverage(wrong, scores)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert risk == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert m.aurc(wrong, scores) == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert m.coverage_at_accuracy(wrong, scores, 0.95) == 0.5
    assert m.coverage_at_accuracy(wrong, -scores, 0.95) == 0
    assert m.aurc(wrong, np.zeros(4)) == 0.5  # all tied: all or nothing is answered


def test_oscr_is_the_auroc_where_every_answer_is_right():
    draw = np.random.default_rng(0)
    known, outliers = draw.normal(size=60), draw.normal(1, 1, 70)
    ood = np.repeat([0, 1], [60, 70])
    everything = np.r_[known, outliers]
    assert m.oscr(np.ones(60), known, outliers) == pytest.approx(m.auroc(ood, everything))
    right = np.arange(60) % 3 > 0
    brute = auc(
        [0, *((outliers <= t).mean() for t in np.sort(everything))],
        [0, *(((known <= t) & right).mean() for t in np.sort(everything))],
    )
    assert m.oscr(right, known, outliers) == pytest.approx(brute)


@given(st.integers(0, 200), st.booleans())
@settings(max_examples=20, deadline=None)
def test_the_forms_that_can_be_resampled_are_the_same_numbers(seed, ties):
    ood, scores = drawn(seed, ties)
    values = evaluate(m.STEPPING, ood, scores)
    assert values["fpr95_id_positive"] == pytest.approx(m.fpr95_id_positive(ood, scores))
    assert values["fpr95_ood_positive"] == pytest.approx(m.fpr95_ood_positive(ood, scores))


@given(st.integers(0, 200), st.booleans())
@settings(max_examples=20, deadline=None)
def test_both_conventions_of_aupr(seed, ties):
    """By steps as scikit-learn's average precision; by trapezoids as OpenOOD has it: the area under its PR curve."""
    ood, scores = drawn(seed, ties)
    for positive, values, ours in ((ood, scores, m.aupr_out), (1 - ood, -scores, m.aupr_in)):
        precision, recall, _ = precision_recall_curve(positive, values)
        assert ours(ood, scores, trapezoid=True) == pytest.approx(auc(recall, precision))
        assert ours(ood, scores) == pytest.approx(average_precision_score(positive, values))
    assert m.aupr_out(ood, np.ones(len(ood)), trapezoid=True) > 1.2 * m.aupr_out(ood, np.ones(len(ood)))


def test_trapezoids_are_those_of_pytorch_ood():
    metrics = pytest.importorskip("pytorch_ood.metrics")
    torch = pytest.importorskip("torch")
    ood, scores = drawn(3)
    theirs = metrics.OODMetrics()
    theirs.update(torch.tensor(scores), torch.tensor(np.where(ood, -1, 0)))
    found = theirs.compute()
    assert m.aupr_out(ood, scores, trapezoid=True) == pytest.approx(float(found["AUPR-OUT"]), abs=1e-6)
    assert m.aupr_in(ood, scores, trapezoid=True) == pytest.approx(float(found["AUPR-IN"]), abs=1e-6)
