"""A detector of lips and voice gives each file a score or a reason with a stable code, never a silent zero."""

import numpy as np
import pytest

from dfd.data.sample.talking import write_talk
from dfd.inference.engine import Engine
from tests.conftest import draw_head, write_video
from tests.runs import hearing_run, somebody_talks

RATE = 16_000
VOICE = (0.3 * np.sin(np.arange(2 * RATE) / 20)).astype(np.float32)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return Engine.load(hearing_run(tmp_path_factory.mktemp("runs") / "hears"), "cpu", explain=True)


def test_somebody_who_talks_has_a_score_and_its_windows(engine, tmp_path):
    result = engine.judge(somebody_talks(tmp_path / "talk.mp4", 3.0))
    assert result.verdict in ("fake", "real")
    windows = result.views[0].windows
    assert len(windows) > 40
    assert windows["time_s"].is_monotonic_increasing
    delays = windows[[name for name in windows if name.startswith("delay_")]]
    assert delays.shape[1] == 31
    assert delays.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-4)


HEAD = [draw_head(i) for i in range(50)]
GREY = [np.full((128, 128, 3), 90, np.uint8)] * 50


@pytest.mark.parametrize(
    ("frames", "wave", "kind"),
    [
        (HEAD, None, "no_audio"),
        (HEAD, np.zeros(2 * RATE, np.float32), "silent"),
        (HEAD[:3], VOICE[: RATE // 8], "too_short"),
        (GREY, VOICE, "no_face"),
        (HEAD, np.concatenate([np.zeros(4 * RATE, np.float32), VOICE]), "silent"),  # heard after the last picture
    ],
    ids=["no track", "silence", "a tenth of a second", "no face", "too late"],
)
def test_what_cannot_be_compared_has_a_reason(engine, tmp_path, frames, wave, kind):
    path = tmp_path / "clip.mp4"
    if wave is None:
        write_video(path, frames)
    else:
        write_talk(path, frames, wave)
    result = engine.judge(path)
    assert (result.verdict, result.kind) == ("not judged", kind)
    assert result.reason


@pytest.mark.parametrize("wave", [VOICE[: RATE // 2], np.tile(VOICE, 3)], ids=["shorter", "longer"])
def test_sound_of_another_length_than_the_pictures_is_heard_where_it_is(engine, tmp_path, wave):
    path = tmp_path / "clip.mp4"
    write_talk(path, HEAD, wave)
    assert engine.judge(path).verdict in ("fake", "real")


def test_a_damaged_stretch_costs_no_more_than_itself(engine, tmp_path):
    path = somebody_talks(tmp_path / "talk.mp4", 3.0)
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 2, len(data) // 2 + 1500):
        data[at] ^= 0x5A
    path.write_bytes(data)
    result = engine.judge(path)
    assert result.verdict in ("fake", "real") or result.reason
