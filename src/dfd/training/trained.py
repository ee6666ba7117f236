"""What all objectives share: optimiser, schedule, seeds, checkpoints, and the rows of a pass over a split."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from dfd.core.errors import DfdError
from dfd.core.records import Record, input_to_dict
from dfd.models.base import Network
from dfd.models.checkpoint import BASE, CARD, check_base, drop_base
from dfd.training.optim import parameter_groups
from dfd.training.schedules import Schedule
from dfd.training.sharding import shard

FINITE_EVERY = 20  # steps between two checks of the loss: reading its value makes the device wait
CALMER = "lower optimizer.lr, or train in full precision with trainer.precision=32-true"


class Trained(pl.LightningModule):
    """A network behind Lightning's loops, known only by its contract.

    Every random draw on the device is a function of seed, rank, epoch and batch, so that a resumed run
    equals one that was not stopped. A class per kind of input (`ViewScoring`, `SequenceScoring`, ...) defines the
    output for a batch and the rows that are kept; an objective defines the loss. `rows[split]` holds those of the
    last pass.

    Args:
        network: what is trained, or only scored.
        optimizer: takes parameter groups; None where the network is only scored.
        scheduler: takes the number of steps and returns a schedule.
        card: the plain description of the run that goes into every checkpoint.
        seed: of everything that is drawn on the device.
        compiled: whether to compile the network.
    """

    needs_both_classes: ClassVar[bool] = False  # a split of real videos alone cannot be trained on, or validated by
    pictures: ClassVar[tuple[str, ...]] = ("pixels",)  # what of a batch travels as uint8 and is shown in [0, 1]
    on_cpu: ClassVar[tuple[str, ...]] = ("t", "draw")  # what only the CPU reads: some devices have no float64
    row_key: ClassVar[tuple[str, ...]] = ("video", "t")  # rows that agree in it are one row, seen twice
    finite: ClassVar[tuple[str, ...]] = ("score",)  # columns in which validation accepts finite numbers only
    table_file: ClassVar[str] = "predictions.parquet"

    def __init__(
        self,
        network: Network,
        optimizer: Callable[..., Optimizer] | None = None,
        scheduler: Callable[[int], Schedule] | None = None,
        card: Mapping[str, Any] | None = None,
        seed: int = 0,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        self.network: Any = network
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.card = dict(card or {})
        self.seed = seed
        self.compiled = compiled
        self.rows: dict[str, Any] = {}
        self._pending: list[Any] = []

    # What a kind of input, or an objective, gives.

    def answer(self, batch: Any) -> Any:
        """Call the network with what it sees of a batch."""
        raise NotImplementedError

    def loss(self, output: Any, batch: Any) -> Tensor:
        """Return the loss of one batch."""
        raise NotImplementedError

    def rows_of(self, output: Any, batch: Any) -> NamedTuple:
        """Return what is kept of a batch: a NamedTuple of arrays of one length."""
        raise NotImplementedError

    def judge(self, rows: Any) -> dict[str, float]:
        """Return the numbers of a whole validation split, for logs and for the choice of a checkpoint."""
        return {}

    def table(self, rows: Any, records: Sequence[Record]) -> pd.DataFrame:
        """Turn rows into the table that evaluation reads; `video` numbers are positions among the split's records."""
        raise NotImplementedError

    # How Lightning's loops use it.

    def configure_model(self) -> None:
        """Shard the network over the devices, where that is the strategy."""
        if self.device_mesh is not None:
            shard(self.network, self.device_mesh["data_parallel"])

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leave on the CPU what only it reads."""
        stays = {name: values for name, values in batch.items() if name in self.on_cpu}
        goes = {name: values for name, values in batch.items() if name not in stays}
        return super().transfer_batch_to_device(goes, device, dataloader_idx) | stays

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Turn uint8 into RGB in [0, 1] once the pixels are on the device: a quarter of the traffic."""
        for name in self.pictures:
            batch[name] = self.network.pixels(batch[name])
        return batch

    def on_fit_start(self) -> None:
        """Refuse data that cannot be learned from; compile the network in place, which keeps the names of weights."""
        if self.needs_both_classes:
            self._refuse_one_class()
        if self.compiled:
            self.network.compile()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed dropout and the like."""
        draw = np.random.SeedSequence((self.seed, self.global_rank, self.current_epoch, batch_idx)).generate_state(1)[0]
        torch.manual_seed(int(draw))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Compute the loss of a batch; raise where it is not finite."""
        loss = self.loss(self.answer(batch), batch)
        if batch_idx % FINITE_EVERY == 0 and not torch.isfinite(loss):
            raise DfdError(f"the training loss became {loss.item()} at step {self.global_step}: {CALMER}")
        self.log("train/loss_step", loss, on_step=True, on_epoch=False, prog_bar=True)
        self.log("train/loss", loss, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch["video"]))
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Keep the rows of a batch and log its loss."""
        output = self.answer(batch)
        self._pending.append(self.rows_of(output, batch))
        self.log("val/loss", self.loss(output, batch), sync_dist=True, batch_size=len(batch["video"]))

    def on_validation_epoch_end(self) -> None:
        """Compute the numbers once over all rows of all ranks: an AUC is not a mean over batches."""
        rows = self.finish("val")
        whole = np.logical_and.reduce([np.isfinite(getattr(rows, name)) for name in self.finite])
        if not whole.all():
            raise DfdError(
                f"{int((~whole).sum())} of {len(whole)} validation scores are not finite in epoch "
                f"{self.current_epoch}: {CALMER}; the checkpoints of earlier epochs are as they were"
            )
        self.log_dict(self.judge(rows), prog_bar=True, rank_zero_only=True)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Keep the rows of a batch."""
        self._pending.append(self.rows_of(self.answer(batch), batch))

    def on_test_epoch_end(self) -> None:
        """Gather the rows of all ranks."""
        self.finish("test")

    def finish(self, split: str) -> Any:
        """Join the rows of all batches and ranks, dropping those that a distributed sampler repeated."""
        pending = self._pending
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            shares: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(shares, pending)
            pending = [rows for share in shares for rows in share]
        kind = type(pending[0])
        joined = kind(*(np.concatenate(column) for column in zip(*pending, strict=True)))
        key = np.stack([getattr(joined, name).astype(float) for name in self.row_key])
        _, first = np.unique(key, axis=1, return_index=True)
        self.rows[split] = kind(*(column[first] for column in joined))
        self._pending = []
        return self.rows[split]

    def configure_optimizers(self) -> Any:
        """Build the optimiser without weight decay on norms and biases, and the schedule over all steps."""
        assert self.optimizer is not None
        decay = getattr(self.optimizer, "keywords", {}).get("weight_decay", 0.0)
        optimizer = self.optimizer(parameter_groups(self.network, decay))
        if getattr(optimizer, "needs_whole_batches", False):
            _check_whole_batches(self.trainer)
        if self.scheduler is None:
            return optimizer
        schedule = LambdaLR(optimizer, self.scheduler(int(self.trainer.estimated_stepping_batches)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Describe the checkpoint in its card, and leave out a frozen base that can be fetched again."""
        checkpoint[CARD] = self.card | {
            "input": input_to_dict(self.network.input),
            "initialised_from": self.network.initialised_from,
        }
        drop_base(checkpoint, self.network)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume over another frozen base."""
        check_base(checkpoint[CARD].get(BASE), self.network, Path(self.trainer.ckpt_path or "the checkpoint"))

    def _refuse_one_class(self) -> None:
        data: Any = getattr(self.trainer, "datamodule", None)
        if not hasattr(data, "targets") or getattr(data, "makes_fakes", False):  # another's may know no classes
            return
        labels = data.targets(data.records("train"))
        if len(set(labels)) < 2:
            kind = "fake" if labels[0] else "real"
            raise DfdError(
                f"the train split holds only {kind} videos ({len(labels)}): {type(self).__name__} needs both classes"
            )


def _check_whole_batches(trainer: Any) -> None:
    """Refuse what an optimiser that passes twice over a batch cannot work with."""
    if trainer.accumulate_grad_batches > 1:
        raise DfdError("this optimiser passes twice over every batch: set trainer.accumulate_grad_batches=1")
    if str(trainer.precision).startswith("16"):
        raise DfdError("this optimiser cannot follow a gradient scaler: set trainer.precision=bf16-mixed or 32-true")
