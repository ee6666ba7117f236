"""Lightning's trainer with atomic checkpoints and our own handling of signals."""

import os
from functools import wraps
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO


class Trainer(pl.Trainer):
    """Lightning's trainer; checkpoints are replaced atomically, and signals are left to `StopGracefully`.

    At SIGTERM Lightning's own broadcasts within the signal handler: where another process waits for something else,
    say a gradient, both wait for ever.
    """

    @wraps(pl.Trainer.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.strategy.checkpoint_io = WriteBeside()
        self._signal_connector.register_signal_handlers = _nothing  # type: ignore[method-assign]


def _nothing() -> None:
    """Replaces Lightning's registration of signal handlers."""


class WriteBeside(TorchCheckpointIO):
    """Write a checkpoint to a temporary file beside it and rename it: a full disk or a kill leaves the old one intact.

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
