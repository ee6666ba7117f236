"""A user's folder to type commands in."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
SMALL = ["data.sample.identities=8", "data.crops.groups=2", "data.loader.workers=0", "eval.resamples=20"]
QUICK = [
    *SMALL, "trainer.max_epochs=1", "trainer.limit_train_batches=2", "model.network.size=32", "data.loader.visits=1",
    "data.loader.eval_frames=2", "data.loader.batch_size=8",
]  # fmt: skip


def run(workplace: Path, command: str, *more: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    words = shlex.split(command.replace("outputs/*", "outputs/demo"))
    script = [f"-mdfd.cli.{words[0][4:]}"] if words[0].startswith("dfd-") else [str(ROOT / words[1])]
    rest = words[1:] if words[0].startswith("dfd-") else words[2:]
    return subprocess.run(
        [sys.executable, *script, *rest, *more],
        cwd=workplace,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="session")
def workplace(tmp_path_factory, tiny_ffpp):
    """A folder as a user has it after `python train.py ... name=demo`, with a few files beside it."""
    folder = tmp_path_factory.mktemp("work")
    done = run(folder, "python train.py model=meso data=ffpp name=demo", *QUICK)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "SAMPLE" in done.stderr
    shutil.copytree(tiny_ffpp, folder / "FaceForensics++")
    shutil.copy(tiny_ffpp / "original_sequences/youtube/c23/videos/000.mp4", folder / "clip.mp4")
    predictions = pd.read_parquet(folder / "outputs/demo/eval/ffpp-sample-test/predictions.parquet")
    predictions.to_csv(folder / "predictions.csv", index=False)
    predictions.assign(score=1 - predictions["score"]).to_csv(folder / "theirs.csv", index=False)
    predictions.drop_duplicates("video")[["video", "label", "method", "group"]].to_csv(
        folder / "labels.csv", index=False
    )
    return folder
