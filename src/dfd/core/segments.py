"""The segment table: stretches of time that a localiser proposes as forged, a row each."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from dfd.core.errors import DfdError
from dfd.core.records import STREAMS
from dfd.core.tables import keyed, read_parquet, require_columns, require_finite, write_parquet

COLUMNS = ("dataset", "video", "start", "end", "stream", "score")
KEY = ["dataset", "video", "start", "end", "stream"]


def tidy(table: pd.DataFrame) -> pd.DataFrame:
    """Check a table's columns and values, drop repeated rows, and sort it; a video may have no row at all.

    `start` and `end` are seconds, `stream` is video, audio or both, `score` grows with the belief in a forgery.
    """
    require_columns(table, COLUMNS, "segment table")
    require_finite(table, ["start", "end", "score"], "segments")
    odd = sorted(set(table["stream"]) - set(STREAMS))
    if odd:
        raise DfdError(f"streams of segments are {', '.join(STREAMS)}; found {', '.join(map(str, odd))}")
    backwards = table[table["start"] >= table["end"]]
    if len(backwards):
        first = backwards.iloc[0]
        raise DfdError(
            f"{len(backwards)} segments end before they begin, the first of {first['video']!r}: "
            f"{first['start']:g} to {first['end']:g} s"
        )
    return keyed(table, KEY)


def write(table: pd.DataFrame, path: Path, meta: Mapping[str, str]) -> None:
    """Write a tidy table with facts of the run (`model`, `run`, `manifest`, `protocol`, ...) in its metadata."""
    write_parquet(tidy(table), path, meta)


def read(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read a table (Parquet or CSV) and the facts of its run."""
    if not path.is_file():
        raise DfdError(f"no segment table at {path}")
    if path.suffix == ".csv":
        return tidy(pd.read_csv(path, dtype={"dataset": str, "video": str, "stream": str})), {}
    table, meta = read_parquet(path)
    return tidy(table), meta
