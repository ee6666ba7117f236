"""A run that is killed at any moment, and goes on, ends as one that was left alone; also in two processes."""

import os
import random
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch

from dfd.models.checkpoint import read_checkpoint
from tests.cli.conftest import ROOT, SMALL, run

EPOCHS = 6
TOY = [
    *SMALL, "model=meso", "data=ffpp", "model.network.size=32", "data.loader.batch_size=4", "data.loader.visits=1",
    "data.loader.eval_frames=2", f"trainer.max_epochs={EPOCHS}", "callbacks=ema", "callbacks.figures=null",
    "callbacks.stop.steps=3", "logger.tensorboard=null", "callbacks.learning_rate=null", "test=false",
]  # fmt: skip
TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]


def train(workplace, name, *more):
    done = run(workplace, f"python train.py name={name}", *TOY, *more)
    assert done.returncode == 0, done.stderr[-3000:]


def kill(workplace, name, kind, wait, *more):
    """Start a run, wait for its first checkpoint and a little longer, and kill it; whether it was not done yet."""
    last = workplace / "outputs" / name / "checkpoints" / "last.ckpt"
    before = last.stat().st_mtime_ns if last.exists() else 0
    command = [sys.executable, str(ROOT / "train.py"), f"name={name}", *TOY, *more]
    with subprocess.Popen(
        command, cwd=workplace, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    ) as process:
        while process.poll() is None and not (last.exists() and last.stat().st_mtime_ns > before):
            time.sleep(0.02)
        time.sleep(wait)
        unfinished = process.poll() is None
        if unfinished and kind == signal.SIGKILL:
            os.killpg(process.pid, kind)  # its children too: a machine that goes down
        elif unfinished:
            process.send_signal(kind)
        errors = process.communicate(timeout=120)[1]
    if kind == signal.SIGTERM and process.returncode:
        too_late = process.returncode == -kind and read_checkpoint(last)["epoch"] == EPOCHS - 1
        assert "stopped at step" in errors or too_late, errors[-3000:]
    return process.returncode != 0


def same(workplace, whole, parts):
    """Compare everything that a checkpoint holds of two runs: weights, averages, optimiser, schedule, history."""
    one, other = (
        read_checkpoint(workplace / "outputs" / name / "checkpoints" / "last.ckpt") for name in (whole, parts)
    )
    assert one["epoch"] == other["epoch"] == EPOCHS - 1
    assert one["global_step"] == other["global_step"]
    for key in ("state_dict", "current_model_state"):
        for name, value in one[key].items():
            assert torch.equal(value, other[key][name]), f"{key} {name}"
    assert one["lr_schedulers"] == other["lr_schedulers"]
    for index, state in one["optimizer_states"][0]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, other["optimizer_states"][0]["state"][index][name]), name
    histories = [
        pd.read_csv(workplace / "outputs" / name / "metrics.csv").filter(like="val/") for name in (whole, parts)
    ]
    pd.testing.assert_frame_equal(*histories, check_exact=True)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_a_killed_run_goes_on_to_the_same_end(workplace, devices):
    more = TWO if devices == 2 else []
    draw = random.Random()
    train(workplace, f"whole{devices}", *more)
    parts, killed = f"parts{devices}", 0
    for kind, resume in ((signal.SIGKILL, []), (signal.SIGTERM, ["ckpt_path=last"])):
        wait = draw.uniform(0, 0.4)
        killed += kill(workplace, parts, kind, wait, *resume, *more)
    assert killed, "both times the run was done before it could be killed"
    train(workplace, parts, "ckpt_path=last", *more)
    same(workplace, f"whole{devices}", parts)
