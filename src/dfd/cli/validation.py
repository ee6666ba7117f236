"""What the validation split decides about thresholds and calibration is stored with the run, per checkpoint."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfd.core.errors import DfdError

if TYPE_CHECKING:
    import pandas as pd

    from dfd.evaluation.operating import Operating
    from dfd.evaluation.protocol import Protocol

log = logging.getLogger("dfd")


def place(run: Path, checkpoint: Path) -> Path:
    """Return the folder for what was decided for a checkpoint: the run folder for the one that stands for the run."""
    from dfd.training.checkpoint import find_checkpoint

    chosen = checkpoint
    if checkpoint.parent == run / "checkpoints":
        with suppress(DfdError):  # neither a best nor a last one: the only one there is
            chosen = find_checkpoint(run)
    return run if checkpoint == chosen else run / "operating" / checkpoint.stem


def decided(run: Path, checkpoint: Path) -> "Operating | None":
    """Return what validation decided for a checkpoint, if it did."""
    from dfd.evaluation.operating import Operating

    folder = place(run, checkpoint)
    operating = Operating.read(folder)
    if operating is None and folder != run:
        log.warning(
            "the run's thresholds are not those of %s: find its own with eval.py run=%s split=val",
            checkpoint.name,
            checkpoint,
        )
    return operating


def decide(run: Path, table: "pd.DataFrame", protocol: "Protocol", facts: Mapping[str, Any]) -> None:
    """Write the operating point of a checkpoint from its predictions of the validation split, or say why not."""
    from dfd.evaluation.operating import decide

    kept = {key: facts[key] for key in ("dataset", "manifest", "checkpoint", "sample", "started") if key in facts}
    try:
        operating = decide(table, protocol, kept)
    except DfdError as error:
        log.warning("no threshold and calibration for this run: %s", error)
        return
    folder = place(run, Path(facts["checkpoint"]))
    folder.mkdir(parents=True, exist_ok=True)
    operating.write(folder)
