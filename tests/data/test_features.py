"""Stores of features: what is read is what was written, and nothing that could run code is read at all."""

import json
import pickle

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file

from dfd.core.errors import DfdError
from dfd.core.records import Record
from dfd.data.features import (
    ASSET,
    VIDEOS,
    FeatureFacts,
    FeatureStore,
    array_path,
    array_shape,
    open_streams,
    read_array,
    write_array,
    write_header,
)

RECORD = Record("train/0001", "made", "train", 1, "0001.mp4", "g", assets={f"{ASSET}video": "own-1"})
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "own-1"
    write_header(folder, {"_target_": "x"}, "abc", [FeatureFacts("video", 25.0, 3, 0.02)])
    write_array(array_path(folder, "video", RECORD.id), ROWS)
    row = {"video": RECORD.id, "rows.video": 4, "file.video": "video/train/0001.npy"}
    pd.DataFrame([row]).to_parquet(folder / VIDEOS)
    return folder


def test_a_store_gives_what_was_written_through_a_memory_map(store):
    source = open_streams(store.parent, RECORD, ["video"])["video"]
    read = source.read(RECORD)
    assert isinstance(read, np.memmap)
    assert np.array_equal(read, ROWS)
    assert source.rows(RECORD) == 4
    assert source.facts == FeatureFacts("video", 25.0, 3, 0.02)


def test_another_extractor_may_not_write_into_a_store(store):
    with pytest.raises(DfdError, match="another extractor"):
        write_header(store, {"_target_": "x"}, "abd", [FeatureFacts("video", 25.0, 3, 0.02)])


@pytest.mark.parametrize("other", [ROWS[:, :2], ROWS[:3]])
def test_an_array_of_another_width_or_length_is_an_error(store, other):
    write_array(array_path(store, "video", RECORD.id), other)
    with pytest.raises(DfdError, match="is it of another extractor"):
        FeatureStore(store).source("video").read(RECORD)


def test_streams_and_records_that_are_not_there_are_named(store):
    with pytest.raises(DfdError, match="no features audio, it has video"):
        open_streams(store.parent, RECORD, ["audio"])
    other = Record("train/0002", "made", "train", 0, "0002.mp4", "g")
    with pytest.raises(DfdError, match="no features of train/0002"):
        FeatureStore(store).source("video").rows(other)


def test_a_newer_format_is_refused(store):
    header = json.loads((store / "store.json").read_text())
    (store / "store.json").write_text(json.dumps(header | {"format": 99}))
    with pytest.raises(DfdError, match="format 99"):
        FeatureStore(store)


def test_formats_of_others(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    np.savez(tmp_path / "a.npz", feats=ROWS)
    save_file({"feats": ROWS}, tmp_path / "a.safetensors")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/feats"] = ROWS
    for name in ("a.npy", "a.npz", "a.safetensors", "a.h5"):
        assert np.array_equal(read_array(tmp_path / name), ROWS)
        assert array_shape(tmp_path / name) == (4, 3)
    np.savez(tmp_path / "b.npz", rgb=ROWS, flow=ROWS + 1)
    assert np.array_equal(read_array(tmp_path / "b.npz", "flow"), ROWS + 1)
    with pytest.raises(DfdError, match="holds rgb, flow: say which with key="):
        read_array(tmp_path / "b.npz")


def test_pickles_are_refused_unread(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Bomb()))
    torch.save(Bomb(), tmp_path / "a.pt")
    np.save(tmp_path / "a.npy", np.array([Bomb()], object), allow_pickle=True)
    for name in ("a.pkl", "a.pt", "a.npy"):
        with pytest.raises(DfdError):
            read_array(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_a_truncated_file_is_an_error_with_its_name(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-20])
    with pytest.raises(DfdError, match=r"a\.npy cannot be read as features"):
        read_array(tmp_path / "a.npy")


def test_ids_do_not_lead_out_of_a_store(tmp_path):
    assert array_path(tmp_path, "video", "../../a\\b/c") == tmp_path / "video" / "a" / "b" / "c.npy"
