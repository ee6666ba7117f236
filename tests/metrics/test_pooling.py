"""One score per video, by every rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfd.core.errors import DfdError
from dfd.metrics.pooling import POOLS, pool, pool_scores, rounded


def test_the_mean_of_each_video():
    video = np.array([7, 3, 7, 3, 3])
    labels, scores = pool(video, np.array([1, 0, 1, 0, 0]), np.array([1.0, 0.0, 0.0, 0.3, 0.6]))
    assert labels.tolist() == [0, 1]
    assert scores.tolist() == pytest.approx([0.3, 0.5])


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.01, 0.99)), min_size=1, max_size=60))
def test_every_rule_equals_its_plain_version(rows):
    video, score = map(np.array, zip(*rows))
    _, video = np.unique(video, return_inverse=True)
    plain = {
        "mean": np.mean,
        "median": np.median,
        "max": np.max,
        "top": lambda s: np.sort(s)[::-1][: max(1, int(np.ceil(len(s) / 4)))].mean(),
        "logit_mean": lambda s: 1 / (1 + np.exp(-np.mean(np.log(s / (1 - s))))),
        "confident": winners_rule,
    }
    assert set(plain) == set(POOLS)
    for how, rule in plain.items():
        expected = [rule(score[video == v]) for v in range(video.max() + 1)]
        assert pool_scores(video, score, how) == pytest.approx(expected), how


def winners_rule(scores):
    sure = scores[scores > 0.8]
    if len(sure) > len(scores) // 2.5 and len(sure) > 11:
        return sure.mean()
    calm = scores[scores < 0.2]
    return calm.mean() if len(calm) > 0.9 * len(scores) else scores.mean()


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.9] * 12 + [0.5] * 20, (12 * 0.9 + 20 * 0.5) / 32),  # 12 of 32 are not more than 32 // 2.5
        ([0.9] * 13 + [0.5] * 19, 0.9),
        ([0.9] * 11, 0.9),
        ([0.1] * 19 + [0.9], 0.1),
        ([0.1] * 9 + [0.9], 0.18),  # nine of ten are not more than nine tenths
    ],
)
def test_the_confident_rule_at_its_edges(scores, expected):
    assert pool_scores(np.zeros(len(scores), int), np.array(scores), "confident") == pytest.approx([expected])


@pytest.mark.parametrize("how", ["logit_mean", "confident"])
def test_rules_of_probabilities_refuse_other_scores(how):
    with pytest.raises(DfdError, match=r"needs probabilities, scores reach from -1 to 2"):
        pool_scores(np.array([0, 0]), np.array([-1.0, 2.0]), how)


def test_an_unknown_rule_is_named():
    with pytest.raises(DfdError, match="'vote' is unknown: allowed are mean"):
        pool_scores(np.array([0]), np.array([0.5]), "vote")


@pytest.mark.parametrize("how", ["mean", "logit_mean", "median", "top", "confident"])
def test_ties_on_paper_are_ties(how):
    """(.1 + .2 + .3) / 3 and .2 differ by an error of addition, and so do their log-odds."""
    video = np.array([0, 0, 0, 1, 1, 1, 2])
    scores = np.array([0.1, 0.2, 0.3, 0.3, 0.1, 0.2, 0.2])
    one, two, three = pool_scores(video, scores, how)
    assert one == two
    if how in ("mean", "confident"):
        assert one == three == 0.2


def test_only_the_error_of_a_sum_is_rounded():
    close = np.array([1 - 1e-15, 1 - 2e-15])  # of one row each: as they are
    assert pool_scores(np.array([0, 1]), close).tolist() == close.tolist()
    values = np.array([0.0, -123456.7890123456, 1e-30, 3e300, np.inf])
    assert rounded(values) == pytest.approx(values, rel=1e-11)
    assert rounded(np.array([0.1 + 0.2, 1e-9 * (0.1 + 0.2)])).tolist() == pytest.approx([0.3, 3e-10], rel=1e-15)
