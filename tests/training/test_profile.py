"""A profile says where the time of a step goes."""

import functools
import json
import logging

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from dfd.data.datamodule import FaceDataModule
from dfd.models.meso import MesoInception4
from dfd.training.classification import Classification
from dfd.training.profile import Profile, StepProfiler, flop_counter, matmul_rate, summary_page

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


def fit(noise, folder, steps):
    network = MesoInception4(32)
    data = FaceDataModule(noise, network.input, batch_size=4, visits=1, workers=0)
    profiler = StepProfiler(str(folder), warmup=1, steps=4, traced=1)
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=steps, limit_val_batches=0, profiler=profiler, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(Classification(network, functools.partial(torch.optim.AdamW, lr=1e-3)), datamodule=data)
    return profiler


def test_a_profile_of_a_run(noise, tmp_path):
    result = fit(noise, tmp_path, 7).result
    assert min(result.phases.values()) >= 0
    assert sum(result.phases.values()) == pytest.approx(result.step, rel=0.05)
    assert result.phases["forward"] > 0
    assert result.phases["data wait"] > 0
    network, pixels = MesoInception4(32), torch.rand(4, 3, 32, 32)
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        network(pixels).logits.sum().backward()
    assert result.flops == counter.get_total_flops() > 0
    assert 0 < result.mfu < 1
    written = json.loads((tmp_path / "summary.json").read_text())
    assert written["waiting"] == pytest.approx(result.waiting)
    assert any(
        event.get("name") == "aten::convolution"
        for event in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    )
    assert "MFU" in (tmp_path / "summary.txt").read_text()


def test_a_run_that_is_too_short_says_so(noise, tmp_path, caplog):
    assert fit(noise, tmp_path, 3).result is None
    assert "ended after 3 of the 7 steps that a profile needs" in caplog.text
    assert not (tmp_path / "summary.txt").exists()


@pytest.mark.parametrize("layer", [nn.Conv2d(8, 16, 3), nn.Conv2d(8, 8, 3, groups=8), nn.ConvTranspose2d(8, 4, 3)])
def test_a_backward_pass_costs_two_forward_ones(layer):
    pixels = torch.rand(2, 8, 9, 9, requires_grad=True)
    with flop_counter() as forward:
        out = layer(pixels)
    with flop_counter() as backward:
        out.sum().backward()
    assert backward.get_total_flops() == 2 * forward.get_total_flops() > 0


def test_the_page_gives_advice_where_the_loader_is_too_slow():
    phases = {"data wait": 0.5, "forward": 0.5}
    slow = Profile(phases, 1.0, 10, 2e9, 1e10, 2**20, "CPU", "32-true")
    assert "waits 50% of the time: raise data.loader.workers" in summary_page(slow)
    assert "MFU 20.0%" in summary_page(slow)
    assert "raise" not in summary_page(slow._replace(phases={"data wait": 0.05}))


def test_the_rate_of_a_matrix_product_is_one():
    assert 1e8 < matmul_rate(torch.device("cpu"), seconds=0.0) < 1e13
