"""Preprocessing, evaluation and prediction that are killed at any moment: the same command ends as one left alone."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.conftest import ROOT, run
from tests.runs import finding_run, somebody_talks

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("KILLS", "3"))  # of every command; `make fuzz` takes ten


def children(word: str) -> list[int]:
    """Return the processes whose command line or folder names a place of this test."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            where = os.readlink(process / "cwd")
            command = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "python" in command and (word in command or where.startswith(word)):
            found.append(int(process.name))
    return found


def kill(workplace: Path, words: list[str], seconds: float) -> bool:
    """Start a command and kill its main process, no other, after a while; whether it was still at work."""
    command = [sys.executable, str(ROOT / words[0]), *words[1:]]
    with subprocess.Popen(
        command, cwd=workplace, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        time.sleep(seconds)
        at_work = process.poll() is None
        if at_work:
            process.send_signal(signal.SIGKILL)
        process.wait()
    return at_work


def no_orphans(place: Path) -> None:
    for _ in range(100):
        left = children(str(place))
        if not left:
            return
        time.sleep(0.1)
    raise AssertionError(f"processes outlived their command: {left}")


def interrupted(workplace: Path, words: list[str], seconds: float) -> None:
    """Kill a command some times within the seconds that it takes, then let it end."""
    draw = random.Random(int(os.environ.get("KILLS_SEED", "0")))
    killed = 0
    for _ in range(4 * KILLS):
        if kill(workplace, words, draw.uniform(0.3, 0.95) * seconds):
            killed += 1
        else:
            seconds *= 0.7  # it was done: what was done before, and a warm disk, make it faster than when it was timed
        if killed == KILLS:
            break
    assert killed, "it was done each time before it could be killed"
    done = run(workplace, f"python {' '.join(words)}")
    assert done.returncode == 0, done.stderr[-3000:]
    no_orphans(workplace)


def timed(workplace: Path, words: list[str]) -> float:
    start = time.monotonic()
    done = run(workplace, f"python {' '.join(words)}")
    assert done.returncode == 0, done.stderr[-3000:]
    return time.monotonic() - start


def contents(folder: Path) -> dict[str, str]:
    """Return a digest of every crop in every container, which themselves hold dates."""
    found = {}
    for path in sorted(folder.rglob("crops/**/*.zip")):
        with zipfile.ZipFile(path) as archive:
            digest = hashlib.sha256()
            for name in sorted(archive.namelist()):
                digest.update(name.encode() + archive.read(name))
            found[path.relative_to(folder).as_posix()] = digest.hexdigest()
    return found


@pytest.fixture
def place(workplace, tmp_path):
    """A folder of this test's own with the run and the videos of `workplace`."""
    for name in ("outputs", "FaceForensics++"):
        shutil.copytree(workplace / name, tmp_path / name)
    return tmp_path


def test_preprocessing(place):
    words = ["preprocess.py", "data=ffpp", "data.root=FaceForensics++", "data.crops.groups=2", "workers=2"]
    seconds = timed(place, [*words, "paths.data_dir=whole"])
    interrupted(place, [*words, "paths.data_dir=parts"], seconds)
    whole, parts = contents(place / "whole"), contents(place / "parts")
    assert len(whole) > 3
    assert whole == parts
    assert not [path for path in (place / "parts").rglob("*") if ".part" in path.name]
    one, other = (
        pd.read_parquet(next((place / name).rglob("manifest.parquet"))).drop(columns="path")
        for name in ("whole", "parts")
    )
    pd.testing.assert_frame_equal(one, other)


def test_rendering(tmp_path):
    words = ["preprocess.py", "data=ffpp", "data.sample.identities=8", "data.crops.groups=2", "workers=2"]
    assert kill(tmp_path, words, 8)  # the heads are being drawn
    no_orphans(tmp_path)
    timed(tmp_path, words)
    timed(tmp_path, [*words, "paths.data_dir=whole"])
    assert contents(tmp_path / "data") == contents(tmp_path / "whole")
    assert not [path for path in tmp_path.rglob("*") if ".part" in path.name]


def test_prediction(place):
    words = ["predict.py", "run=outputs/demo", "input=FaceForensics++", "workers=2"]
    seconds = timed(place, [*words, "output=whole"])
    interrupted(place, [*words, "output=parts"], seconds)
    for name in ("verdicts.csv", "predictions.csv"):
        assert (place / "whole" / name).read_bytes() == (place / "parts" / name).read_bytes()
    assert not (place / "parts/unfinished.jsonl").exists()


def test_evaluation(place):
    words = ["eval.py", "run=outputs/demo", "data=ffpp", "data.root=FaceForensics++", "eval.resamples=20"]
    seconds = timed(place, [*words, "output=whole"])
    interrupted(place, [*words, "output=parts"], seconds)
    one, other = (pd.read_parquet(place / name / "predictions.parquet") for name in ("whole", "parts"))
    pd.testing.assert_frame_equal(one, other)
    assert (place / "parts/report.html").is_file()


def test_prediction_of_a_localiser(tmp_path):
    finding_run(tmp_path / "finds")
    for seed in range(4):
        somebody_talks(tmp_path / f"media/{seed}.mp4", seed=seed)
    words = ["predict.py", "run=finds", "input=media", "workers=1"]
    seconds = timed(tmp_path, [*words, "output=whole"])
    interrupted(tmp_path, [*words, "output=parts"], seconds)
    whole, parts = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir() if path.suffix != ".lock"}
                    for name in ("whole", "parts"))  # fmt: skip
    assert {"files.csv", "segments.csv", "timelines.html", "0000_0.svg"} <= set(whole)
    assert whole == parts


def started(workplace: Path, words: list[str], shown: Path) -> subprocess.Popen:
    """Start a command, and return once a file of it is there."""
    command = [sys.executable, str(ROOT / words[0]), *words[1:]]
    process = subprocess.Popen(command, cwd=workplace, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for _ in range(1200):
        if shown.exists():
            return process
        assert process.poll() is None, process.communicate()[0][-3000:]
        time.sleep(0.05)
    raise AssertionError(f"{shown} did not appear")


JUDGE = ["predict.py", "run=outputs/demo", "input=media", "output=judged", "workers=0"]


def judging(place: Path) -> subprocess.Popen:
    """Start to judge thirty files, and return once the first is judged."""
    source = next((place / "FaceForensics++").rglob("*.mp4"))
    (place / "media").mkdir()
    for number in range(30):
        shutil.copy(source, place / f"media/{number:02d}.mp4")
    return started(place, JUDGE, place / "judged/unfinished.jsonl")


def test_a_file_that_vanishes_or_changes_meanwhile_costs_itself_alone(place):
    process = judging(place)
    (place / "media/29.mp4").unlink()
    (place / "media/28.mp4").write_bytes((place / "media/00.mp4").read_bytes()[:400])
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 3, said[-3000:]
    table = pd.read_csv(place / "judged/verdicts.csv")
    left_out = table.loc[table["verdict"] == "not judged", "file"]
    assert [Path(name).name for name in left_out] == ["28.mp4", "29.mp4"]


def test_two_commands_on_one_folder(place):
    process = judging(place)
    second = run(place, f"python {' '.join(JUDGE)}")
    assert second.returncode == 2
    assert "another process is at work in judged" in second.stderr
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:]
    assert len(pd.read_csv(place / "judged/verdicts.csv")) == 30


def test_a_disk_that_is_full(place):
    small = place / "small"
    small.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("mounting a small disk needs root and its rights")
    try:
        done = run(place, "python predict.py run=outputs/demo input=FaceForensics++ output=small/judged workers=0")
        assert done.returncode == 0, done.stderr[-3000:]
        assert "real" in done.stdout or "fake" in done.stdout
        assert "cannot be written" in done.stderr
        assert (place / "predict/verdicts.csv").is_file()
        done = run(place, "python eval.py run=outputs/demo data=ffpp data.root=FaceForensics++ output=small/report")
        assert done.returncode == 2
        assert "the disk is full" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_clock_that_was_set_back_changes_nothing(place):
    words = ["predict.py", "run=outputs/demo", "input=FaceForensics++", "workers=0"]
    timed(place, [*words, "output=now"])
    later = time.time() + 10 * 365 * 86_400
    for path in [*(place / "outputs/demo").rglob("*"), *(place / "FaceForensics++").rglob("*")]:
        os.utime(path, (later, later))  # everything comes from the future
    timed(place, [*words, "output=future"])
    assert (place / "now/verdicts.csv").read_bytes() == (place / "future/verdicts.csv").read_bytes()
    done = run(place, "python eval.py run=outputs/demo data=ffpp data.root=FaceForensics++ eval.resamples=20")
    assert done.returncode == 0, done.stderr[-3000:]
