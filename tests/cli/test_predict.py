"""From views of several runs and faces to one score per file; what cannot be judged says why."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from dfd.cli.predict import show
from dfd.core.card import Card, Looking
from dfd.core.records import InputSpec
from dfd.evaluation.numbers import Number
from dfd.evaluation.operating import Operating
from dfd.inference.engine import Engine, Member
from dfd.inference.results import write_results
from dfd.inference.verdict import Judging, ViewScores, judge_file
from dfd.inference.views import ViewExtractor, ViewOptions
from dfd.models.meso import MesoInception4
from dfd.preprocess.crop import CropOptions
from tests.conftest import draw_head


def views(scores, tracks=None):
    scores = np.asarray(scores, float)
    return ViewScores(np.arange(len(scores)), scores, np.asarray(tracks or [0] * len(scores)))


def engine(*networks, looking=None, faces=4, crops=CropOptions()):  # noqa: B008 - immutable
    options = [ViewOptions(n.input, replace(crops, max_tracks=faces), looking or Looking(frames=4)) for n in networks]
    members = [Member(n.eval(), Card({}), o, Path("run")) for n, o in zip(networks, options, strict=True)]
    return Engine(members, Judging())


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.9] * 13 + [0.1] * 19, 0.9),  # 13 of 32: the sure fakes decide
        ([0.9] * 12 + [0.1] * 20, 0.4),  # 12: the mean does
        ([0.9] * 12, 0.9),  # more than 11 and more than 12 // 2.5
        ([0.9] * 11, 0.9),  # the mean, which is the same
        ([0.9] * 11 + [0.3], 0.85),
        ([0.1] * 32, 0.1),
        ([0.1] * 29 + [0.9] * 3, 0.1),  # 29 > 28.8
        ([0.1] * 28 + [0.9] * 4, 0.2),
        ([0.7], 0.7),  # one face is a face
    ],
)
def test_the_winners_strategy(scores, expected):
    assert views(scores).pooled("confident") == pytest.approx(expected)


def test_strategies():
    it = views([0.1, 0.3, 0.6, 0.9, 0.8], [0, 0, 0, 1, 1])
    assert it.pooled("mean") == pytest.approx(0.54)
    assert it.pooled("max") == pytest.approx(0.9)
    assert it.pooled("tracks") == pytest.approx(0.85)
    assert np.isnan(views([]).pooled("confident"))


def test_runs_are_averaged_and_the_three_kinds_told_apart(tmp_path):
    no_face = ViewScores(reason="no face on 8 frames", kind="no_face")
    broken = ViewScores(reason="cannot be decoded", kind="decode_error")
    seen = {"a.mp4": [views([0.8]), views([0.4, 0.2])], "b.mp4": [no_face] * 2, "c.mp4": [broken] * 2}
    verdicts = write_results([judge_file(Path(name), each, Judging()) for name, each in seen.items()], tmp_path)
    assert verdicts["score"][0] == pytest.approx(0.55)
    assert verdicts["kind"].tolist() == ["", "no_face", "decode_error"]
    assert verdicts["verdict"].tolist() == ["fake", "not judged", "not judged"]
    submission = pd.read_csv(tmp_path / "submission.csv")
    assert submission.columns.tolist() == ["filename", "label"]
    assert submission["filename"].tolist() == ["a.mp4", "b.mp4", "c.mp4"]
    assert submission["label"].tolist() == pytest.approx([0.55, 0.5, 0.5])
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == 3


def test_a_score_that_is_not_finite_is_not_a_verdict():
    result = judge_file(Path("a.mp4"), [views([np.nan, 0.3])], Judging())
    assert (result.verdict, result.kind) == ("not judged", "not_finite")


def test_a_picture_of_one_face_of_none_and_of_nothing(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / "one.png"), draw_head()[..., ::-1])
    cv2.imwrite(str(tmp_path / "none.png"), np.full((256, 320, 3), 90, np.uint8))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    two = engine(MesoInception4(64, logits=1), MesoInception4(32, logits=1))
    cut = []
    crops = ViewExtractor._crops
    monkeypatch.setattr(ViewExtractor, "_crops", lambda self, path, o: cut.append(path.stem) or crops(self, path, o))
    found = {result.path.stem: result for result in two.judge_all(sorted(tmp_path.glob("*.png")), workers=0)}
    assert (found["none"].kind, found["none"].count) == ("no_face", 0)
    assert found["broken"].kind not in ("", "no_face")
    assert [len(each.score) for each in found["one"].views] == [1, 1]
    assert found["one"].kind == ""
    assert 0 <= found["one"].score <= 1
    assert sorted(cut) == ["broken", "none", "one"]  # once for both networks


def test_files_prepared_by_workers_get_the_same_scores(tmp_path):
    cv2.imwrite(str(tmp_path / "one.png"), draw_head()[..., ::-1])
    cv2.imwrite(str(tmp_path / "none.png"), np.full((256, 320, 3), 90, np.uint8))
    one = engine(MesoInception4(64, logits=1))
    files = [tmp_path / name for name in ("one.png", "none.png", "one.png")]
    here, ahead = (list(one.judge_all(files, workers)) for workers in (0, 2))
    assert [result.path for result in ahead] == files
    assert [result.kind for result in ahead] == [result.kind for result in here] == ["", "no_face", ""]
    assert ahead[0].score == here[0].score


def test_the_most_suspect_of_several_people_decides(tmp_path):
    operating = Operating({"none": {}}, "none", {"balanced": Number(0.5)}, None, 0.1, "mean")
    with_two = views([0.1, 0.1, 0.95, 0.95], [0, 0, 1, 1])
    judging = Judging(operating)
    result = judge_file(Path("[/old] clip.mp4"), [with_two], judging)
    assert result.score == pytest.approx(0.95)
    assert judge_file(Path("a.mp4"), [with_two], Judging(operating, tracks="mean")).score == pytest.approx(0.525)
    show([result], judging)  # a name is no markup


def test_more_frames_than_training_kept_are_cut_where_they_are_asked_for():
    def groups(crops, kind, frames):
        input = InputSpec(kind=kind, frames=4)
        options = ViewOptions.of(Card({}, crops=crops), input, frames)
        return options.crops and options.crops.groups

    few = {"groups": 2, "length": 4}
    assert groups(few, "image", 8) == 2
    assert groups(few, "image", 30) == 8
    assert groups(few, "clip", 30) == 2
    assert groups({"groups": 0}, "image", 30) == 0
    assert groups(few, "image", None) == 2
    assert groups(None, "image", 30) is None


def test_a_decoder_that_stumbles_does_not_stop_the_other_files(tmp_path, monkeypatch):
    def stumble(self, path, options):
        raise AttributeError("'NoneType' object has no attribute 'width'")

    monkeypatch.setattr(ViewExtractor, "_crops", stumble)
    result = engine(MesoInception4(32)).judge(tmp_path / "odd.mp4")
    assert result.kind == "unexpected"
    assert "could not be read: AttributeError" in result.reason


def test_a_run_of_the_sample_judges_nothing_but_the_sample(head_video, tiny_ffpp, tmp_path):
    judge = engine(MesoInception4(size=32))
    member = replace(judge.members[0], card=Card({}, sample=True))
    judge = Engine([member], Judging())
    real = judge.judge(head_video)
    assert (real.verdict, real.kind) == ("inconclusive", "trained_on_sample")
    assert "rendered sample" in real.reason
    assert np.isfinite(real.score)
    clip = tmp_path / "clip.mp4"  # away from the sample's folder
    clip.write_bytes((tiny_ffpp / "original_sequences/youtube/c23/videos/000.mp4").read_bytes())
    assert judge.judge(clip).kind != "trained_on_sample"
    assert Engine([member], Judging(), allow_sample=True).judge(head_video).kind != "trained_on_sample"
    (result,) = judge.judge_all([head_video], workers=1)
    assert result.kind == "trained_on_sample"
