"""Calibrations undo what was done to probabilities, and conformal bands keep their promise."""

import json

import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.metrics.calibration import METHODS, Calibration, conformal_band, fit
from dfd.metrics.probabilities import log_loss


def honest(count=20_000, seed=0):
    random = np.random.default_rng(seed)
    odds = random.normal(0.5, 1.5, count)
    return (random.uniform(0, 1, count) < 1 / (1 + np.exp(-odds))).astype(int), odds


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("method", ["temperature", "platt", "beta", "isotonic"])
def test_too_bold_probabilities_become_honest(method):
    labels, odds = honest()
    calibrate = fit(method, labels, sigmoid(3 * odds))
    fresh_labels, fresh = honest(seed=1)
    best = log_loss(fresh_labels, sigmoid(fresh))
    assert log_loss(fresh_labels, calibrate(sigmoid(3 * fresh))) == pytest.approx(best, rel=0.01)
    again = Calibration(**json.loads(json.dumps({"method": calibrate.method, "parameters": calibrate.parameters})))
    assert np.array_equal(again(sigmoid(fresh)), calibrate(sigmoid(fresh)))


def test_temperature_finds_the_factor_and_keeps_one_half():
    labels, odds = honest()
    calibrate = fit("temperature", labels, sigmoid(3 * odds))
    assert calibrate.parameters["w"][0] == pytest.approx(1 / 3, rel=0.03)
    assert calibrate(np.array([0.5])) == pytest.approx([0.5])


def test_platt_takes_any_score():
    labels, odds = honest()
    assert fit("platt", labels, 7 * odds - 3)(np.array([-3.0])) == pytest.approx([0.5], abs=0.02)


@pytest.mark.parametrize(("factor", "shift"), [(1, 5000), (1, -1e6), (1e5, 0), (1e-6, 0), (1e5, 3e6)])
def test_platt_is_the_same_whatever_the_scale_of_scores(factor, shift):
    labels, odds = honest(2000)
    expected = fit("platt", labels, 7 * odds - 3)(7 * odds - 3)
    scores = factor * (7 * odds - 3) + shift
    assert fit("platt", labels, scores)(scores) == pytest.approx(expected, abs=1e-3)


def test_one_score_for_all_is_calibrated_to_the_share_of_fakes():
    values = fit("platt", np.array([0, 1, 1, 1] * 50), np.full(200, 3.1))(np.array([3.1]))
    assert values == pytest.approx([0.75], abs=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_perfect_separation_stays_finite_and_in_order(method):
    calibrate = fit(method, np.array([0, 0, 1, 1]), np.array([0.01, 0.02, 0.98, 0.99]))
    values = calibrate(np.array([0.0, 0.01, 0.5, 0.99, 1.0]))
    assert np.isfinite(values).all()
    assert (np.diff(values) >= 0).all()


@pytest.mark.parametrize(
    ("method", "labels", "scores", "message"),
    [
        ("magic", [0, 1], [0.0, 1.0], "'magic' is unknown"),
        ("platt", [1, 1], [0.0, 1.0], "one class only"),
        ("beta", [0, 1], [-1.0, 1.0], "needs probabilities"),
    ],
)
def test_what_cannot_be_fitted_is_said(method, labels, scores, message):
    with pytest.raises(DfdError, match=message):
        fit(method, np.array(labels), np.array(scores))


def test_a_conformal_band_errs_no_more_than_promised():
    wrong = np.zeros(2)
    for seed in range(300):
        random = np.random.default_rng(seed)
        labels = np.tile([0, 1], 40)
        low, high = conformal_band(labels, labels * 1.5 + random.normal(0, 1, 80), error=0.1)
        fresh = random.normal(0, 1, (2, 500)) + [[0], [1.5]]
        wrong += [(fresh[0] > high).mean(), (fresh[1] < low).mean()]
    assert (wrong / 300 <= 0.105).all()
    assert (wrong / 300 > 0.03).all()  # and not by never deciding


@pytest.mark.parametrize("real", [0.0, 1e-10])
def test_separated_and_saturated_scores_get_a_verdict(real):
    labels = np.tile([0, 1], 20)
    low, high = conformal_band(labels, np.where(labels == 1, 1.0, real), error=0.1)
    assert real < low
    assert high < 1.0
    assert low < 0.5 < high


def test_scores_that_both_classes_share_get_none():
    labels = np.tile([0, 1], 20)
    assert conformal_band(labels, np.ones(40), error=0.1) == (1.0, 1.0)


def test_too_few_videos_make_no_promise():
    assert conformal_band(np.array([0, 1] * 8), np.arange(16.0), error=0.1) is None
