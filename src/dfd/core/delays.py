"""The delay table: how probable each delay between sound and lips is, a row per window of a video."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dfd.core.errors import DfdError
from dfd.core.tables import keyed, read_parquet, require_columns, require_finite, write_parquet

COLUMNS = ("dataset", "video", "t")
KEY = ["dataset", "video", "t"]  # and `track`, where a table has one: people of one video
DELAYS = "delays"  # in the metadata: the seconds that the columns stand for, positive where the sound is late


def delay_columns(count: int) -> list[str]:
    """Return the names of the columns of `count` delays."""
    return [f"p{position}" for position in range(count)]


def probabilities(table: pd.DataFrame) -> np.ndarray:
    """Return the probabilities (rows, delays) of a table."""
    return table[_columns_of(table)].to_numpy(float)


def tidy(table: pd.DataFrame) -> pd.DataFrame:
    """Check a table's columns and values, drop repeated rows, and sort it; `t` is where a window begins, in seconds."""
    require_columns(table, COLUMNS, "delay table")
    columns = _columns_of(table)
    if len(columns) < 2:
        raise DfdError("a delay table needs a probability per delay: columns p0, p1, ...")
    require_finite(table, ["t", *columns], "delay probabilities")
    values = table[columns].to_numpy(float)
    if len(table) and ((values < 0).any() or np.abs(values.sum(1) - 1).max() > 1e-3):
        raise DfdError("the probabilities of all delays of a window must add up to 1")
    return keyed(table, [*KEY, *(["track"] if "track" in table.columns else [])])


def write(table: pd.DataFrame, path: Path, delays: Sequence[float], meta: Mapping[str, str]) -> None:
    """Write a tidy table with its delays in seconds and facts of the run in its metadata."""
    if len(delays) != len(_columns_of(table)):
        raise DfdError(f"{len(_columns_of(table))} columns of probabilities, but {len(delays)} delays")
    write_parquet(tidy(table), path, {**meta, DELAYS: json.dumps([float(delay) for delay in delays])})


def read(path: Path) -> tuple[pd.DataFrame, np.ndarray, dict[str, str]]:
    """Read a table, its delays in seconds, and the facts of its run."""
    if not path.is_file():
        raise DfdError(f"no delay table at {path}")
    table, meta = read_parquet(path)
    if DELAYS not in meta:
        raise DfdError(f"{path} does not say which delays its columns stand for: it is not a delay table of dfd")
    return tidy(table), np.array(json.loads(meta.pop(DELAYS))), meta


def _columns_of(table: pd.DataFrame) -> list[str]:
    return [name for name in delay_columns(len(table.columns)) if name in table.columns]
