import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.data.sampling import sliding
from dfd.metrics.delays import (
    LengthCalibration,
    accuracy,
    blended,
    by_category,
    common_offset,
    pooled,
    surprise,
    together,
)
from dfd.metrics.ranking import roc_auc


def peaked(delays, count=31, height=0.8):
    rows = np.full((len(delays), count), (1 - height) / (count - 1))
    rows[np.arange(len(delays)), np.asarray(delays) + count // 2] = height
    return rows


def test_accuracy_counts_frames():
    found = accuracy(peaked([0, 1, -1, 3]))
    assert found == {"exact": 0.25, "within1": 0.75, "mean_abs": 1.25}
    assert accuracy(peaked([3, 4]), truth=3)["within1"] == 1.0
    assert np.isnan(accuracy(np.empty((0, 31)))["exact"])


def test_neighbouring_windows_speak_together():
    rows = peaked([0, 0, 9, 0, 0, 0])
    joint = together(rows)
    assert (joint.argmax(1) == 15).all()
    assert np.allclose(joint.sum(1), 1)
    assert np.array_equal(together(rows[:3]), rows[:3])


def test_the_common_offset_is_the_peak_of_the_mean():
    assert common_offset(peaked([3, 3, -7, 3])) == 3
    assert common_offset(peaked([3, -2, -2]), weights=np.array([1.0, 0, 0])) == 3


def test_kl_is_zero_where_nothing_surprises_and_differs_from_cross_entropy_by_the_entropy():
    rows = np.random.default_rng(0).dirichlet(np.ones(31), 5)
    others = np.random.default_rng(1).dirichlet(np.ones(31), 5)
    assert np.allclose(surprise(rows, rows), 0, atol=1e-9)
    assert (surprise(others, rows) > 0).all()
    entropy = -(rows * np.log(rows)).sum(1)
    assert np.allclose(surprise(others, rows, "soft_ce") - surprise(others, rows), entropy)
    with pytest.raises(DfdError, match="soft_ce"):
        surprise(rows, rows, "js")


def test_windows_cover_the_clip_and_the_last_one_ends_with_it():
    assert sliding(130, 50, 25).tolist() == [0, 25, 50, 75, 80]
    assert sliding(30, 50, 25).tolist() == [0]
    assert sliding(130, 50, 25, first_only=True).tolist() == [0]


def test_pooling():
    scores = np.array([1.0, 5, 2, 4])
    assert pooled(scores) == 3
    assert pooled(scores, "max") == 5
    assert pooled(scores, "top_k", 2) == 4.5
    assert np.isnan(pooled(np.array([])))
    assert blended(np.array([1.0]), np.array([2.0]), 0.5).tolist() == [2.0]
    assert blended(np.array([1.0]), None, 0.5).tolist() == [1.0]


def test_calibration_takes_out_what_length_does():
    random = np.random.default_rng(0)
    lengths = random.integers(5, 200, 400)
    scores = 1 / np.sqrt(lengths) + 0.02 * random.standard_normal(400)
    calibrated = LengthCalibration.fit(scores, lengths)(scores, lengths)
    assert abs(np.corrcoef(scores, lengths)[0, 1]) > 0.6
    assert abs(np.corrcoef(calibrated, lengths)[0, 1]) < 0.2
    assert abs(np.median(calibrated)) < 0.2
    with pytest.raises(DfdError, match="at least 2"):
        LengthCalibration.fit(scores[:1], lengths[:1])


def test_categories_are_compared_with_plain_reals_alone():
    methods = ["real"] * 4 + ["innocent-noise"] * 2 + ["RVFA"] * 2 + ["FVFA-WL"] * 2
    labels = np.array([0] * 6 + [1] * 4)
    scores = np.array([0, 1, 2, 3, 9, 9, 4, 5, 0.5, 4.0])
    found = by_category(scores, labels, methods, {"auc": roc_auc})
    assert found["RVFA"]["auc"] == 1.0
    assert found["FVFA-WL"]["auc"] == found["AVG-FV"]["auc"] == pytest.approx(0.625)
    assert found["AVG-ALL"]["auc"] == pytest.approx(0.8125)
    assert found["innocent"]["auc"] == 1.0
