"""What users install: a wheel and a source archive, whose commands work in a folder of their own."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]


def python(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | more
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The folder of both archives."""
    folder = tmp_path_factory.mktemp("dist")
    for target in ("wheel", "sdist"):
        done = python(ROOT, "-m", "hatchling", "build", "-t", target, "-d", str(folder))
        assert done.returncode == 0, done.stderr[-2000:]
    return folder


def test_the_archives_hold_what_they_need_and_nothing_else(built):
    (wheel,), (source,) = built.glob("*.whl"), built.glob("*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    assert "dfd/configs/train.yaml" in names
    assert "dfd/py.typed" in names
    assert any(name.endswith("leaderboard.html.j2") for name in names)
    assert any(name.endswith("serving/page/index.html") for name in names)
    assert not any(name.startswith(("tests/", "outputs/", "data/")) for name in names)
    assert wheel.stat().st_size < 5 * 2**20
    with tarfile.open(source) as archive:
        inside = [name.partition("/")[2] for name in archive.getnames()]
    assert {"pyproject.toml", "configs/train.yaml", "train.py"} <= set(inside)


def test_installed_commands_work_in_a_folder_of_their_own(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)  # a wheel without compiled parts is installed so
    for command in ("train", "eval", "predict", "preprocess"):
        done = python(tmp_path, "-m", f"dfd.cli.{command}", "--help", PYTHONPATH=str(site))
        assert done.returncode == 0, done.stderr[-2000:]
        assert "dfd-" in done.stdout
    where = python(tmp_path, "-c", "import dfd; print(dfd.__file__)", PYTHONPATH=str(site))
    assert where.stdout.startswith(str(site))
    done = python(tmp_path, "-m", "dfd.cli.train", "model=tall", "data=ffpp", "--cfg", "job", PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "_target_: dfd.models.tall.Tall" in done.stdout
