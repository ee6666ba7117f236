"""One bad video among good ones is a row in a table; a stopped call goes on; fakes share their original's boxes."""

import shutil

import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.core.records import Record
from dfd.data.crops import CropReader
from dfd.preprocess.crop import CropOptions
from dfd.preprocess.pipeline import crop_path, prepare, read_failures
from dfd.preprocess.runner import Engine
from dfd.preprocess.sheet import contact_sheet
from tests.conftest import write_video

OPTIONS = CropOptions(groups=2, length=2, detections=2)
ENGINE = Engine(workers=1)


def record(name, path, **more):
    return Record(name, "toy", "train", int("fake" in name), str(path), "g", **more)


@pytest.fixture
def records(tmp_path, head_video):
    root = tmp_path / "raw"
    root.mkdir()
    for name in ("good", "fake"):
        shutil.copy(head_video, root / f"{name}.mp4")
    (root / "broken.mp4").write_bytes(head_video.read_bytes()[:3000])
    write_video(root / "grey.mp4", [np.full((128, 128, 3), 90, np.uint8)] * 5)
    originals = [record(f"real/{name}", root / f"{name}.mp4") for name in ("good", "broken", "grey", "gone")]
    return [record("fake/good", root / "fake.mp4", original="real/good"), *originals]


def test_failures_are_listed_and_the_rest_is_used(records, tmp_path):
    manifest, failures = prepare(records, tmp_path / "out", OPTIONS, ENGINE)
    assert {failure.video: failure.reason for failure in failures} == {
        "real/broken": "decode_error",
        "real/grey": "no_face",
        "real/gone": "missing_file",
    }
    assert [record.id for record in manifest.records] == ["fake/good", "real/good"]
    assert manifest.records[0].frames == 30
    assert manifest.records[0].fps == 25.0
    assert read_failures(tmp_path / "out") == failures
    tables = []
    for record in manifest.records:
        with CropReader(manifest.folder / record.assets["crops"]) as crops:
            tables.append(crops.table)
    assert all(np.array_equal(tables[0][name], tables[1][name]) for name in tables[0])
    assert contact_sheet(manifest, tmp_path / "sheet.png").stat().st_size > 1000


def test_a_second_call_does_only_what_is_missing(records, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    good = [record for record in records if record.id.endswith("good")]
    first, _ = prepare(good, folder, OPTIONS, ENGINE)
    stamps = {record.id: crop_path(folder, record).stat().st_mtime_ns for record in good}

    (folder / "manifest.parquet").unlink()  # killed before the end, with one video half written
    crop_path(folder, good[0]).rename(crop_path(folder, good[0]).with_suffix(".part"))
    again, _ = prepare(good, folder, OPTIONS, ENGINE)
    assert again.records == first.records
    assert crop_path(folder, good[1]).stat().st_mtime_ns == stamps["real/good"]

    monkeypatch.setattr("dfd.preprocess.pipeline.run", None)  # nothing may run any more
    assert prepare(good, folder, OPTIONS)[0].records == first.records


def test_an_id_cannot_leave_the_folder(tmp_path):
    path = crop_path(tmp_path, record("../../etc/x", "x.mp4"))
    assert tmp_path / "crops" in path.parents


def test_no_usable_video_at_all_is_an_error(records, tmp_path):
    with pytest.raises(DfdError, match="no face in any of 1 videos"):
        prepare([records[-1]], tmp_path / "out", OPTIONS, ENGINE)
