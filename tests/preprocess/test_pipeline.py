"""One bad video among good ones is a row in a table; a stopped call goes on; fakes share their original's boxes."""

import errno
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.core.records import Record
from dfd.core.workers import SIZES
from dfd.data.crops import CropReader
from dfd.data.video import open_video
from dfd.preprocess.crop import CropOptions
from dfd.preprocess.faces import MtcnnDetector
from dfd.preprocess.pipeline import _item, crop_path, prepare, process, read_failures
from dfd.preprocess.runner import Engine, Here, Item, Limits, attempt, remember, remembered, run
from dfd.preprocess.sheet import contact_sheet
from tests.conftest import draw_head, write_video

OPTIONS = CropOptions(groups=2, length=2, detections=2)
ENGINE = Engine(workers=0)


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
    assert contact_sheet(manifest, tmp_path / "sheet.png") == len(manifest)
    assert (tmp_path / "sheet.png").stat().st_size > 1000


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


class Bomb:
    """Work that kills its process for one video, as a file that upsets a decoder may."""

    def __init__(self, victim):
        self.victim = victim

    def __call__(self, items):
        for item in items:
            if item.video == self.victim:
                os.kill(os.getpid(), signal.SIGKILL)
            item.target.parent.mkdir(parents=True, exist_ok=True)
            item.target.write_text("done")
        return []


@pytest.mark.slow
def test_a_file_that_kills_its_process_is_one_failure(tmp_path):
    source = tmp_path / "x.mp4"
    source.touch()
    items = [Item(f"v{i}", source, tmp_path / f"out/v{i}.txt") for i in range(6)]
    failures = run("crop", items, Bomb("v2"), Engine(workers=2))
    assert [(failure.video, failure.reason) for failure in failures] == [("v2", "crashed")]
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == ["v0", "v1", "v3", "v4", "v5"]


def test_a_file_that_takes_too_long_or_raises_is_one_failure(tmp_path):
    source = tmp_path / "x.mp4"
    source.touch()
    item = Item("v", source, tmp_path / "y")
    assert attempt("crop", item, Limits(0.05), lambda: time.sleep(5)).reason == "too_slow"
    assert attempt("crop", item, Limits(5), lambda: 1 / 0).reason == "unexpected"
    assert "ZeroDivisionError" in attempt("crop", item, Limits(5), lambda: 1 / 0).detail
    assert attempt("crop", item, Limits(5), lambda: 7) == 7


@pytest.mark.skipif(not SIZES.is_file(), reason="only Linux limits a process's memory")
def test_a_file_that_needs_too_much_memory_is_a_failure(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"")
    item = Item("clip", tmp_path / "clip.mp4", tmp_path / "clip.zip")
    assert attempt("crop", item, Limits(5, 2**28), lambda: np.ones(2**30)).reason == "out_of_memory"
    assert attempt("crop", item, Limits(5, 2**28), lambda: 7) == 7
    assert len(np.ones(2**30 // 8, np.uint8)) == 2**30 // 8  # the limit is over


def test_a_video_that_takes_too_long_is_no_damaged_one(head_video, tmp_path):
    def slow():
        with open_video(head_video):
            time.sleep(5)

    item = Item("v", head_video, tmp_path / "v.zip")
    failure = attempt("crop", item, Limits(0.2), slow)
    assert failure.reason == "too_slow"
    remember(item, failure)
    assert remembered(item) is None


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), PermissionError(13, "no", "/x")])
def test_a_disk_that_cannot_be_written_is_no_fault_of_the_video(records, tmp_path, monkeypatch, error):
    def full(*_):
        raise error

    folder = tmp_path / "out"
    good = [record for record in records if record.id.endswith("good")]
    with monkeypatch.context() as patch:
        patch.setattr("dfd.preprocess.pipeline.write_looks", full)
        with pytest.raises(DfdError, match=r"^cannot write .*: make room or .*goes on$"):
            prepare(good, folder, OPTIONS, ENGINE)
    assert not list(tmp_path.rglob("*.failed"))
    with monkeypatch.context() as patch:
        patch.setattr("dfd.preprocess.pipeline.write_table", full)
        with pytest.raises(DfdError, match="cannot write"):
            prepare(good, folder, OPTIONS, ENGINE)
    assert len(prepare(good, folder, OPTIONS, ENGINE)[0]) == 2


class Dying(Executor):
    """Processes of which one dies between two pieces of work."""

    def __init__(self):
        self.given = 0

    def submit(self, fn, /, *args):
        self.given += 1
        if self.given == 3:
            raise BrokenProcessPool
        return Here().submit(fn, *args)


def test_a_process_that_dies_between_two_pieces_of_work_costs_nothing(tmp_path, monkeypatch):
    source = tmp_path / "x.mp4"
    source.touch()
    made = [Dying(), Here()]
    monkeypatch.setattr("dfd.preprocess.runner._executor", lambda *_: made.pop(0) if made else Here())
    items = [Item(f"v{i}", source, tmp_path / f"out/v{i}.txt") for i in range(6)]
    assert run("crop", items, Bomb(None), Engine(workers=2)) == []
    assert len(list((tmp_path / "out").iterdir())) == 6


def test_there_are_as_many_workers_as_cores_were_granted(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(3), raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert (Engine().count, Engine(workers=5).count, Engine(workers=0).count) == (3, 5, 1)


def test_a_container_that_was_deleted_is_made_again(records, tmp_path):
    good = [record for record in records if record.id.endswith("good")]
    manifest, _ = prepare(good, tmp_path / "out", OPTIONS, ENGINE)
    path = crop_path(tmp_path / "out", good[0])
    path.unlink()
    assert prepare(good, tmp_path / "out", OPTIONS, ENGINE)[0].records == manifest.records
    assert path.is_file()


def test_a_failure_is_remembered_until_the_file_changes(records, tmp_path, head_video, monkeypatch):
    folder = tmp_path / "out"
    _, failures = prepare(records, folder, OPTIONS, ENGINE)
    looked = []
    monkeypatch.setattr("dfd.preprocess.pipeline._job", lambda item, held: looked.append(item.video))
    (folder / "manifest.parquet").unlink()
    again = run("crop", [_item(folder, record, OPTIONS, False, ENGINE) for record in records[2:4]], process, ENGINE)
    assert [failure.video for failure in again] == ["real/broken", "real/grey"]
    assert looked == []
    monkeypatch.undo()
    shutil.copy(head_video, tmp_path / "raw" / "broken.mp4")  # downloaded again
    manifest, failures = prepare(records, folder, OPTIONS, ENGINE)
    assert "real/broken" in {record.id for record in manifest.records}
    assert {failure.video for failure in failures} == {"real/grey", "real/gone"}


def test_a_video_that_was_replaced_is_cut_again_and_its_fakes_too(records, tmp_path):
    good = [record for record in records if record.id.endswith("good")]
    prepare(good, tmp_path / "out" / "x", OPTIONS, ENGINE)
    before = crop_path(tmp_path / "out" / "x", good[0]).read_bytes()
    write_video(tmp_path / "raw" / "good.mp4", [draw_head(2 * i + 20) for i in range(30)])
    manifest, _ = prepare(good, tmp_path / "out" / "x", OPTIONS, ENGINE)
    assert len(manifest) == 2
    assert crop_path(tmp_path / "out" / "x", good[0]).read_bytes() != before
    (tmp_path / "raw" / "good.mp4").unlink()  # to save space
    assert prepare(good, tmp_path / "out" / "x", OPTIONS, ENGINE)[0].records == manifest.records


def test_other_crops_need_no_second_look(records, tmp_path, monkeypatch):
    good = [record for record in records if record.id.endswith("good")]
    prepare(good, tmp_path / "out" / "a", OPTIONS, ENGINE)
    monkeypatch.setattr("dfd.preprocess.pipeline.detector_on", lambda *asked: None)  # would fail if it were asked
    wider, _ = prepare(good, tmp_path / "out" / "b", replace(OPTIONS, margin=0.6), ENGINE)
    assert len(wider) == 2


def test_several_videos_share_a_batch_and_nothing_changes(records, tmp_path, monkeypatch):
    good = [replace(records[1], id=f"real/{i}") for i in range(3)]
    asked = []
    detect = MtcnnDetector.detect
    monkeypatch.setattr(MtcnnDetector, "detect", lambda self, images: asked.append(len(images)) or detect(self, images))
    prepare(good, tmp_path / "one" / "x", OPTIONS, ENGINE)
    monkeypatch.setattr("dfd.preprocess.pipeline._chunk", lambda records, engine: 3)
    prepare(good, tmp_path / "all" / "x", OPTIONS, ENGINE)
    assert asked == [2, 2, 2, 6]
    for record in good:
        paths = [crop_path(tmp_path / name / "x", record) for name in ("one", "all")]
        with CropReader(paths[0]) as one, CropReader(paths[1]) as together:
            for name in one.table:  # sums in a larger batch are rounded differently
                np.testing.assert_allclose(one.table[name], together.table[name], atol=0.01)


def test_images_go_through_the_same_pipeline(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), draw_head()[..., ::-1])
    records = [Record("a.png", "toy", "train", 0, str(tmp_path / "a.png"), "a")]
    manifest, _ = prepare(records, tmp_path / "out" / "x", OPTIONS, ENGINE)
    with CropReader(manifest.folder / manifest.records[0].assets["crops"]) as crops:
        assert crops.table["frame"].tolist() == [0]
        assert crops.read([0])[0].shape[0] > 100


def tables(folder):
    names = ("manifest.parquet", "failures.parquet", "videos.parquet")
    files = [folder / name for name in names] + sorted((folder / "crops").rglob("*.zip"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


SCRIPT = """
import sys, pickle
from pathlib import Path
from dfd.preprocess.pipeline import prepare
from dfd.preprocess.crop import CropOptions
from dfd.preprocess.faces import MtcnnDetector
from dfd.preprocess.runner import Engine, Here, Item, Limits, attempt, remember, remembered, run
records, folder, options = pickle.loads(Path(sys.argv[1]).read_bytes())
if __name__ == "__main__":
    prepare(records, folder, options, Engine(workers=0))
"""


@pytest.mark.slow
def test_killed_at_random_moments_the_result_is_the_same_byte_for_byte(records, tmp_path):
    """KILL, ten times, each a random moment after some more files were written."""
    more = [replace(record, id=f"{record.id}{i}", original=record.original and f"{record.original}{i}")
            for i in range(6) for record in records]  # fmt: skip
    (tmp_path / "work.py").write_text(SCRIPT)

    def start(name):
        given = tmp_path / f"{name}.pickle"
        given.write_bytes(pickle.dumps((more, tmp_path / name / "x", OPTIONS)))
        return subprocess.Popen([sys.executable, tmp_path / "work.py", given], stderr=subprocess.DEVNULL)

    def written():
        return sum(1 for _ in (tmp_path / "killed").rglob("*.zip"))

    assert start("whole").wait() == 0
    random = np.random.default_rng(5)
    killed = 0
    for files in random.integers(1, 3, 10):
        process, goal = start("killed"), written() + files
        while process.poll() is None and written() < goal:
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.02))
        killed += process.poll() is None
        process.kill()
        process.wait()
    assert killed >= 3  # at the end there is nothing left to write
    assert start("killed").wait() == 0
    assert tables(tmp_path / "killed" / "x") == tables(tmp_path / "whole" / "x")


def note_and_wait(place):
    (Path(place) / f"{os.getpid()}.pid").touch()
    time.sleep(100)


@pytest.mark.slow
def test_workers_do_not_outlive_a_main_process_that_is_killed(tmp_path):
    script = (
        "from concurrent.futures import ProcessPoolExecutor; from multiprocessing import get_context\n"
        "from dfd.core.workers import start_worker; from tests.preprocess.test_pipeline import note_and_wait\n"
        "if __name__ == '__main__':\n"
        "    with ProcessPoolExecutor(2, get_context('spawn'), start_worker) as pool:\n"
        f"        [pool.submit(note_and_wait, {str(tmp_path)!r}) for _ in range(2)]\n"
    )
    (tmp_path / "main.py").write_text(script)
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
    main = subprocess.Popen([sys.executable, str(tmp_path / "main.py")], env=os.environ | {"PYTHONPATH": paths})
    until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    main.kill()
    main.wait()
    until(lambda: not any(alive(int(path.stem)) for path in tmp_path.glob("*.pid")))


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")
    return not stat.is_file() or stat.read_text().rpartition(")")[2].split()[0] != "Z"  # dead, and nobody's yet


def until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)
