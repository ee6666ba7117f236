"""Suppression and voting over many clips at once give what one clip and one pair after the other give."""

import math

import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.metrics.proposals import Candidates, Decoding, decode, suppress, vote


def candidates(clips=5, size=60, seed=0):
    """Segments of all widths with scores from nothing to one; the last clip has padding."""
    random = np.random.default_rng(seed)
    start = random.uniform(0, 8, (clips, size))
    segments = np.stack([start, start + random.uniform(0.05, 2, (clips, size))], -1).astype(np.float32)
    scores = random.random((clips, size)).astype(np.float32) ** 2
    scores[-1, size // 2 :] = 0
    return Candidates(segments, scores)


def overlap(first, second, area=0.0):
    shared = max(0.0, min(first[1], second[1]) - max(first[0], second[0]))
    return shared / (first[1] - first[0] + second[1] - second[0] + area - shared)


def one_by_one(segments, scores, how):
    """Pick the best, score down the others, again."""
    left = {place: float(score) for place, score in enumerate(scores) if score > how.min_score}
    picks = []
    while left and len(picks) < how.limit:
        best = max(left, key=lambda place: left[place])
        picks.append((best, left.pop(best)))
        width = segments[best][1] - segments[best][0]
        for place in list(left):
            value = overlap(segments[best], segments[place], 2e-6)
            if how.method == "gaussian" or (how.method == "bmn" and value > how.low + (how.high - how.low) * width):
                left[place] *= math.exp(-(value**2) / how.sigma)
            elif how.method in ("linear", "hard") and value >= how.iou:
                left[place] *= 1 - value if how.method == "linear" else 0
            if left[place] < how.min_score:
                del left[place]
    return picks


@pytest.mark.parametrize("method", ["gaussian", "linear", "hard", "bmn"])
def test_suppression_equals_the_loop_over_single_candidates(method):
    segments, scores = candidates(clips=11)
    how = Decoding(method, iou=0.3, sigma=0.4, min_score=0.01, limit=25)
    chosen, found = suppress(segments, np.where(scores > how.min_score, scores, 0), how)
    for clip in range(len(segments)):
        picks = one_by_one(segments[clip].astype(float), scores[clip], how)
        assert chosen[clip, : len(picks)].tolist() == [place for place, _ in picks]
        assert found[clip, : len(picks)] == pytest.approx([score for _, score in picks], abs=1e-6)
        assert not found[clip, len(picks) :].any()


def test_voting_is_the_weighted_mean_of_close_candidates():
    segments, scores = candidates(size=400, seed=1)
    picked = segments[0, :20]
    slow = []
    for pick in picked:
        near = [(overlap(pick, s), w, s) for s, w in zip(segments[0], scores[0]) if overlap(pick, s) >= 0.7]
        total = sum(v * w for v, w, _ in near)
        slow.append(sum(v * w * s for v, w, s in near) / total)
    assert vote(picked, segments[0], scores[0], 0.7) == pytest.approx(np.stack(slow), abs=1e-5)


def test_no_suppression_keeps_the_best_in_order():
    segments, scores = candidates()
    picks = decode(Candidates(segments, scores), Decoding("none", limit=7))
    assert picks[0].scores == pytest.approx(np.sort(scores[0])[::-1][:7])
    assert (picks[0].segments == segments[0][picks[0].chosen]).all()


def test_segments_stay_inside_their_clip_and_padding_is_never_picked():
    segments, scores = candidates()
    picks = decode(Candidates(segments, scores), Decoding(voting=0, limit=60), [3.0] * len(segments))
    assert all(p.segments.max() <= 3.0 for p in picks if len(p.segments))
    assert (picks[-1].chosen < 30).all()


def test_fewer_candidates_per_clip_are_the_best_ones():
    segments, scores = candidates()
    few = decode(Candidates(segments, scores), Decoding("hard", top=1))
    assert [p.chosen.tolist() for p in few] == [[int(row.argmax())] for row in scores]


def test_clips_without_candidates_have_no_proposals():
    empty = Candidates(np.zeros((2, 0, 2)), np.zeros((2, 0)))
    assert [len(p.scores) for p in decode(empty, Decoding())] == [0, 0]
    silent = Candidates(np.ones((2, 3, 2)), np.zeros((2, 3)))
    assert [len(p.scores) for p in decode(silent, Decoding())] == [0, 0]
    assert decode(Candidates(np.zeros((0, 0, 2)), np.zeros((0, 0))), Decoding()) == []


def test_a_wrong_option_is_refused():
    with pytest.raises(DfdError, match="gaussian"):
        Decoding("soft")
    with pytest.raises(DfdError, match="positive"):
        Decoding(sigma=0)
