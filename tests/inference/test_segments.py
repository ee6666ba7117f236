"""A localiser judges files: in worker processes within limits, with a reason for what it cannot judge."""

import shutil

import numpy as np
import pandas as pd
import pytest

from dfd.data.video import open_video
from dfd.inference.sandbox import Limits
from dfd.inference.segment_results import write_segments
from dfd.inference.segments import SegmentEngine
from dfd.inference.verdict import FAKE, INCONCLUSIVE, NOT_JUDGED, REAL
from tests.conftest import write_video
from tests.runs import finding_run, somebody_talks


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    talk = somebody_talks(folder / "talk.mp4")
    shutil.copy(talk, folder / "=again.mp4")
    noise = np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), np.uint8)
    write_video(folder / "silent.mp4", list(noise))
    (folder / "broken.mp4").write_bytes(talk.read_bytes()[:400])
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return finding_run(tmp_path_factory.mktemp("runs") / "finds")


def test_workers_find_what_this_process_finds(run, media):
    engine = SegmentEngine.load(run, "cpu")
    files = [media / name for name in ("talk.mp4", "broken.mp4", "=again.mp4", "silent.mp4")]
    here = list(engine.judge_all(files, workers=0))
    there = list(engine.judge_all(files, workers=2, limits=Limits(120, 2**31)))
    assert [one.path for one in there] == files
    assert [one.verdict == NOT_JUDGED for one in here] == [False, True, False, False]
    assert "cannot be decoded" in here[1].reason
    assert here[1].kind
    for one, other in zip(here, there, strict=True):
        assert one.verdict == other.verdict
        assert np.allclose([p[:3] for p in one.proposals], [p[:3] for p in other.proposals], atol=1e-5)
    assert here[0].duration == pytest.approx(2, abs=0.1)
    assert here[0].loudness.max() == 1
    assert len(here[3].loudness) == 0
    with open_video(media / "talk.mp4") as video:
        assert len(here[0].pictures) > 3
        assert max(t for t, _ in here[0].pictures) < video.times[-1]


def test_the_threshold_decides(run, media):
    found = SegmentEngine.load(run, "cpu").judge(media / "talk.mp4")
    for threshold, verdict in ((found.score, FAKE), (found.score + 1e-3, REAL)):
        assert SegmentEngine.load(run, "cpu", threshold=threshold).judge(media / "talk.mp4").verdict == verdict


def test_a_run_of_the_sample_does_not_judge_real_media(tmp_path, media):
    run = finding_run(tmp_path / "sample", sample=True)
    assert SegmentEngine.load(run, "cpu").judge(media / "talk.mp4").verdict in (FAKE, REAL)  # rendered by us
    filmed = SegmentEngine.load(run, "cpu").judge(media / "silent.mp4")
    assert (filmed.verdict, filmed.kind) == (INCONCLUSIVE, "trained_on_sample")
    assert SegmentEngine.load(run, "cpu", allow_sample=True).judge(media / "silent.mp4").verdict in (FAKE, REAL)


def test_a_file_beyond_its_limits_has_a_reason(run, media):
    engine = SegmentEngine.load(run, "cpu")
    (late,) = engine.judge_all([media / "talk.mp4"], workers=1, limits=Limits(0.01, 2**31))
    assert (late.verdict, late.kind) == (NOT_JUDGED, "too_slow")


def test_tables_and_timelines_are_written(run, media, tmp_path):
    engine = SegmentEngine.load(run, "cpu")
    located = list(engine.judge_all([media / "talk.mp4", media / "broken.mp4", media / "=again.mp4"], workers=0))
    write_segments(located, tmp_path)
    files = pd.read_csv(tmp_path / "files.csv")
    assert files["verdict"].tolist()[1] == "not judged"
    assert files["score (higher = fake)"].isna().tolist() == [False, True, False]
    page = (tmp_path / "timelines.html").read_text()
    assert page.count("<svg") == 2
    assert "broken.mp4" in page
    assert (tmp_path / "segments.csv").read_text().count("\n=") == 0
