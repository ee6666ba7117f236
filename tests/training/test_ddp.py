"""Two processes on gloo are one process with the doubled batch."""

import functools
import logging
import os
import socket

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from dfd.data.datamodule import FaceDataModule
from dfd.models.image import ImageDetector
from dfd.training.callbacks import Ema, History
from dfd.training.classification import Classification
from dfd.training.losses import classification_loss
from dfd.training.schedules import warmup_cosine

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


def train(rank, manifest, folder, devices, port):
    """Train a small ViT; it has no batch norm, whose statistics are those of a process."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank)}
    pl.seed_everything(7, verbose=False)
    network = ImageDetector("vit_tiny_patch16_224", pretrained=False, size=32)
    data = FaceDataModule(manifest, network.input, batch_size=8 // devices, visits=2, eval_frames=4, workers=0, seed=7)
    optimizer = functools.partial(torch.optim.SGD, lr=0.03, momentum=0.9, weight_decay=0.01)
    objective = Classification(network, optimizer, warmup_cosine, per_class="global")
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto",
        callbacks=[History(), Ema(decay=0.9)], gradient_clip_val=1.0, logger=False, use_distributed_sampler=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, enable_checkpointing=False,
        default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(objective, datamodule=data)
    history = next(callback.epochs for callback in trainer.callbacks if isinstance(callback, History))
    torch.save((network.state_dict(), history, trainer.global_step), folder / f"{devices}-{rank}.pt")


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_of_the_doubled_batch(noise, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    on_two(train, noise, tmp_path, 2, port)
    mp.start_processes(train, (noise, tmp_path, 1, port), nprocs=1, start_method="spawn")
    one, first, second = (torch.load(tmp_path / f"{name}.pt", weights_only=False) for name in ("1-0", "2-0", "2-1"))
    assert one[2] == first[2] == second[2] == 8
    for name, weight in one[0].items():
        assert torch.equal(first[0][name], second[0][name]), name
        torch.testing.assert_close(first[0][name], weight, rtol=1e-3, atol=1e-5, msg=lambda t, n=name: f"{n}: {t}")
    start = ImageDetector("vit_tiny_patch16_224", pretrained=False, size=32).state_dict()
    assert any((start[name] - weight).abs().max() > 0.01 for name, weight in one[0].items())
    for key in ("val/auc", "val/ap", "val/loss"):
        assert [e[key] for e in first[1]] == pytest.approx([e[key] for e in one[1]], rel=1e-4)
