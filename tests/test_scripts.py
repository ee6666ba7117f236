"""Scripts at the command line."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dfd.models.tall import Tall
from dfd.models.tall_weights import to_official
from dfd.training.checkpoint import load_network

ROOT = Path(__file__).parents[1]


def run(script: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "scripts" / script), *map(str, arguments)]
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


@pytest.mark.slow
def test_convert_weights_of_tall(tmp_path):
    official = to_official(Tall("tiny", pretrained=False))
    torch.save({"model": official, "args": argparse.Namespace(lr=1)}, tmp_path / "official.pth")
    done = run("convert_weights.py", "tall", tmp_path / "official.pth")
    assert done.returncode == 0, done.stderr
    loaded = load_network(tmp_path / "official.ckpt")
    assert torch.equal(loaded.network.state_dict()["head.weight"], official["head.weight"])
    assert loaded.card["crops"]["size"] > 0


@pytest.mark.slow
def test_convert_weights_says_what_is_wrong(tmp_path):
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "x.pth")
    done = run("convert_weights.py", "tall", tmp_path / "x.pth")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "does not hold a TALL" in done.stderr


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
