"""Where data comes from, and labels that say nothing."""

import pytest

from dfd.cli.app import sweep_folder
from dfd.core.errors import DfdError
from dfd.preprocess.dataset import find_source, shuffled


def test_a_given_root_then_the_usual_place_then_the_sample(tmp_path):
    data = {"name": "ffpp", "title": "FaceForensics++", "root": None}
    assert find_source(data, tmp_path).tag == "ffpp-sample"
    (tmp_path / "ffpp").mkdir()
    assert find_source(data, tmp_path).sample  # an empty folder is no download
    (tmp_path / "ffpp" / "splits").mkdir()
    assert find_source(data, tmp_path).root == tmp_path / "ffpp"
    given = find_source(data | {"root": str(tmp_path / "elsewhere")}, tmp_path)
    assert (given.sample, given.root) == (False, tmp_path / "elsewhere")
    with pytest.raises(DfdError, match=r"no Mine at .*data\.root="):
        find_source({"name": "mine", "title": "Mine", "root": None}, tmp_path)


def test_shuffled_labels_are_independent_of_the_truth(noise):
    told = {record.id: record.label for record in shuffled(noise, 3).records}
    for split in ("train", "val"):
        for label in (0, 1):
            members = [told[r.id] for r in noise.records if (r.split, r.label) == (split, label)]
            assert sum(members) == len(members) / 2
    assert all(told[r.id] == r.label for r in noise.records if r.split == "test")
    assert shuffled(noise, 3).hash != shuffled(noise, 4).hash


def test_folders_of_a_sweep_are_short_and_have_no_folders_inside():
    assert sweep_folder(3, "model=meso_seed=1") == "3_model-meso_seed-1"
    name = sweep_folder(4, "data.root=/a/b_" + "x=1_" * 100)
    assert name.startswith("4_data.root--a-b_x-1")
    assert len(name) == 100
