"""A run that is watched from outside: told after every epoch, stopped where it is hopeless."""

from collections.abc import Callable

import pytorch_lightning as pl


class Watched(pl.Callback):
    """Tell an epoch's metric to `report`, which says whether to stop: a search that compares many runs."""

    def __init__(self, metric: str, report: Callable[[int, float], bool]) -> None:
        self.metric = metric
        self.report = report
        self.given_up = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell the epoch, on the first process alone; all of them stop."""
        if self.metric not in trainer.callback_metrics:
            return
        value = float(trainer.callback_metrics[self.metric])
        hopeless = trainer.is_global_zero and self.report(trainer.current_epoch, value)
        self.given_up = bool(trainer.strategy.broadcast(hopeless))
        trainer.should_stop = trainer.should_stop or self.given_up
