"""Stages from the command line: combinations, the doctor's exit, stages that do not exist, shares."""

import re
import shutil
from threading import Thread

import cv2
import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from dfd.cli.app import prepare
from dfd.cli.preprocess import preprocess
from dfd.core.build import allowed
from dfd.core.configs import config_dir
from dfd.core.errors import DfdError
from dfd.core.records import Record
from dfd.data.datasets import wilddeepfake
from dfd.preprocess import stages
from dfd.preprocess.dataset import find_source, indexed, prepare_data
from dfd.preprocess.runner import Engine

QUICK = ["data.crops.groups=2", "data.crops.length=1", "data.crops.detections=1"]


@pytest.fixture
def cfg(tmp_path):
    prepare()

    def make(*overrides):
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return compose("preprocess", [*QUICK, "workers=0", f"paths.data_dir={tmp_path}/data", *overrides])

    return make


@pytest.fixture
def little(tiny_ffpp, tmp_path):
    """One pair per split of FaceForensics++, with two methods."""
    root = tmp_path / "little"
    for name in ("splits", "original_sequences/youtube", "manipulated_sequences/Deepfakes"):
        shutil.copytree(tiny_ffpp / name, root / name)
    (root / "splits/train.json").write_text('[["000", "001"]]')
    return root


def test_two_datasets_as_one(cfg, little):
    parts = [f"data.parts.{name}.root={little}" for name in ("ffpp", "celebdf")]
    method = "data.parts.ffpp.index.methods=[Deepfakes]"
    data = OmegaConf.to_container(cfg("data=ffpp_celebdf", *parts, method).data, resolve=True)
    data["parts"]["celebdf"]["index"] = data["parts"]["ffpp"]["index"]  # two parts with files of the same names
    source = find_source(data, little)
    assert (source.tag, source.sample) == ("ffpp_celebdf", False)
    prepared = prepare_data(data, little.parent / "data", allowed(()), engine=Engine(workers=0))
    records = prepared.manifest.records
    assert {record.id.split("/")[0] for record in records} == {"ffpp", "celebdf"}
    assert len({record.id for record in records}) == len(records) == 24
    assert {record.group.split("/")[0] for record in records} == {"ffpp", "celebdf"}
    assert all((prepared.manifest.folder / record.assets["crops"]).is_file() for record in records)


def test_the_doctor_says_what_is_missing_and_fails(cfg, little, capsys):
    (little / "manipulated_sequences/Deepfakes/c23/videos/000_001.mp4").unlink()
    with pytest.raises(DfdError, match=r"is not what was published .*finish the download"):
        preprocess(cfg("data=ffpp", f"data.root={little}", "data.index.methods=[Deepfakes]", "stages=[probe]"))
    said = capsys.readouterr().out
    assert re.search(r"real +│ train +│ +2 │ +720", said)
    assert "missing are 1 of 6 Deepfakes" in said


def test_shares_and_then_the_whole(cfg, little, capsys):
    root = ["data=ffpp", f"data.root={little}", "data.index.methods=[Deepfakes]"]
    for share in range(2):
        preprocess(cfg(*root, f"shard={share}/2"))
    assert "collects the tables" in capsys.readouterr().out
    preprocess(cfg(*root))
    said = capsys.readouterr().out
    assert "every file that is there was used" in said
    (page,) = (little.parent / "data" / "processed").rglob("index.html")
    assert "Deepfakes" in page.read_text()


def test_two_datasets_have_landmarks_and_tables_as_one(cfg, little):
    parts = [f"data.parts.{name}.root={little}" for name in ("ffpp", "celebdf")]
    chosen = cfg("data=ffpp_celebdf", *parts, "data.parts.ffpp.index.methods=[Deepfakes]", "stages=[landmarks,folds]")
    chosen.data.parts.celebdf.index = chosen.data.parts.ffpp.index
    preprocess(chosen)
    data = OmegaConf.to_container(chosen.data, resolve=True)
    manifest = prepare_data(data, little.parent / "data", allowed(()), engine=Engine(workers=0)).manifest
    assert len(manifest) == 24
    assert all((manifest.folder / record.assets["landmarks"]).is_file() for record in manifest.records)
    videos = {line.split(",")[0] for line in (manifest.folder / "folds.csv").read_text().splitlines()[1:]}
    assert len(videos) == 24


def test_a_look_at_files_cuts_no_share_of_them(cfg, tiny_ffpp, tmp_path, capsys):
    shutil.copytree(tiny_ffpp, tmp_path / "data/sample/ffpp")
    preprocess(cfg("data=ffpp", "data.sample.identities=8", "stages=[probe]", "shard=0/2"))
    assert "complete, and every file can be read" in capsys.readouterr().out
    assert not list(tmp_path.rglob("crops"))


def test_faces_that_others_cut_need_no_shares(cfg, tmp_path, capsys):
    for folder in wilddeepfake.FOLDERS:
        place = tmp_path / "wild" / folder / "0" / folder.split("_")[0] / "0"
        place.mkdir(parents=True)
        cv2.imwrite(str(place / "1.png"), np.zeros((8, 8, 3), np.uint8))
    preprocess(cfg("data=wilddeepfake", f"data.root={tmp_path / 'wild'}", "data.shared_groups=warn", "shard=0/2"))
    assert "wilddeepfake: its faces are cut already" in capsys.readouterr().out


def test_a_sample_is_not_replaced_while_it_is_read(cfg, monkeypatch, tmp_path):
    rendered = []
    monkeypatch.setattr("dfd.preprocess.dataset._render", lambda source, options: rendered.append(options["seed"]))
    monkeypatch.setattr(
        "dfd.preprocess.dataset.build", lambda *_: lambda root: [Record("a", "d", "train", 0, "a.mp4", "a")]
    )

    def read(seed):
        data = OmegaConf.to_container(cfg("data=ffpp", f"data.sample.seed={seed}").data, resolve=True)
        return indexed(data, tmp_path / "data", allowed(()))

    second = read(2)
    other = Thread(target=lambda: second.__enter__() and second.__exit__(None, None, None))
    with read(1):
        other.start()
        other.join(0.3)
        assert rendered == [1]
    other.join(30)
    assert rendered == [1, 2]


PLUGIN = """
from dfd.core.errors import DfdError
from dfd.preprocess.stages import Stage, register


def weigh(task):
    if "Deepfakes" in task.record.id and task.record.split == "val":
        raise DfdError("too light to weigh")
    task.target.parent.mkdir(parents=True, exist_ok=True)
    task.target.write_text(str(task.asset("crops").stat().st_size))


def weigh_media(task):
    task.target.parent.mkdir(parents=True, exist_ok=True)
    task.target.write_text("1")


def total(summary):
    return [f"total of {sum('weight' in record.assets for record in summary.manifest.records)} videos"]


register(Stage("weight", "of the crops", needs=("crop",), suffix=".txt", make="scales:weigh"))
register(Stage("total", "of all weights", needs=("weight",), summarise=total))
MEDIA = Stage("media", "of files that are not cut", suffix=".txt", make=weigh_media)
"""


def test_a_stage_of_a_plugin_package(cfg, little, tmp_path, monkeypatch, capsys):
    """Found by its name or its dotted path, run after what it needs, resumed, its failures counted."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "scales.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path / "plugins")
    monkeypatch.setattr("dfd.preprocess.stages.REGISTRY", dict(stages.REGISTRY))
    overrides = ["data=ffpp", f"data.root={little}", "data.index.methods=[Deepfakes]", "plugins=[scales]"]
    chosen = cfg(*overrides, "stages=[total]")
    preprocess(chosen)
    said = capsys.readouterr().out
    assert "total of 10 videos" in said
    assert "2 x decode_error" in said
    data = OmegaConf.to_container(chosen.data, resolve=True)
    manifest = prepare_data(data, tmp_path / "data", allowed(()), engine=Engine(workers=0)).manifest
    weights = [manifest.folder / record.assets["weight"] for record in manifest.records if "weight" in record.assets]
    assert len(weights) == 10
    assert all(int(path.read_text()) > 0 for path in weights)
    preprocess(cfg(*overrides, "stages=[scales.MEDIA]", f"data.processed={tmp_path}/uncut"))
    assert len(list((tmp_path / "uncut" / "media").rglob("*.txt"))) == 12
    assert not list((tmp_path / "uncut").rglob("crops"))


def test_stages_that_do_not_exist(cfg):
    with pytest.raises(DfdError, match=r"stages=mask: there are probe, .* .did you mean 'masks'"):
        preprocess(cfg("stages=[mask]"))
    with pytest.raises(DfdError, match="choose local or ray"):
        preprocess(cfg("launcher=spark"))
