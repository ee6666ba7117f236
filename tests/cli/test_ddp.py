"""Two processes on gloo give what one gives."""

import subprocess
import sys

import pandas as pd
import pytest

from tests.cli.conftest import QUICK, ROOT, SMALL, run

TUNED = "vit model.network.architecture=vit_tiny_patch16_224 model.network.pretrained=false model.network.tune=lora"


@pytest.mark.slow
@pytest.mark.parametrize(("trainer", "model"), [("ddp", "meso"), ("fsdp", "meso"), ("ddp", TUNED)])
def test_two_processes_score_every_video_once(workplace, trainer, model):
    """Also where most of a network is frozen: no gradient is waited for that does not come."""
    several = ["trainer.accelerator=cpu", "trainer.devices=2"]
    name = f"{trainer}_{model.split()[0]}"
    done = run(workplace, f"python train.py model={model} data=ffpp name={name} trainer={trainer}", *several, *QUICK)
    assert done.returncode == 0, done.stderr[-3000:]
    two = pd.read_parquet(workplace / f"outputs/{name}/eval/ffpp-sample-test/predictions.parquet")

    alone = f"python eval.py run=outputs/{name} data=ffpp output=one"
    done = run(workplace, alone, "data.loader.eval_frames=2", *SMALL)
    assert done.returncode == 0, done.stderr[-3000:]
    one = pd.read_parquet(workplace / "one/predictions.parquet")
    assert len(two) == len(one) == 20
    pd.testing.assert_frame_equal(two, one, rtol=1e-5, atol=1e-5)  # scores near 0 differ by the size of batches


@pytest.mark.slow
def test_of_two_processes_that_evaluate_one_reports(workplace):
    two = "trainer=ddp trainer.accelerator=cpu trainer.devices=2"
    done = run(workplace, f"python eval.py run=outputs/demo data=ffpp output=pair {two}", *SMALL)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("report: ") == 1
    looks = (workplace / "outputs/demo/test_touches.jsonl").read_text().splitlines()
    assert sum("output=pair" in look for look in looks) == 1


@pytest.mark.slow
def test_processes_of_torchrun_write_one_run_folder(workplace):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", str(ROOT / "train.py")]
    more = ["model=meso", "data=ffpp", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    done = subprocess.run(
        [*command, *more, "paths.output_dir=launched", "test=false", *QUICK],
        cwd=workplace, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (folder,) = (workplace / "launched").iterdir()
    assert (folder / "checkpoints" / "last.ckpt").is_file()
