"""Scripts at the command line."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from dfd.core.errors import DfdError

ROOT = Path(__file__).parents[1]


def run(script: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "scripts" / script), *map(str, arguments)]
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


def script(name: str):
    """Return a script as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("by", "best"), [("val/auc", [1, 3]), ("val/loss", [3, 5]), ("val/reconstruction", [1, 5])])
def test_the_best_epochs_are_validated_ones_and_the_lowest_where_that_is_better(tmp_path, by, best):
    columns = {"val/auc": (0.9, 0.8, 0.7), "val/loss": (0.6, 0.5, 0.4), "val/reconstruction": (0.1, 0.3, 0.2)}
    table = {
        "epoch": range(6),
        **{name: [v for value in values for v in (None, value)] for name, values in columns.items()},
    }
    pd.DataFrame(table).to_csv(tmp_path / "metrics.csv", index=False)
    best_epochs = script("average_checkpoints").best_epochs
    assert best_epochs(tmp_path / "metrics.csv", by, 2, 0) == best
    with pytest.raises(DfdError, match="has no value from epoch 6 on"):
        best_epochs(tmp_path / "metrics.csv", by, 2, 6)


def test_leave_one_out_goes_on_with_what_was_killed_and_leaves_alone_what_is_done(tmp_path, monkeypatch):
    module, called, run = script("leave_one_out"), [], tmp_path / "without-a"
    monkeypatch.setattr(module, "command", lambda *words: called.append(words))
    monkeypatch.setattr(module, "read_evaluation", lambda folder: SimpleNamespace(video={"auc": 0.5}))
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "best.ckpt").touch()
    (run / "checkpoints" / "last.ckpt").touch()
    given = ["model=meso", "plugins=[mine]", "trainer=cpu", "eval=frame", "data.root=/data"]
    module.leave_out("a", ["a", "b"], "ffpp", tmp_path, given)
    assert [words[0] for words in called] == ["train", "eval", "eval"]
    assert "ckpt_path=last" in called[0]
    assert set(given[1:]) <= set(called[1])
    assert "model=meso" not in called[1]
    module.leave_out("a", ["a", "b"], "ffpp", tmp_path, given)
    assert [words[0] for words in called[3:]] == ["eval", "eval"]
    shutil.rmtree(run)
    (run / "checkpoints").mkdir(parents=True)  # killed before its first epoch
    module.leave_out("a", ["a", "b"], "ffpp", tmp_path, given)
    assert "ckpt_path=last" not in called[5]
    assert not (run / "checkpoints").exists()


@pytest.mark.slow
def test_bench_prints_a_table_and_writes_json(tmp_path):
    done = run("bench.py", "index", "--json", tmp_path / "figures.json")
    assert done.returncode == 0, done.stderr
    assert "read 100,000 records" in done.stdout
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["machine"]["threads"] >= 1
    assert {figure["bench"] for figure in written["figures"]} == {"index"}
    assert all(figure["ratio"] > 0 for figure in written["figures"])


@pytest.mark.slow
def test_bench_names_its_benches():
    done = run("bench.py", "nothing")
    assert done.returncode == 2
    for name in ("preprocess", "loader", "train", "infer", "evaluate", "storage", "memory", "index", "tall"):
        assert name in done.stderr


def test_the_seeds_that_are_named(tmp_path):
    seeds = script("seeds")
    assert seeds.seeds("0-2,7") == [0, 1, 2, 7]
    trial = seeds.Trial("recipe", 1, tmp_path / "recipe_seed1", ())
    assert seeds.numbers(trial) is None  # it was never run
    with pytest.raises(SystemExit, match="no run came to its end"):
        seeds.report([trial], tmp_path, "recipe")
