"""A small run, and a server of it: the application in this process, its worker in another."""

import dataclasses
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import draw_head, write_video

pytest.importorskip("fastapi")
pytest.importorskip("dbos")

KEY = "for-tests-only-0123456789abcdef"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network was never trained."""
    import torch

    from dfd.core.card import Looking
    from dfd.models.checkpoint import save_network
    from dfd.models.meso import MesoInception4
    from dfd.preprocess.crop import CropOptions

    run = tmp_path_factory.mktemp("runs") / "small"
    (run / "checkpoints").mkdir(parents=True)
    torch.manual_seed(0)
    tree = {"_target_": "dfd.models.meso.MesoInception4", "size": 64, "logits": 1}
    facts = {"crops": dataclasses.asdict(CropOptions()), "looking": Looking(frames=4), "data": "nothing"}
    save_network(run / "checkpoints/best.ckpt", MesoInception4(64, logits=1), tree, **facts)
    return run


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of a head."""
    return write_video(tmp_path_factory.mktemp("clips") / "a head.mp4", [draw_head(i) for i in range(25)])


class Served:
    """A server in a process of its own, its address and its key."""

    def __init__(self, run: Path, folder: Path, *options: str) -> None:
        self.folder, self.key = folder, KEY
        command = [sys.executable, "-m", "dfd.cli.serve", f"run={run}", f"output={folder}", f"key={KEY}", "port=0"]
        self.log = (folder.parent / f"{folder.name}.log").open("ab")
        self.process = subprocess.Popen(
            [*command, "decoders=1", *options], stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=ROOT
        )
        assert self.process.stdout is not None
        self.address = next((line.strip() for line in self.process.stdout if "http://" in line), "")
        assert self.address, Path(self.log.name).read_text()[-3000:]

    def wait_until_ready(self, seconds: float = 240.0) -> "Served":
        """Return when a worker is alive."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"{self.address}/readyz", timeout=10):
                    return self
            except OSError:
                time.sleep(0.5)
        raise AssertionError(Path(self.log.name).read_text()[-3000:])

    def kill(self) -> None:
        """End it as a power failure would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it as an operator would."""
        self.process.terminate()
        self.process.wait(60)
        self.log.close()


@pytest.fixture(scope="session")
def served(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with one worker."""
    server = Served(small_run, tmp_path_factory.mktemp("served") / "out").wait_until_ready()
    yield server
    server.stop()
