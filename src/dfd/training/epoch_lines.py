"""One line per epoch where no progress bar is seen: logs of clusters, CI, `train.py ... > log`."""

import logging
import sys
import time
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl

log = logging.getLogger("dfd")


class EpochLines(pl.Callback):
    """Log loss, validation numbers, rate and remaining time after every epoch; quiet in a terminal unless `always`."""

    def __init__(self, always: bool = False) -> None:
        self.always = always
        self._began = 0.0
        self._batches = 0
        self._seconds: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._began, self._batches = time.monotonic(), 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count: a resumed epoch has fewer batches."""
        self._batches += 1

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the line, after validation."""
        self._seconds.append(time.monotonic() - self._began)
        if trainer.is_global_zero and (self.always or not sys.stdout.isatty()):
            log.info(self._line(trainer))

    def _line(self, trainer: pl.Trainer) -> str:
        seconds, epochs = self._seconds[-1], trainer.max_epochs or -1
        done = trainer.current_epoch + 1
        parts = [f"epoch {done}/{epochs}" if epochs > 0 else f"epoch {done}"]
        parts += _numbers({name: float(value) for name, value in trainer.callback_metrics.items()})
        parts += [f"{self._batches / max(seconds, 1e-9):.1f} batches/s", f"{_clock(seconds)} an epoch"]
        left = (epochs - done) * sum(self._seconds) / len(self._seconds)
        return ", ".join([*parts, f"{_clock(left)} left"] if epochs > 0 else parts)


def _numbers(metrics: dict[str, float]) -> list[str]:
    """Return the loss of training and everything about validation, the loss first."""
    shown = [name for name in metrics if name == "train/loss" or name.startswith("val/")]
    return [f"{name} {metrics[name]:.4g}" for name in sorted(shown, key=lambda name: (not name.endswith("loss"), name))]


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
