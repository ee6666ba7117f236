"""Checkpoints that replace the one before only when they are whole."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO


class WriteBeside(TorchCheckpointIO):
    """Write a checkpoint beside its place and rename it: a full disk or a kill leaves the old one as it was.

    Lightning's own goes through the system's folder for temporary files, which may lie on another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike, storage_options: Any = None) -> None:
        """Save, flush to the disk, rename."""
        place = Path(path)
        part = place.with_name(f"{place.name}.part")
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        part.replace(place)


def write_beside(trainer: pl.Trainer) -> None:
    """Let a trainer write checkpoints so; strategies that shard the weights insist on their own way."""
    with suppress(NotImplementedError):
        trainer.strategy.checkpoint_io = WriteBeside()
