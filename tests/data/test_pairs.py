"""Pairs are functions of seed and record; the sharp half is a part of a stored crop."""

import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.core.records import InputSpec, PairInput
from dfd.data.pairs import PairDataModule, PairViews
from dfd.data.readers import open_crops


def test_pairs(noise):
    records = noise.split("train")
    views = PairViews(records, noise.folder, PairInput(32), 3)
    fixed, again, drawn = views[0], views[0], views[(0, 7)]
    for name in ("degraded", "clean"):
        assert fixed[name].shape == (3, 3, 32, 32)
        assert fixed[name].dtype == np.uint8
        assert (fixed[name] == again[name]).all()
    assert (drawn["clean"] == views[(0, 7)]["clean"]).all()
    assert (drawn["clean"] != fixed["clean"]).any()
    assert (fixed["clean"] != fixed["degraded"]).any()
    with open_crops(noise.folder, records[0].assets) as crops:
        first = crops.read(np.array([0]))[0]
    assert (fixed["clean"][0] == first[8:40, 8:40].transpose(2, 0, 1)).all()


def test_small_crops_are_mirrored_and_batches_join(noise):
    data = PairDataModule(noise, PairInput(64, 2), batch_size=2, workers=0, view_margin=None, cache=None)
    batch = next(iter(data.train_dataloader()))
    assert batch["degraded"].shape == batch["clean"].shape == (4, 3, 64, 64)
    assert len(batch["video"]) == len(batch["t"]) == 4


def test_a_detector_asks_for_something_else(noise):
    with pytest.raises(DfdError, match="'image'"):
        PairDataModule(noise, InputSpec("image", 32))  # type: ignore[arg-type]
