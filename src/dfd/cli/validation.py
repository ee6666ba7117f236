"""After training: what the validation split decides about thresholds and calibration is stored with the run."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfd.core.errors import DfdError

if TYPE_CHECKING:
    import pandas as pd

    from dfd.evaluation.protocol import Protocol

log = logging.getLogger("dfd")


def decide(run: Path, table: "pd.DataFrame", protocol: "Protocol", facts: Mapping[str, Any]) -> None:
    """Write a run's operating point from the prediction table of its validation split, or say why there is none."""
    from dfd.evaluation.operating import decide

    kept = {key: facts[key] for key in ("dataset", "manifest", "checkpoint", "sample", "started") if key in facts}
    try:
        operating = decide(table, protocol, kept)
    except DfdError as error:
        log.warning("no threshold and calibration for this run: %s", error)
        return
    operating.write(run)
