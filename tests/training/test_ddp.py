"""Two processes on gloo are one process with the doubled batch."""

import functools
import logging
import os
import signal
import socket
import time

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from dfd.core.errors import Stopped
from dfd.data.datamodule import FaceDataModule
from dfd.models.checkpoint import read_checkpoint
from dfd.models.image import ImageDetector
from dfd.training.callbacks import Ema, History, StopGracefully
from dfd.training.classification import Classification
from dfd.training.losses import classification_loss
from dfd.training.schedules import warmup_cosine
from dfd.training.sharding import Sharded, blocks
from dfd.training.trainer import Trainer

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
LABEL = torch.tensor([0, 1, 1, 1, 0, 0, 0, 0])  # each process has another share of fakes
LOSSES = {
    "mean": {},
    "per_class": {"per_class": "global"},
    "class_weights": {"class_weights": [1.0, 3.0]},
    "one logit, class_weights": {"class_weights": [1.0, 3.0], "label_smoothing": 0.1},
}


def on_two(work, *arguments):
    """Run `work(rank, *arguments)` in two processes of one gloo group."""
    mp.start_processes(_member, (work, arguments), nprocs=2, start_method="spawn")


def _member(rank, work, arguments):
    torch.set_num_threads(1)
    work(rank, *arguments)


def gradients(label, logits):
    values = {}
    for name, options in LOSSES.items():
        leaf = logits[:, -1:].clone() if name.startswith("one logit") else logits.clone()
        classification_loss(leaf.requires_grad_(), label, **options).backward()
        values[name] = leaf.grad
    return values


def a_share_of_the_losses(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    mine = slice(4 * rank, 4 * rank + 4)
    torch.save(gradients(LABEL[mine], torch.load(folder / "logits.pt")[mine]), folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_losses_that_weigh_classes_are_those_of_one_process(tmp_path):
    logits = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    torch.save(logits, tmp_path / "logits.pt")
    on_two(a_share_of_the_losses, tmp_path)
    shares = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for name, whole in gradients(LABEL, logits).items():
        together = torch.cat([share[name] for share in shares]) / 2  # processes average their gradients
        torch.testing.assert_close(together, whole, msg=lambda text, name=name: f"{name}: {text}")


def train(rank, manifest, folder, devices, port, strategy, ema):
    """Train a small ViT; it has no batch norm, whose statistics are those of a process."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank)}
    pl.seed_everything(7, verbose=False)
    network = vit()
    data = FaceDataModule(manifest, network.input, batch_size=8 // devices, visits=2, eval_frames=4, workers=0, seed=7)
    optimizer = functools.partial(torch.optim.SGD, lr=0.03, momentum=0.9, weight_decay=0.01)
    objective = Classification(network, optimizer, warmup_cosine, per_class="global")
    strategy = Sharded() if strategy == "sharded" else strategy
    callbacks = [History(), Ema(decay=0.9)] if ema else [History()]
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", devices=devices, strategy=strategy, callbacks=callbacks,
        gradient_clip_val=1.0, logger=False, use_distributed_sampler=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, enable_checkpointing=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(objective, datamodule=data)
    history = next(callback.epochs for callback in trainer.callbacks if isinstance(callback, History))
    trainer.save_checkpoint(folder / f"{devices}.ckpt")
    torch.save((history, trainer.global_step), folder / f"{devices}-{rank}.pt")


def vit():
    return ImageDetector("vit_tiny_patch16_224", pretrained=False, size=32)


def distance(some, others):
    return sum((some[name] - others[name]).double().square().sum() for name in others).sqrt().item()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "ema"), [("ddp", True), ("sharded", False)])
def test_two_processes_learn_what_one_learns_of_the_doubled_batch(noise, tmp_path, strategy, ema):
    on_two(train, noise, tmp_path, 2, free_port(), strategy, ema)
    alone = (noise, tmp_path, 1, free_port(), "auto", ema)
    mp.start_processes(train, alone, nprocs=1, start_method="spawn")
    one, two = (torch.load(tmp_path / f"{devices}.ckpt", weights_only=True) for devices in (1, 2))
    assert one["global_step"] == two["global_step"] == 8
    assert one["state_dict"].keys() == two["state_dict"].keys()
    pl.seed_everything(7, verbose=False)
    start = {f"network.{name}": value for name, value in vit().state_dict().items()}
    assert distance(one["state_dict"], start) > 0.01
    assert distance(one["state_dict"], two["state_dict"]) < 1e-3 * distance(one["state_dict"], start)
    histories = [torch.load(tmp_path / f"{name}.pt", weights_only=False)[0] for name in ("1-0", "2-0", "2-1")]
    for key in ("val/auc", "val/ap", "val/loss"):
        numbers = [[epoch[key] for epoch in history] for history in histories]
        assert numbers[1] == pytest.approx(numbers[0], rel=1e-4)
        assert numbers[2] == pytest.approx(numbers[0], rel=1e-4)


class Slow(StopGracefully):
    """Keeps the first process out of a step in which the second waits for its gradient, and signals there."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.is_global_zero and trainer.global_step == 2:
            time.sleep(0.5)
            signal.raise_signal(signal.SIGTERM)


def stop_in_a_step(rank, manifest, folder, port):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank)}
    network = vit()
    data = FaceDataModule(manifest, network.input, batch_size=4, visits=2, eval_frames=4, workers=0, seed=7)
    objective = Classification(network, functools.partial(torch.optim.SGD, lr=0.03), warmup_cosine)
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", devices=2, strategy="ddp", callbacks=[Slow(str(folder))], logger=False,
        use_distributed_sampler=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        default_root_dir=folder,
    )  # fmt: skip
    with pytest.raises(Stopped, match="stopped at step 3"):
        trainer.fit(objective, datamodule=data)


@pytest.mark.slow
def test_a_signal_to_one_process_while_another_waits_for_it_stops_both(noise, tmp_path):
    on_two(stop_in_a_step, noise, tmp_path, free_port())
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 3


def test_every_large_block_is_sharded_by_itself():
    found = blocks(vit(), 100_000)
    assert len(found) == 12
    assert {type(block).__name__ for block in found} == {"Block"}
    assert blocks(vit()) == []
