"""The container of face crops: what goes in comes out, holes stay holes, damage is named."""

import zipfile

import cv2
import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.data.crops import COLUMNS, CropReader, Crops, encode, write_crops


def crops():
    random = np.random.default_rng(0)
    table = {name: random.uniform(0, 300, 5).round(3) for name in COLUMNS}
    table |= {"frame": np.array([0, 1, 2, 40, 41]), "valid": np.array([True, True, False, True, True])}
    table |= {"track": np.zeros(5, int), "detected": np.array([True, False, False, True, True])}
    images = {row: random.integers(0, 255, (20, 20, 3), np.uint8) for row in (0, 1, 3, 4)}
    return Crops(table, images)


def test_a_container_from_before_the_column_detected_still_opens(tmp_path):
    write_crops(tmp_path / "v.zip", crops())
    with zipfile.ZipFile(tmp_path / "v.zip") as new, zipfile.ZipFile(tmp_path / "old.zip", "w") as old:
        for name in new.namelist():
            data = new.read(name)
            if name == "frames.csv":
                data = b"\n".join(line.rpartition(b",")[0] for line in data.split(b"\n") if line) + b"\n"
            old.writestr(name, data)
    with CropReader(tmp_path / "old.zip") as reader:
        assert not reader.table["detected"].any()
        assert reader.table["valid"].tolist() == [True, True, False, True, True]


def test_lossless_round_trip_with_a_hole(tmp_path):
    given = crops()
    write_crops(tmp_path / "a" / "v.zip", given)
    with CropReader(tmp_path / "a" / "v.zip") as reader:
        for name in COLUMNS:
            np.testing.assert_allclose(reader.table[name], given.table[name], rtol=1e-9)
        assert all(np.array_equal(a, given.images[r]) for r, a in zip((4, 0), reader.read([4, 0]), strict=True))
    assert zipfile.ZipFile(tmp_path / "a" / "v.zip").namelist() == [
        "000000.png",
        "000001.png",
        "000040.png",
        "000041.png",
        "frames.csv",
    ]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["v.zip"]


def test_webp_is_lossless_and_small(tmp_path):
    given = crops()
    smooth = cv2.GaussianBlur(given.images[0], (0, 0), 3)
    write_crops(tmp_path / "v.zip", Crops(given.table, given.images | {0: smooth}), "webp")
    with CropReader(tmp_path / "v.zip") as reader:
        assert all(np.array_equal(a, b) for a, b in zip(reader.read([0, 4]), (smooth, given.images[4]), strict=True))
    assert len(encode(smooth, "webp", 95)) < len(encode(smooth, "png", 95))


def test_jpeg_is_close(tmp_path):
    smooth = Crops(crops().table, {0: np.full((32, 32, 3), (200, 100, 50), np.uint8)})
    write_crops(tmp_path / "v.zip", smooth, "jpg")
    with CropReader(tmp_path / "v.zip") as reader:
        assert np.abs(reader.read([0])[0].astype(int) - smooth.images[0]).max() < 4


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", None])
def test_damage_names_file_and_next_step(tmp_path, content):
    if content is not None:
        (tmp_path / "v.zip").write_bytes(content)
    with pytest.raises(DfdError, match=r"v\.zip is damaged .*run preprocess\.py again"):
        CropReader(tmp_path / "v.zip")
