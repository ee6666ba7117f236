"""Run a detector over a split and keep one row per view: all that evaluation needs, and the base of every objective."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor

from dfd.core.predictions import tidy
from dfd.core.records import Record
from dfd.core.tensors import Batch, Output
from dfd.models.base import Detector
from dfd.training.sharding import shard


class Rows(NamedTuple):
    """Scores of views as arrays of one length; `video` is a position among the split's records.

    `raw` is the logit of the class fake as the network gave it, which some published numbers rank by.
    """

    video: np.ndarray
    t: np.ndarray
    label: np.ndarray
    score: np.ndarray
    raw: np.ndarray


class Scoring(pl.LightningModule):
    """A detector behind Lightning's evaluation loops; `rows[split]` holds what the last pass over a split gave."""

    def __init__(self, network: Detector) -> None:
        super().__init__()
        self.network = network
        self.rows: dict[str, Rows] = {}
        self._pending: list[Rows] = []

    def configure_model(self) -> None:
        """Share the network out over the devices, where that is the strategy."""
        if self.device_mesh is not None:
            shard(self.network, self.device_mesh["data_parallel"])

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Leave on the CPU what only it reads: some devices have no float64, and none need wait for it."""
        stays = {name: values for name, values in batch.items() if name in ("t", "draw")}
        goes = {name: values for name, values in batch.items() if name not in stays}
        return super().transfer_batch_to_device(goes, device, dataloader_idx) | stays

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turn uint8 into RGB in [0, 1] once the pixels are on the device: a quarter of the traffic."""
        if batch["pixels"].dtype == torch.uint8:
            batch["pixels"] = batch["pixels"].float().div_(255).to(self.network.mean.dtype)
        return batch

    def forward(self, pixels: Tensor) -> Output:
        """Call the network."""
        return self.network(pixels)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Score one batch."""
        self.collect(batch, self(batch["pixels"]))

    def on_test_epoch_end(self) -> None:
        """Gather the rows of all ranks."""
        self.finish("test")

    def collect(self, batch: Batch, output: Output) -> None:
        """Keep the scores of a batch on the CPU."""
        scores = self.network.score(output), output.logits[:, -1]
        score, raw = (values.cpu().double().numpy() for values in scores)
        video, t, label = (batch[key].cpu().numpy() for key in ("video", "t", "label"))  # type: ignore[literal-required]
        self._pending.append(Rows(video, t, label, score, raw))

    def finish(self, split: str) -> Rows:
        """Join the rows of all batches and ranks, dropping those that a distributed sampler repeated."""
        pending = self._pending
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            shares: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(shares, pending)
            pending = [rows for share in shares for rows in share]
        joined = Rows(*(np.concatenate(column) for column in zip(*pending, strict=True)))
        _, first = np.unique(np.stack([joined.video.astype(float), joined.t]), axis=1, return_index=True)
        self.rows[split] = Rows(*(column[first] for column in joined))
        self._pending = []
        return self.rows[split]


def prediction_table(rows: Rows, records: Sequence[Record]) -> pd.DataFrame:
    """Turn rows into a prediction table by looking their videos up among the records of the split."""
    shown = [records[video] for video in rows.video]
    attributes = sorted({name for record in records for name in record.attributes})
    return tidy(
        pd.DataFrame(
            {name: [record.attributes.get(name, "unknown") for record in shown] for name in attributes}
            | {
                "video": [record.id for record in shown],
                "dataset": [record.dataset for record in shown],
                "method": [record.method for record in shown],
                "group": [record.group for record in shown],
                "label": rows.label,
                "t": rows.t,
                "score": rows.score,
                "raw": rows.raw,
            }
        )
    )
