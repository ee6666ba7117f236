"""Run a detector over one split with Lightning's loops: one row per view."""

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl

from dfd.core.build import allowed, build
from dfd.models.base import Network
from dfd.models.devices import lay_out
from dfd.training.scoring import scoring_for
from dfd.training.sharding import Sharded

if TYPE_CHECKING:
    from dfd.data.datamodule import RecordDataModule


def score_split(network: Network, data: "RecordDataModule", split: str, trainer: Mapping[str, Any]) -> Any:
    """Run a network over a split on the device that the trainer configuration names; return the rows of its kind."""
    quiet = {"logger": False, "enable_checkpointing": False, "callbacks": [pl.callbacks.RichProgressBar()]}
    runner = build(dict(trainer), allowed(()), "trainer", **quiet)
    data.trainer = runner  # whose processes share the videos
    # sharding cannot be undone: the caller keeps an unsharded network
    scoring = scoring_for(copy.deepcopy(network) if isinstance(runner.strategy, Sharded) else network)
    lay_out(scoring.network, runner.strategy.root_device)
    runner.test(scoring, data.eval_dataloader(split), verbose=False)
    return scoring.rows["test"]
