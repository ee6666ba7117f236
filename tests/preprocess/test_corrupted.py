"""Crops of corrupted videos lie where the clean ones lie, are made once, and are those of full frames."""

import os
from dataclasses import replace

import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.core.records import Record
from dfd.data.corrupt import corrupt
from dfd.data.crops import COLUMNS, CROP_BOX, CropReader, Crops, write_crops
from dfd.data.video import probe, read_frames
from dfd.inference.robustness import refuse_uncorruptible
from dfd.preprocess.corrupted import corrupted, folder_of
from dfd.preprocess.crop import cut
from tests.talking import crops_of, opening, pictures, voice


@pytest.fixture
def clean(head_video, tmp_path):
    """Three frames of a head, a hole in the middle."""
    table = {name: np.zeros(3) for name in COLUMNS}
    table |= {"frame": np.array([0, 5, 10]), "t": np.array([0, 0.2, 0.4]), "valid": np.array([True, False, True])}
    table |= dict(zip(CROP_BOX, np.tile([[90.0], [40.0], [250.0], [200.0]], 3)))
    images = {index: image for index, _, image in read_frames(head_video, [0, 10])}
    boxes = {row: cut(images[frame], np.array([90.0, 40, 250, 200]), 128) for row, frame in ((0, 0), (2, 10))}
    folder = tmp_path / "abc"
    write_crops(folder / "crops" / "real" / "head.zip", Crops(table, boxes))
    record = Record("real/head", "toy", "test", 0, str(head_video), "head", assets={"crops": "crops/real/head.zip"})
    return folder, record, images


def test_full_frames_are_corrupted_and_cut_where_the_clean_ones_were(clean):
    folder, record, images = clean
    made = corrupted([record], folder, "blockwise", [1, 4], 128, workers=1)
    assert set(made) == {1, 4}
    for level, manifest in made.items():
        (placed,) = manifest.records
        assert replace(placed, assets=record.assets) == record
        with CropReader(manifest.folder / placed.assets["crops"]) as crops:
            assert crops.table["valid"].tolist() == [True, False, True]
            full = corrupt(images, "blockwise", level, record.id)
            expected = cut(full[10], np.array([90.0, 40, 250, 200]), 128)
            assert np.array_equal(crops.read([2])[0], expected)


def test_what_was_made_is_not_made_again(clean):
    folder, record, _ = clean
    corrupted([record], folder, "jpeg", [3], 128, workers=1)
    path = folder_of(folder, "jpeg", 3) / "crops" / "real" / "head.zip"
    before = path.stat().st_mtime_ns
    corrupted([record], folder, "jpeg", [3], 128, workers=1)
    assert path.stat().st_mtime_ns == before


def test_after_the_clean_crops_were_made_anew_so_are_the_corrupted(clean):
    folder, record, _ = clean
    path = folder_of(folder, "jpeg", 3) / "crops" / "real" / "head.zip"
    corrupted([record], folder, "jpeg", [3], 128, workers=1)
    path.write_bytes(b"of the video that was here before")
    os.utime(path, (1, 1))
    corrupted([record], folder, "jpeg", [3], 128, workers=1)
    with CropReader(path) as crops:
        assert crops.table["valid"].tolist() == [True, False, True]


def test_landmarks_found_on_clean_crops_align_the_corrupted_ones_too(clean):
    folder, record, _ = clean
    record = replace(record, assets={**record.assets, "landmarks": "landmarks/real/head.npy"})
    manifest = corrupted([record], folder, "jpeg", [3], 128, workers=1)[3]
    (placed,) = manifest.records
    assert manifest.folder / placed.assets["landmarks"] == folder / "landmarks/real/head.npy"
    assert (manifest.folder / placed.assets["crops"]).is_file()


def test_a_platforms_smaller_frames_are_cut_at_the_same_place(clean, head_video):
    folder, record, images = clean
    assert min(probe(head_video).width, probe(head_video).height) == 256
    (placed,) = corrupted([record], folder, "platform", [5], 128, workers=1)[5].records  # 240 lines
    with CropReader(folder_of(folder, "platform", 5) / placed.assets["crops"]) as crops:
        image = crops.read([2])[0]
    expected = cut(images[10], np.array([90.0, 40, 250, 200]), 128).astype(float)
    assert image.shape == (128, 128, 3)
    assert np.corrcoef(image.ravel(), expected.ravel())[0, 1] > 0.97


@pytest.fixture
def talking(tmp_path):
    """Fifty frames of a talking head, and its sound."""
    track = opening(1, 50)
    crops = crops_of(pictures(track))
    write_crops(tmp_path / "abc/crops/one.zip", crops)
    (tmp_path / "abc/audio").mkdir()
    np.save(tmp_path / "abc/audio/one.npy", voice(track))
    assets = {"crops": "crops/one.zip", "audio": "audio/one.npy"}
    return tmp_path / "abc", Record("one", "toy", "test", 0, "one.mp4", "one", assets=assets)


@pytest.mark.parametrize("kind", ["sound_noise", "sound_rate", "sound_offset"])
def test_sound_is_changed_and_pictures_are_not(talking, kind):
    folder, record = talking
    clean, before = np.load(folder / "audio/one.npy").astype(float), 0.0
    for level, manifest in corrupted([record], folder, kind, [1, 5], 128, workers=1).items():
        (placed,) = manifest.records
        assert (manifest.folder / placed.assets["crops"]).samefile(folder / "crops/one.zip")
        samples = np.load(manifest.folder / placed.assets["audio"])
        assert (samples.dtype, len(samples)) == (np.int16, len(clean))
        change = float(np.abs(samples - clean).mean())
        assert change > (0 if kind == "sound_offset" else before)
        before = change
        if kind == "sound_offset":
            lag = round({1: 0.04, 5: 0.32}[level] * 16_000)
            assert not samples[:lag].any()
            assert np.array_equal(samples[lag:], clean[:-lag])


def test_a_lower_rate_leaves_frames_out_and_keeps_their_times(talking):
    folder, record = talking
    (placed,) = corrupted([record], folder, "frame_rate", [5], 128, workers=1)[5].records
    manifest = folder_of(folder, "frame_rate", 5)
    with CropReader(manifest / placed.assets["crops"]) as fewer, CropReader(folder / "crops/one.zip") as every:
        assert len(fewer.table["t"]) == 20
        assert np.diff(fewer.table["t"]).mean() == pytest.approx(0.1, abs=0.005)
        rows = np.searchsorted(every.table["t"], fewer.table["t"])
        assert all(
            np.array_equal(one, other) for one, other in zip(fewer.read(range(20)), every.read(rows), strict=True)
        )


def test_who_does_not_hear_has_no_corrupted_sound(clean):
    _, record, _ = clean
    with pytest.raises(DfdError, match="does not hear"):
        refuse_uncorruptible([record], ["sound_noise"])
