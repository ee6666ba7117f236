"""Sharpness-aware steps, tuned backbones and self-blended pairs: a stopped run goes on as if it had not stopped."""

import functools

import pytest
import pytorch_lightning as pl
import torch

from dfd.data.datamodule import FaceDataModule
from dfd.data.selfblend_module import SelfBlendDataModule
from dfd.models.image import ImageDetector
from dfd.training.callbacks import StopGracefully, Stopped
from dfd.training.classification import Classification
from dfd.training.sam import SamAdamW
from dfd.training.schedules import warmup_cosine
from tests.training.test_fit import StopAt

pytestmark = pytest.mark.slow
TINY = "test_vit"


def network(tune):
    made = ImageDetector(TINY, pretrained=False, size=32, tune=tune, rank=2)
    torch.manual_seed(1)
    for name, parameter in made.named_parameters():  # a base that knows something
        if not parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05 + 0.001 * len(name))
    return made


def run(noise, folder, kind, stop=None, resume=False):
    pl.seed_everything(7, verbose=False)
    module = SelfBlendDataModule if kind == "selfblend" else FaceDataModule
    made = network("full" if kind in ("sam", "selfblend") else kind)
    data = module(noise, made.input, batch_size=4, visits=2, eval_frames=2, workers=0, seed=7)
    adam = functools.partial(torch.optim.AdamW, lr=1e-3)
    optimizer = functools.partial(SamAdamW, rho=0.05, lr=1e-3) if kind == "sam" else adam
    card = {"network": {"_target_": "dfd.models.image.ImageDetector"}, "manifest": noise.hash}
    objective = Classification(made, optimizer, functools.partial(warmup_cosine, warmup=0.1), card, seed=7)
    checkpoints = folder / "checkpoints"
    stopping = StopGracefully(str(checkpoints)) if stop is None else StopAt(str(checkpoints), stop)
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", callbacks=[stopping], logger=False, use_distributed_sampler=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=folder,
    )  # fmt: skip
    path = str(checkpoints / "last.ckpt") if resume else None
    trainer.fit(objective, datamodule=data, ckpt_path=path, weights_only=True)
    return trainer, objective


@pytest.mark.parametrize("kind", ["sam", "ln", "bias", "lora", "svd", "head", "selfblend"])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(noise, tmp_path, kind):
    whole, expected = run(noise, tmp_path / "whole", kind)
    stop = whole.global_step // 2 + 1  # within the second epoch
    with pytest.raises(Stopped, match=f"stopped at step {stop}"):
        run(noise, tmp_path / "parts", kind, stop=stop)
    resumed, objective = run(noise, tmp_path / "parts", kind, resume=True)
    assert resumed.global_step == whole.global_step
    before = network("full" if kind in ("sam", "selfblend") else kind).state_dict()
    moved = 0
    for (name, a), b in zip(expected.state_dict().items(), objective.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
        known = before.get(name.removeprefix("network."))
        moved += known is not None and not torch.equal(known, a)
    assert moved
