"""From views of several runs and faces to one score per file; what cannot be judged says why."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from dfd.cli.predict import Cutter, Judge, Judgement, _options, show, write
from dfd.evaluation.numbers import Number
from dfd.evaluation.operating import Operating
from dfd.models.meso import MesoInception4
from dfd.preprocess.crop import CropOptions
from dfd.preprocess.faces import MtcnnDetector
from tests.conftest import draw_head

EMPTY = np.empty(0)


def judgement(scores, tracks=None, name="a.mp4"):
    scores = np.asarray(scores, float)
    return Judgement(Path(name), np.arange(len(scores)), scores, track=np.asarray(tracks or [0] * len(scores)))


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
    assert judgement(scores).pooled("confident") == pytest.approx(expected)


def test_strategies():
    it = judgement([0.1, 0.3, 0.6, 0.9, 0.8], [0, 0, 0, 1, 1])
    assert it.pooled("mean") == pytest.approx(0.54)
    assert it.pooled("max") == pytest.approx(0.9)
    assert it.pooled("tracks") == pytest.approx(0.85)
    assert np.isnan(judgement([]).pooled("confident"))


def test_runs_are_averaged_and_the_three_kinds_told_apart(tmp_path):
    no_face = Judgement(Path("b.mp4"), EMPTY, EMPTY, "no face on 8 frames", kind="no_face")
    broken = Judgement(Path("c.mp4"), EMPTY, EMPTY, "cannot be decoded", kind="decode_error")
    judged = [[judgement([0.8]), judgement([0.4, 0.2])], [no_face] * 2, [broken] * 2]
    verdicts = write(judged, 0.5, tmp_path)
    assert verdicts["score"][0] == pytest.approx(0.55)
    assert verdicts["kind"].tolist() == ["", "no_face", "decode_error"]
    assert verdicts["verdict"].tolist() == ["fake", "not judged", "not judged"]
    submission = pd.read_csv(tmp_path / "submission.csv")
    assert submission.columns.tolist() == ["filename", "label"]
    assert submission["filename"].tolist() == ["a.mp4", "b.mp4", "c.mp4"]
    assert submission["label"].tolist() == pytest.approx([0.55, 0.5, 0.5])
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == 3


@torch.no_grad()
def test_a_picture_of_one_face_of_none_and_of_nothing(tmp_path):
    cv2.imwrite(str(tmp_path / "one.png"), draw_head()[..., ::-1])
    cv2.imwrite(str(tmp_path / "none.png"), np.full((256, 320, 3), 90, np.uint8))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    cutter = Cutter(MtcnnDetector(), faces=4)
    judge = Judge(MesoInception4(64, logits=1).eval(), CropOptions(), cutter, 4, 4)
    twin = Judge(MesoInception4(32, logits=1).eval(), CropOptions(), cutter, 4, 4)
    found = {name: judge(tmp_path / f"{name}.png") for name in ("broken", "none", "one")}
    assert (found["none"].kind, len(found["none"].score)) == ("no_face", 0)
    assert found["broken"].kind not in ("", "no_face")
    assert len(found["one"].score) == 1
    assert found["one"].kind == ""
    assert 0 <= found["one"].pooled("confident") <= 1
    known = cutter(tmp_path / "one.png", CropOptions(), 4)
    assert cutter(tmp_path / "one.png", CropOptions(view_margin=0.1), 4) is known  # cut once for both
    assert len(twin(tmp_path / "one.png").score) == 1


def test_the_most_suspect_of_several_people_decides(tmp_path):
    operating = Operating({"none": {}}, "none", {"balanced": Number(0.5)}, None, 0.1, "mean")
    with_two = judgement([0.1, 0.1, 0.95, 0.95], [0, 0, 1, 1], "[/old] clip.mp4")
    verdicts = write([[with_two]], 0.5, tmp_path, operating)
    assert verdicts["score"][0] == pytest.approx(0.95)
    show(verdicts, tmp_path)  # a name is no markup


def test_more_frames_than_training_kept_are_cut_where_they_are_asked_for():
    few = {"groups": 2, "length": 4}
    assert _options(few, "image", 8).groups == 2
    assert _options(few, "image", 30).groups == 8
    assert _options(few, "clip", 30).groups == 2
    assert _options({"groups": 0}, "image", 30).groups == 0
    assert _options(None, "image", 30) is None


def test_a_decoder_that_stumbles_does_not_stop_the_other_files(tmp_path):
    class Stumbling:
        def __call__(self, path, options, frames):
            raise AttributeError("'NoneType' object has no attribute 'width'")

    judged = Judge(MesoInception4(32), CropOptions(), Stumbling(), 4, 4)(tmp_path / "odd.mp4")
    assert judged.kind == "unexpected"
    assert "could not be read: AttributeError" in judged.reason
