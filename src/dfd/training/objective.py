"""The base of every objective: optimiser, schedule, logging, validation by video AUC; a subclass gives the loss."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from dfd.core.errors import DfdError
from dfd.core.tensors import Batch, Output
from dfd.data.ondevice import OnDevice
from dfd.metrics.pooling import pool
from dfd.metrics.ranking import average_precision, roc_auc
from dfd.models.base import Detector
from dfd.models.checkpoint import CARD
from dfd.training.optim import parameter_groups
from dfd.training.schedules import Schedule
from dfd.training.scoring import Scoring

LOOK_EVERY = 20
CALMER = "lower optimizer.lr, or train in full precision with trainer.precision=32-true"


class Objective(Scoring):
    """Trains a detector that it knows only by the contract.

    `optimizer` takes parameter groups, `scheduler` the number of steps. `card` is the plain description of the run
    that goes into every checkpoint. `augment` changes pixels on the device. Every random draw there is a function of
    seed, rank, epoch and batch, so that a stopped run goes on as if it had not been stopped.
    """

    def __init__(
        self,
        network: Detector,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[[int], Schedule] | None = None,
        card: Mapping[str, Any] | None = None,
        seed: int = 0,
        compiled: bool = False,
        augment: OnDevice | None = None,
    ) -> None:
        super().__init__(network)
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.card = dict(card or {})
        self.seed = seed
        self.compiled = compiled
        self.augment = augment

    def on_fit_start(self) -> None:
        """Compile the network in place, where that is asked for; the names of its weights stay."""
        if self.compiled:
            self.network.compile()

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the loss of one batch."""
        raise NotImplementedError

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Augment what was left to the device; seed dropout and the like."""
        if self.augment is not None:
            batch["pixels"] = self.augment(batch["pixels"], batch["draw"])
        draw = np.random.SeedSequence((self.seed, self.global_rank, self.current_epoch, batch_idx)).generate_state(1)[0]
        torch.manual_seed(int(draw))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the loss of a batch; a loss that is no longer finite stops the run."""
        loss = self.loss(self(batch["pixels"]), batch)
        # looking at the value makes the device wait, so it is done only now and then
        if batch_idx % LOOK_EVERY == 0 and not torch.isfinite(loss):
            raise DfdError(f"the training loss became {loss.item()} at step {self.global_step}: {CALMER}")
        self.log("train/loss_step", loss, on_step=True, on_epoch=False, prog_bar=True)
        self.log("train/loss", loss, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch["label"]))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Score a batch and log its loss."""
        output = self(batch["pixels"])
        self.collect(batch, output)
        self.log("val/loss", self.loss(output, batch), sync_dist=True, batch_size=len(batch["label"]))

    def on_validation_epoch_end(self) -> None:
        """Compute AUC and AP once over all videos of all ranks: they are no means over batches."""
        rows = self.finish("val")
        lost = int((~np.isfinite(rows.score)).sum())
        if lost:
            raise DfdError(
                f"{lost} of {len(rows.score)} validation scores are not finite in epoch "
                f"{self.current_epoch}: {CALMER}; the checkpoints of earlier epochs are as they were"
            )
        labels, scores = pool(rows.video, rows.label, rows.score)
        auc = roc_auc(labels, scores)
        if np.isnan(auc) and not self.trainer.sanity_checking:
            kind = "fake" if labels[0] else "real"
            raise DfdError(
                f"the val split holds only {kind} videos: no checkpoint can be chosen by val/auc; split anew"
            )
        self.log_dict({"val/auc": auc, "val/ap": average_precision(labels, scores)}, prog_bar=True, rank_zero_only=True)

    def configure_optimizers(self) -> Any:
        """Build the optimiser without weight decay on norms and biases, and the schedule over all steps."""
        decay = getattr(self.optimizer, "keywords", {}).get("weight_decay", 0.0)
        optimizer = self.optimizer(parameter_groups(self._trained(), decay))
        if self.scheduler is None:
            return optimizer
        schedule = LambdaLR(optimizer, self.scheduler(int(self.trainer.estimated_stepping_batches)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say in the checkpoint what it holds."""
        checkpoint[CARD] = self.card | {
            "input": asdict(self.network.input),
            "initialised_from": self.network.initialised_from,
        }

    def _trained(self) -> nn.Module:
        return self.network
