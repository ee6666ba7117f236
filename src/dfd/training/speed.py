"""How a device computes: memory layout, TF32, recomputed activations, and batch norms over all processes."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from dfd.core.errors import DfdError
from dfd.models.backbones import synchronise_batch_norms
from dfd.models.devices import Switch, lay_out


class Speed(pl.Callback):
    """Sets a network up for its device before a strategy wraps it; "auto" turns on what makes the device faster.

    `channels_last` lays convolutions out as tensor cores and CPUs want them, `tf32` lets single precision use them,
    `checkpointing` recomputes activations in the backward pass (less memory, more time), `sync_batchnorm` takes the
    statistics of batch norms over the batches of all processes.
    """

    def __init__(
        self,
        channels_last: Switch = "auto",
        tf32: bool = True,
        checkpointing: bool = False,
        sync_batchnorm: Switch = "auto",
    ) -> None:
        self.channels_last, self.tf32 = channels_last, tf32
        self.checkpointing, self.sync_batchnorm = checkpointing, sync_batchnorm
        self._before: tuple[str, bool] | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Set the network up before it is copied for averaging or wrapped for several processes."""
        network: Any = pl_module.network
        cuda = trainer.strategy.root_device.type == "cuda"
        if cuda:
            self._before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
            torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
            torch.backends.cudnn.allow_tf32 = self.tf32
        if stage != "fit":
            return
        if self.checkpointing:
            recompute_activations(network)
        if self.sync_batchnorm is True and not cuda:
            raise DfdError(
                "sync_batchnorm=true: torch has it on CUDA only; leave it at auto, or larger batches per rank"
            )
        if trainer.world_size > 1 and self.sync_batchnorm and cuda:
            pl_module.network = synchronise_batch_norms(network)
        if self.channels_last:
            lay_out(network, trainer.strategy.root_device, self.channels_last)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Restore the process-wide settings: another run may need full precision."""
        if self._before is not None:
            torch.set_float32_matmul_precision(self._before[0])
            torch.backends.cudnn.allow_tf32 = self._before[1]
            self._before = None


def recompute_activations(network: nn.Module) -> None:
    """Turn gradient checkpointing on in every part that supports it."""
    parts = [part for part in network.modules() if callable(getattr(part, "set_grad_checkpointing", None))]
    if not parts:
        raise DfdError(f"checkpointing=true: no part of {type(network).__name__} can recompute its activations")
    for part in parts:
        part.set_grad_checkpointing(True)  # type: ignore[operator]
