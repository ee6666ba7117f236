"""Evaluating a run: several datasets, corruptions, protocols, validation, and what is kept with the run."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import torch

from dfd.cli.eval import several_datasets
from dfd.cli.invocation import Invocation
from dfd.core.errors import DfdError
from dfd.core.records import Record
from dfd.evaluation.operating import operating_folder, operating_point_of, store_operating_point
from dfd.evaluation.protocol import Protocol
from dfd.inference.robustness import refuse_uncorruptible
from tests.cli.conftest import SMALL, run

FEW = [*SMALL, "data.loader.eval_frames=2"]


def evaluated(workplace, *more):
    done = run(workplace, "python eval.py run=outputs/demo", *more)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_several_datasets_are_told_from_one():
    assert several_datasets(Invocation(("data=[ffpp,celebdf]", "run=x"))) == ["ffpp", "celebdf"]
    assert several_datasets(Invocation(("data=ffpp", "data.crops.groups=2"))) == []
    assert several_datasets(Invocation()) == []


@pytest.mark.slow
def test_several_datasets_make_a_matrix_and_roots_are_given_by_name(workplace):
    root = workplace / "FaceForensics++"
    out = evaluated(workplace, "data=[ffpp,celebdf]", f"roots={{ffpp: {root}}}", "output=cross", *FEW)
    assert "macro average" in out
    folder = workplace / "cross" / "ffpp+celebdf-sample"
    found = json.loads((folder / "cross.json").read_text())
    assert set(found["mixed"]) == {"ffpp", "celebdf-sample"}
    assert "celebdf-sample: rendered stand-ins" in (folder / "cross.html").read_text()
    assert {path.name for path in (workplace / "cross").iterdir()} == {
        "ffpp-test", "celebdf-sample-test", "ffpp+celebdf-sample",
    }  # fmt: skip


@pytest.mark.slow
def test_corruptions_are_scored_on_the_same_videos(workplace):
    more = ["corruption=deeperforensics", "corruption.kinds=[contrast,h264]", "corruption.levels=[5]", "output=robust"]
    assert "mean corrupted AUC" in evaluated(workplace, "data=ffpp", "corruption.keep=false", *more, *FEW)
    folder = workplace / "robust" / "corruption-deeperforensics"
    found = json.loads((folder / "robustness.json").read_text())
    assert list(found["each"]) == ["contrast", "h264"]
    clean = pd.read_parquet(workplace / "robust" / "predictions.parquet")
    dark = pd.read_parquet(folder / "contrast-5.parquet")
    assert clean[["video", "t"]].equals(dark[["video", "t"]])
    assert (clean["score"] != dark["score"]).any()
    assert not list((workplace / "data" / "processed").glob("*/*-contrast5-*/crops"))


@pytest.mark.slow
def test_validation_is_kept_with_the_run_and_test_is_logged(workplace):
    demo = workplace / "outputs" / "demo"
    before = json.loads((demo / "operating.json").read_text())
    assert before["facts"]["videos"] == before["facts"]["real"] + before["facts"]["fake"]

    def looks():
        lines = (demo / "test_touches.jsonl").read_text().splitlines()
        return sum((look["dataset"], look["condition"]) == ("ffpp-sample", "clean") for look in map(json.loads, lines))

    before = looks()
    evaluated(workplace, "data=ffpp", "split=val", "output=val", *FEW)
    assert looks() == before
    evaluated(workplace, "data=ffpp", "eval=deepfakebench", "output=again", *FEW)
    last = json.loads((demo / "test_touches.jsonl").read_text().splitlines()[-1])
    assert "eval=deepfakebench" in last["command"]
    assert 0 <= last["auc"] <= 1
    page = (workplace / "again" / "report.html").read_text()
    assert f"looked at this test split {before + 1} time" in page
    assert "Compatible and correct" in page


@pytest.mark.slow
def test_the_oracle_is_shown_beside_the_honest_choice(workplace):
    checkpoints = workplace / "outputs" / "demo" / "checkpoints"
    other = torch.load(checkpoints / "best.ckpt", weights_only=True)
    torch.save(other | {"global_step": other["global_step"] + 1}, checkpoints / "epoch009.ckpt")
    evaluated(workplace, "data=ffpp", "oracle=true", "output=oracle", *FEW)
    (checkpoints / "epoch009.ckpt").unlink()
    selection = json.loads((workplace / "oracle" / "facts.json").read_text())["selection"]
    assert set(selection["all"]) == {"best.ckpt", "epoch009.ckpt"}  # last.ckpt is the same epoch as the best
    assert selection["best"] >= selection["chosen"]


@pytest.mark.slow
def test_a_sweep_over_datasets_makes_one_table(workplace):
    done = run(workplace, "python eval.py -m run=outputs/demo data=ffpp,celebdf", *FEW)
    assert done.returncode == 0, done.stderr[-3000:]
    (sweep,) = [path.parent for path in (workplace / "outputs" / "sweeps").glob("*/evaluations.txt")]
    assert set(pd.read_csv(sweep / "comparison.csv")["dataset"]) == {"ffpp-sample", "celebdf-sample"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("eval=vidoe", "Could not find 'eval/vidoe'"),
        ("eval.pool=vote", "eval.pool='vote': allowed are mean"),
        ("data=ffpp corruption=quick corruption.kinds=[fog] data.loader.workers=0", "no corruption 'fog'"),
        ("data=[ffpp,mine]", "mine"),
        ("data=[ffpp,celebdf] 'roots={celbdf: /x}'", "did you mean 'celebdf'"),
        ("data=ffpp corruption.kinds=[jpeg]", "corruption.levels=[1,2,3,4,5]"),
        ("data=cddb corruption=quick data.loader.workers=0", "only pictures"),
        ("data=ffpp corruption=quick trainer=ddp trainer.accelerator=cpu trainer.devices=2", "trainer.devices=1"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(workplace, more, message):
    done = run(workplace, f"python eval.py run=outputs/demo {more}")
    assert done.returncode == 2, done.stderr[-2000:]
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last


def test_thresholds_belong_to_the_checkpoint_they_were_found_for(tmp_path, caplog):
    for name in ("best.ckpt", "last.ckpt", "epoch000.ckpt"):
        (tmp_path / "checkpoints").mkdir(exist_ok=True)
        (tmp_path / "checkpoints" / name).touch()
    best, other = (tmp_path / "checkpoints" / name for name in ("best.ckpt", "epoch000.ckpt"))
    assert operating_folder(tmp_path, best) == tmp_path
    assert operating_folder(tmp_path, other) == tmp_path / "operating" / "epoch000"
    table = pd.DataFrame(
        {
            "video": [f"v{row}" for row in range(40)], "dataset": "d", "method": "m", "t": 0.0,
            "group": [f"g{row}" for row in range(40)], "label": [row % 2 for row in range(40)],
            "score": [0.3 + 0.4 * (row % 2) for row in range(40)],
        }
    )  # fmt: skip
    store_operating_point(tmp_path, table, Protocol(resamples=20), {"checkpoint": str(other)})
    assert operating_point_of(tmp_path, best) is None
    assert operating_point_of(tmp_path, other).facts["checkpoint"] == str(other)
    assert "eval.py run=" not in caplog.text
    assert operating_point_of(tmp_path, tmp_path / "checkpoints" / "last.ckpt") is None
    assert "thresholds are not those of last.ckpt" in caplog.text


def test_faces_that_others_cut_cannot_be_corrupted():
    ours = Record("a", "ffpp", "test", 0, "a.mp4", "a", assets={"crops": "crops/a.zip"})
    refuse_uncorruptible([ours])
    for assets in ({}, {"crops": "real/0"}):
        with pytest.raises(DfdError, match="of ffpp there are only pictures or faces that others cut"):
            refuse_uncorruptible([ours, replace(ours, assets=assets)])
    with pytest.raises(DfdError, match=r"needs videos, of ffpp there are pictures, e\.g\. a\.png"):
        refuse_uncorruptible([ours, replace(ours, path="a.png")])
