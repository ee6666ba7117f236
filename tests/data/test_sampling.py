import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfd.core.errors import DfdError
from dfd.data.sampling import choose, draw, official, official_starts, spread, windows

frames = st.lists(st.integers(0, 60), min_size=1, max_size=40, unique=True).map(lambda f: np.array(sorted(f)))


@given(frames, st.integers(1, 5), st.integers(1, 3), st.randoms())
def test_windows_are_exactly_the_valid_runs(numbers, length, stride, random):
    valid = np.array([random.random() < 0.8 for _ in numbers])
    usable = set(numbers[valid])
    expected = [f for f in numbers[valid] if all(f + stride * k in usable for k in range(length))]
    found = windows(numbers, valid, length, stride)
    assert list(numbers[found[:, 0]]) == expected
    assert (np.diff(numbers[found], axis=1) == stride).all()


@given(st.integers(1, 500), st.integers(1, 40))
def test_spread_covers_both_ends(count, wanted):
    positions = spread(count, wanted)
    assert len(positions) == min(count, wanted)
    assert positions[0] == 0
    assert wanted == 1 or positions[-1] == count - 1


@given(st.integers(1, 500), st.integers(1, 40), st.integers(0, 9))
def test_draw_gives_as_many_as_wanted_one_per_segment(count, wanted, seed):
    positions = draw(count, wanted, np.random.default_rng(seed))
    assert len(positions) == wanted
    assert (positions >= 0).all()
    assert (positions < count).all()
    if count >= wanted:
        assert (np.diff(positions) >= 0).all()


def test_eval_clips_follow_the_official_golden_values():
    starts = choose(np.arange(300), np.ones(300, bool), views=8, length=4)[:, 0] + 1
    assert list(starts) == [1, 43, 85, 127, 170, 212, 254, 297]


def test_a_hole_stays_a_hole():
    valid = np.ones(10, bool)
    valid[4] = False
    rows = choose(np.arange(10), valid, views=8, length=4)
    assert 4 not in rows


def test_a_short_video_goes_round():
    rows = choose(np.arange(3), np.ones(3, bool), views=8, length=4)
    assert rows.tolist() == [[0, 1, 2, 0]]


def test_crops_that_cannot_hold_the_clip_say_what_to_do():
    bursts = np.array([0, 1, 10, 11, 20, 21])
    with pytest.raises(DfdError, match=r"data\.crops\.length=4"):
        choose(bursts, np.ones(6, bool), views=2, length=4)


def test_no_face_at_all_is_said():
    with pytest.raises(DfdError, match="no face"):
        choose(np.arange(4), np.zeros(4, bool), views=2)


@pytest.mark.parametrize(
    ("count", "first"),
    [
        (300, [1, 43, 85, 127, 170, 212, 254, 297]),
        (33, [1, 5, 9, 13, 17, 21, 25, 30]),
        (10, [1, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_official_evaluation_clips(count, first):
    clips = official(np.ones(count, bool), 8, 4)
    assert (clips[:, 0] + 1).tolist() == first
    assert (np.diff(clips, axis=1) == 1).all()


def test_official_clips_wrap_in_a_video_that_is_too_short():
    assert (official(np.ones(3, bool), 8, 4) + 1).tolist() == [[1, 2, 3, 1]] * 8


@given(st.integers(1, 400), st.integers(0, 99))
def test_official_training_clips_come_one_from_each_segment(count, seed):
    starts = official_starts(count, 8, 4, generator=np.random.default_rng(seed))
    segment = max(0, count - 4) // 8
    if segment:
        assert (starts // segment == np.arange(8)).all()
    else:
        assert ((starts >= 0) & (starts < max(1, count - 4))).all()


def test_official_clips_close_up_missed_frames():
    valid = np.array([True, False, True, True, False, True, True])
    assert official(valid, 1, 4)[0].tolist() == [0, 2, 3, 5]
