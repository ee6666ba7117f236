"""Callbacks of our own: a graceful stop, the history of a run, averaged weights, figures for its loggers."""

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch

from dfd.core.errors import DfdError, Stopped
from dfd.metrics.pooling import pool
from dfd.metrics.ranking import pr_curve, roc_curve
from dfd.models.explain import can_be_explained
from dfd.training.evidence import evidence_picture
from dfd.training.figures import log_picture, side_by_side
from dfd.training.scoring import ViewScoring
from dfd.training.sharding import Sharded

matplotlib.use("Agg")
log = logging.getLogger(__name__)

TWICE = 1.0  # seconds within which two signals count as one


class StopGracefully(pl.callbacks.Checkpoint):
    """Write `last.ckpt` after every epoch, and every so many `steps` if asked; at a signal write it and stop.

    Ctrl-C and SIGTERM (clusters) let the current step end. A second signal more than a second later aborts without
    saving; one sent twice at once (`timeout`, clusters) counts once. Any one process that receives it stops all after
    the same step. Lightning's `save_last` skips an epoch that was not the best. This derives from Checkpoint so that
    Lightning calls it after all other callbacks, when their state is complete.
    """

    def __init__(self, folder: str, steps: int | None = None) -> None:
        self.path = Path(folder) / "last.ckpt"
        self.steps = steps
        self.asked = False
        self._since = 0.0
        self._before: dict[signal.Signals, Any] = {}
        self._group: Any = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Install signal handlers (possible in the main thread only) and a group in which processes agree."""
        if trainer.world_size > 1:  # of CPUs, so that agreeing does not make a GPU wait
            self._group = torch.distributed.new_group(backend="gloo")
        try:
            self._before = {kind: signal.signal(kind, self._ask) for kind in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:
            log.info("not in the main thread: Ctrl-C will not write a checkpoint")

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Correct the paths that `ModelCheckpoint` stores as absolute ones, where the run folder was moved."""
        here = self.path.parent
        if trainer.ckpt_path is None or Path(trainer.ckpt_path).parent != here:
            return  # another run's: its best checkpoint does not count here
        for key, state in checkpoint["callbacks"].items():
            if key.startswith("ModelCheckpoint"):
                checkpoint["callbacks"][key] = _moved(state, str(state["dirpath"]), str(here))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop between two steps, where a checkpoint is exact; after an epoch's last step, validate first."""
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        if self._agreed():
            self._stop(trainer)
        if self.steps and trainer.global_step % self.steps == 0:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the epoch; stop here if asked to."""
        if self._agreed():
            self._stop(trainer)
        trainer.save_checkpoint(self.path)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Restore the signal handlers."""
        for kind, handler in self._before.items():
            signal.signal(kind, handler)
        self._before = {}

    def _agreed(self) -> bool:
        """Whether any process was asked to stop: one that stopped alone would leave the others waiting."""
        if self._group is None:
            return self.asked
        asked = torch.tensor(int(self.asked))
        torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX, self._group)
        return bool(asked)

    def _stop(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self.path)
        raise Stopped(
            f"stopped at step {trainer.global_step} (epoch {trainer.current_epoch}) and saved {self.path}; "
            f"the same command with run_dir={self.path.parents[1]} ckpt_path=last goes on"
        )

    def _ask(self, signum: int, frame: Any) -> None:
        if self.asked:
            if time.monotonic() - self._since > TWICE:
                raise KeyboardInterrupt
            return
        self.asked, self._since = True, time.monotonic()
        log.warning("stopping after this step (Ctrl-C again to stop at once, without saving)")


def _moved(value: Any, before: str, now: str) -> Any:
    """Return nested values with one folder in place of another."""
    if isinstance(value, dict):
        return {_moved(key, before, now): _moved(each, before, now) for key, each in value.items()}
    if isinstance(value, str) and (value == before or value.startswith(before + os.sep)):
        return now + value.removeprefix(before)
    return value


class History(pl.Callback):
    """The metrics of every epoch, kept across a stop and a resumption; also written as CSV if a path is given."""

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        self.epochs: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Append the epoch's metrics."""
        numbers = {key: float(value) for key, value in trainer.callback_metrics.items() if not key.endswith("_step")}
        self.epochs.append({"epoch": trainer.current_epoch} | numbers)
        if self.path and trainer.is_global_zero:
            pd.DataFrame(self.epochs).to_csv(self.path, index=False)

    def state_dict(self) -> dict[str, Any]:
        """Return the epochs so far, for the checkpoint."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the history of a checkpoint."""
        self.epochs = state_dict["epochs"]


class Ema(pl.callbacks.WeightAveraging):
    """An exponential moving average of the weights, which is what is validated, tested and saved.

    The decay grows with the steps, min(decay, (1 + n) / (10 + n)), so that a short run does not average its random
    start; the checkpoint holds both the average and the trained weights, and a resumed run continues with both.
    """

    def __init__(self, decay: float = 0.999) -> None:
        def average(ema: torch.Tensor, now: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
            share = min(decay, (1 + int(count)) / (10 + int(count)))
            # rounding would let weights drift that never change: those of a frozen base
            return torch.where(ema == now, ema, ema * share + now * (1 - share))

        super().__init__(use_buffers=True, avg_fn=average)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Copy the network, which must be whole on every device."""
        if isinstance(trainer.strategy, Sharded):
            raise DfdError("callbacks=ema averages whole networks: take trainer=ddp, or callbacks=default")
        super().setup(trainer, pl_module, stage)


class Figures(pl.Callback):
    """Pictures for whatever logger there is, after every validation.

    ROC and PR curves, the most wrong faces, and what drove the scores of some of them.
    """

    def __init__(self, faces: int = 16, explained: int = 2) -> None:
        self.faces = faces
        self.explained = explained

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw what the objective has just scored."""
        if not trainer.loggers or trainer.sanity_checking or not trainer.is_global_zero:
            return
        if not isinstance(pl_module, ViewScoring):
            return
        rows = pl_module.rows["val"]
        labels, scores = pool(rows.video, rows.label, rows.score)
        wrong = np.argsort(-np.abs(rows.score - rows.label), kind="stable")[: self.faces]
        views = [trainer.datamodule.view("val", int(rows.video[i]), float(rows.t[i])) for i in wrong]  # type: ignore[attr-defined]
        whole = not isinstance(trainer.strategy, Sharded)  # else one process alone cannot run it
        some = views[: self.explained] if whole and can_be_explained(pl_module.network) else []
        evidence = [evidence_picture(pl_module.network, frames).transpose(1, 2, 0) for frames in some]
        pictures = {"val/curves": _curves(labels, scores), "val/most_wrong": side_by_side([view[0] for view in views])}
        pictures |= {f"val/evidence/{place}": picture for place, picture in enumerate(evidence)}
        for logger in trainer.loggers:
            for name, picture in pictures.items():
                log_picture(logger, name, picture, trainer.global_step)


TensorBoardFigures = Figures  # its name in configurations of dfd 0.1


def _curves(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 4), layout="constrained")
    fpr, tpr, _ = roc_curve(labels, scores)
    left.plot(fpr, tpr)
    left.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    precision, recall, _ = pr_curve(labels, scores)
    right.plot(recall, precision)
    right.set(xlabel="recall", ylabel="precision", title="PR", ylim=(0, 1.05))
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined]
    pyplot.close(figure)
    return drawn
