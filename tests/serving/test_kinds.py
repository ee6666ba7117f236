"""A server of several kinds of runs: one job, one result with all of them."""

import json

import numpy as np
import pytest

pytest.importorskip("fastapi")

from dfd.serving.looking import Looker, NotJudged
from dfd.serving.settings import Settings
from tests.conftest import write_video
from tests.runs import finding_run, hearing_run, somebody_talks


@pytest.fixture(scope="module")
def looker(tmp_path_factory, small_run):
    folder = tmp_path_factory.mktemp("kinds")
    runs = [str(small_run), str(hearing_run(folder / "hears")), str(finding_run(folder / "finds"))]
    looker = Looker.load(Settings(runs, output=str(folder / "out"), device="cpu"))
    yield looker
    looker.close()


def test_runs_over_faces_voices_and_time_answer_side_by_side(looker, tmp_path):
    stages = []
    clip = somebody_talks(tmp_path / "talk.mp4", 3.0)
    result, artifacts = looker.look(clip, lambda stage, share, left: stages.append(stage))
    views, heard, found = result["runs"]
    assert [run["kind"] for run in result["runs"]] == ["views", "delays", "segments"]
    assert views["people"][0]["score"]
    assert len(heard["delays"]) > 10
    assert {"t", "delay", "surprise"} == set(heard["delays"][0])
    assert all(abs(each["delay"]) <= 15 / 25 for each in heard["delays"])
    assert heard["offset"] is not None
    assert all(0 <= each["start"] < each["end"] <= 3.1 for each in found["segments"])
    assert max(found["waveform"]) == 1
    assert result["verdict"] in ("fake", "real", "inconclusive")
    assert "faces-0.jpg" in artifacts
    assert stages == ["probing", "decoding", "inference", "reporting"]
    json.dumps(result, allow_nan=False)


def test_what_one_run_cannot_judge_another_may(looker, tmp_path):
    silent = write_video(tmp_path / "silent.mp4", [np.zeros((64, 64, 3), np.uint8)] * 30)
    result, _ = looker.look(silent, lambda *_: None)
    views, heard, found = result["runs"]
    assert views["verdict"] == heard["verdict"] == "not judged"
    assert views["reason"]["code"] == "no_face"
    assert found["verdict"] in ("fake", "real")
    assert result["verdict"] == found["verdict"]


def test_a_server_of_a_localiser_alone(tmp_path):
    looker = Looker.load(Settings([str(finding_run(tmp_path / "finds"))], output=str(tmp_path / "out"), device="cpu"))
    try:
        (about,) = looker.about().values()
        assert about["kind"] == "segments"
        assert about["operating"]["threshold"] == 0.5
        (tmp_path / "x.mp4").write_bytes(b"no video")
        with pytest.raises(NotJudged):
            looker.look(tmp_path / "x.mp4", lambda *_: None)
    finally:
        looker.close()
