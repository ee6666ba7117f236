"""A folder is judged once: stopped, a scan goes on; scripts read its exit status; a mistake is one line."""

import json

import numpy as np
import pandas as pd
import pytest

from dfd.cli import doctor
from dfd.cli.scan import main
from dfd.inference.engine import Engine
from dfd.inference.verdict import FileResult, Judging, ViewScores
from dfd.serving.doctor import examine
from dfd.serving.scan import Scan, exit_status, scan


class Fake(Engine):
    """An engine that says what a file's name says, and stops where it is told to."""

    def __init__(self, stop: int | None = None) -> None:
        self.judging, self.seen, self.stop = Judging(), [], stop

    def judge_all(self, paths, workers=None, limits=None):
        for path in paths:
            if self.stop is not None and len(self.seen) == self.stop:
                raise KeyboardInterrupt
            self.seen.append(path.name)
            views = ViewScores(np.array([0.0]), np.array([0.7]), np.array([0]))
            yield FileResult(path, path.stem.split("-")[0].replace("_", " "), 0.7, None, "", "", [views])


@pytest.fixture
def files(tmp_path):
    names = ["real-1.mp4", "fake-<b>.mp4", "inconclusive-3.mp4"]
    for name in names:
        (tmp_path / name).write_text(name)
    return [tmp_path / name for name in names]


def test_a_stopped_scan_goes_on(files, tmp_path):
    out = Scan(tmp_path / "results", {"run": ["a"]})
    with pytest.raises(KeyboardInterrupt):
        scan(files, Fake(stop=2), out)
    with (out.folder / "results.jsonl").open("a") as file:
        file.write('{"key": "half a li')  # killed while it wrote
    again = Fake()
    lines = scan(files, again, out)
    assert again.seen == ["inconclusive-3.mp4"]
    assert [line["verdict"] for line in lines] == ["real", "fake", "inconclusive"]
    assert len((out.folder / "results.jsonl").read_text().splitlines()) == 3
    assert all(json.loads(line)["score"] == 0.7 for line in (out.folder / "results.jsonl").open())
    assert len(pd.read_csv(out.folder / "results.csv")) == 3
    page = (out.folder / "index.html").read_text()
    assert "fake-&lt;b&gt;.mp4" in page
    assert page.index("fake-") < page.index("real-1")
    files[0].write_text("another")
    third = Fake()
    scan(files, third, out)
    assert third.seen == ["real-1.mp4"]


def test_other_settings_need_another_folder(files, tmp_path):
    scan(files, Fake(), Scan(tmp_path / "results", {"run": ["a"]}))
    with pytest.raises(Exception, match="other settings"):
        scan(files, Fake(), Scan(tmp_path / "results", {"run": ["b"]}))


def test_what_scripts_read():
    assert exit_status([{"verdict": "real"}]) == 0
    assert exit_status([{"verdict": "real"}, {"verdict": "not judged"}]) == 3
    assert exit_status([{"verdict": "inconclusive"}, {"verdict": "not judged"}]) == 11
    assert exit_status([{"verdict": "inconclusive"}, {"verdict": "fake"}]) == 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what with what"),
        (["nowhere", "run=a"], "no such file"),
        (["a.mp4", "runs=a"], "did you mean 'run'"),
        (["a.mp4", "run=a", "--out"], "key=value"),
        (["a.mp4", "run=a", "faces=many"], "faces"),
    ],
)
def test_mistakes_are_one_line(words, said, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_small_run_from_the_command_line(small_run, clip, tmp_path):
    words = [str(clip), f"run={small_run}", f"out={tmp_path / 'out'}", "workers=0", "device=cpu"]
    assert main(words) in (0, 10)
    (line,) = (tmp_path / "out/results.jsonl").read_text().splitlines()
    assert json.loads(line)["people"][0]["t"]
    assert main(words) in (0, 10)
    assert len((tmp_path / "out/results.jsonl").read_text().splitlines()) == 1


def test_the_doctor(small_run, tmp_path, capsys):
    found = {finding.what: finding for finding in examine([str(small_run), str(tmp_path / "none")])}
    assert found["decoder"].state == "ok"
    assert found["confinement"].state in ("ok", "warning")
    assert found[f"run {small_run}"].state == "warning"  # it was never calibrated
    assert found[f"run {tmp_path / 'none'}"].state == "error"
    assert doctor.main(["what=ever"]) == 2
