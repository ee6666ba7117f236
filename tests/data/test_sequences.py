"""Streams on the grid of a network: aligned in seconds, in windows that show what is forged, random by a seed alone."""

from itertools import pairwise

import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.core.records import FeatureStream, Record, Segment, SequenceInput
from dfd.data.features import FeatureFacts, HeldStream
from dfd.data.sequences import SequenceAugment, SequenceViews, Window, cover, on_grid, statistics, visible
from dfd.data.views import Visit


def clock(rate: float, seconds: float, start: float | None = None) -> tuple[np.ndarray, float]:
    """Rows that say when they are."""
    start = 0.5 / rate if start is None else start
    return (start + np.arange(round(seconds * rate)) / rate)[:, None].astype(np.float32), start


def spec(length: int = 100, rate: float = 25.0, **streams: tuple[int, float]) -> SequenceInput:
    return SequenceInput(tuple(FeatureStream(n, *facts) for n, facts in streams.items()), length, rate)


@pytest.mark.parametrize("rate", [6.25, 12.5, 25.0, 30.0, 50.0, 100.0])
@pytest.mark.parametrize("begin", [0.0, 1.234])
def test_every_rate_lands_on_the_same_clock(rate, begin):
    rows, start = clock(rate, 8)
    wanted = begin + (np.arange(100) + 0.5) / 25
    got = on_grid(rows, rate, start, begin, spec(video=(1, rate)))[0]
    inside = (wanted > start) & (wanted < 8 - 0.5 / rate)
    # an average of rows whose middles fall unevenly about a step may be off by half a row
    assert np.abs(got - wanted)[inside].max() < (1e-4 if rate <= 37.5 else 0.5 / rate + 1e-6)
    if rate == 25.0 and begin == 0:
        assert np.array_equal(got, rows[:100, 0])


def test_a_stream_keeps_its_ends_and_an_empty_one_is_zero():
    rows, start = clock(25, 2)
    got = on_grid(rows, 25, start, 0.0, spec(video=(1, 25.0)))[0]
    assert np.all(got[50:] == rows[-1])
    assert np.all(on_grid(np.zeros((0, 3), np.float16), 25, start, 0.0, spec(video=(3, 25.0))) == 0)


def dataset(seconds: float, segments=(), label: int = 1, augment=None, length: int = 100) -> SequenceViews:
    video, start = clock(25, seconds)
    audio, heard = clock(12.5, seconds)
    sources = {
        "video": HeldStream(FeatureFacts("video", 25.0, 1, start), video),
        "audio": HeldStream(FeatureFacts("audio", 12.5, 1, heard, "audio"), audio),
    }
    record = Record("a", "made", "train", label, "a.mp4", "g", segments=tuple(segments))
    return SequenceViews([record], sources, spec(length, video=(1, 25.0), audio=(1, 12.5)), augment)


def test_a_short_clip_is_one_window_with_a_mask():
    view = dataset(3.2, [Segment(1.0, 1.4, "audio")])[0]
    assert view["mask"].shape == (1, 100)
    assert view["mask"].sum() == 80
    assert np.all(view["streams"]["video"][0, 0, 80:] == 0)
    assert np.allclose(view["segments"][0], [[1.0, 1.4]])
    assert view["forged"][0].tolist() == [1]
    # what is on the grid is where the segment says
    steps = (np.arange(100) + 0.5) / 25
    at = (steps > 1.0) & (steps < 1.4)
    assert np.all((view["streams"]["video"][0, 0][at] > 0.99) & (view["streams"]["video"][0, 0][at] < 1.41))


def test_a_long_recording_is_covered_by_windows_that_overlap():
    view = dataset(19.2)[0]
    starts = view["t"]
    assert starts[0] == 0
    assert np.isclose(starts[-1] + 4, 19.2)
    assert np.all(np.diff(starts) <= 2 + 1e-9)
    assert view["streams"]["video"].shape == (len(starts), 1, 100)
    assert np.allclose(view["streams"]["video"][:, 0, 0], starts + 0.02, atol=1e-3)


def test_three_hours_are_covered_too():
    windows = cover(3 * 3600, 20)
    assert windows[-1].end == pytest.approx(3 * 3600)
    assert all(b.start <= a.end for a, b in pairwise(windows))


def test_training_windows_of_a_fake_show_a_forged_stretch_and_follow_the_seed():
    views = dataset(19.0, [Segment(15.0, 15.5)], augment=SequenceAugment(crop=0.9))
    seen = [views[Visit(0, seed)] for seed in range(40)]
    assert sum(len(view["segments"][0]) for view in seen) >= 35
    assert len({float(view["t"][0]) for view in seen}) > 30
    again = views[Visit(0, 3)]
    assert np.array_equal(again["streams"]["video"], seen[3]["streams"]["video"])
    for view in seen:
        assert view["mask"].any()
        assert all(view["t"][0] <= start < end <= view["t"][0] + 4 for start, end in view["segments"][0])


def test_noise_and_blanking_stay_within_the_clip():
    views = dataset(3.2, augment=SequenceAugment(crop=1.0, noise=0.5, drop=1.0), label=0)
    view = views[Visit(0, 1)]
    assert sum(np.all(values == 0) for values in view["streams"].values()) == 1
    assert all(np.all(values[0, 0, 80:] == 0) for values in view["streams"].values())


def test_half_a_stretch_must_be_seen():
    segment = Segment(2.0, 3.0)
    assert visible([segment], Window(0, 2.4)) == []
    assert visible([segment], Window(0, 2.6)) == [Segment(2.0, 2.6)]


def test_features_of_another_width_or_rate_are_refused():
    rows, start = clock(25, 2)
    sources = {"video": HeldStream(FeatureFacts("video", 25.0, 1, start), rows)}
    record = Record("a", "made", "train", 0, "a.mp4", "g")
    for wrong in ((2, 25.0), (1, 12.5)):
        with pytest.raises(DfdError, match="the network was built for"):
            SequenceViews([record], sources, spec(video=wrong))


def test_a_record_without_a_row_is_an_error():
    sources = {"video": HeldStream(FeatureFacts("video", 25.0, 1, 0.02), np.zeros((0, 1)))}
    with pytest.raises(DfdError, match="no row in any of its streams"):
        SequenceViews([Record("a", "made", "train", 0, "a.mp4", "g")], sources, spec(video=(1, 25.0)))


def test_statistics():
    rows = np.random.default_rng(0).normal(3, 2, (500, 4)).astype(np.float32)
    sources = {"video": HeldStream(FeatureFacts("video", 25.0, 4), rows)}
    mean, deviation = statistics([Record("a", "made", "train", 0, "a.mp4", "g")], sources)["video"]
    assert np.allclose(mean, rows.mean(0))
    assert np.allclose(deviation, rows.std(0))
