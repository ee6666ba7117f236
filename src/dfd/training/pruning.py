"""Pruning of a search's trial: its metric is reported after every epoch, and a hopeless trial is stopped."""

from collections.abc import Callable

import pytorch_lightning as pl


class PruningCallback(pl.Callback):
    """Report the metric of every epoch to a search, and stop where `report` returns True."""

    def __init__(self, metric: str, report: Callable[[int, float], bool]) -> None:
        self.metric = metric
        self.report = report
        self.given_up = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report from the first process; all processes stop together."""
        if self.metric not in trainer.callback_metrics:
            return
        value = float(trainer.callback_metrics[self.metric])
        hopeless = trainer.is_global_zero and self.report(trainer.current_epoch, value)
        self.given_up = bool(trainer.strategy.broadcast(hopeless))
        trainer.should_stop = trainer.should_stop or self.given_up
