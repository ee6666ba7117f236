"""The prediction table: a row per view of a video, written by every run and read by evaluation."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from dfd.core.errors import DfdError
from dfd.core.tables import read_parquet, require_columns, write_parquet

COLUMNS = ("video", "dataset", "method", "group", "label", "t", "score")
KEY = ["dataset", "video", "t"]  # and `track`, where a table has one: people of one video


def tidy(table: pd.DataFrame) -> pd.DataFrame:
    """Check a table's columns and values, drop the rows that a distributed sampler padded in, and sort it.

    A row is one frame, clip or segment, keyed by `(dataset, video, t)` with t in seconds; `score` grows with fakeness
    and has no bounds. Two rows of one key are one prediction made twice: the first is kept, they are never averaged.
    Other columns are attributes of videos, by which a report is broken down.
    """
    require_columns(table, COLUMNS, "prediction table")
    if not table["label"].isin((0, 1)).all():
        odd = sorted(set(table["label"]) - {0, 1})
        raise DfdError(f"labels must be 0 (real) or 1 (fake); found {odd[:5]}")
    bad = table.loc[~np.isfinite(table["score"].to_numpy(float)), "video"]
    if len(bad):
        raise DfdError(
            f"{len(bad)} scores are not finite, the first of video {bad.iloc[0]!r}: did the training diverge?"
        )
    key = [*KEY, *(["track"] if "track" in table.columns else [])]
    # numbers sort faster than names: a million rows in a second
    codes = [pd.factorize(table[name], sort=True)[0] for name in key]
    order = np.lexsort(codes[::-1])  # stable: the first of a key stays the first
    _one_label(table, order, codes[:2])
    return table.iloc[order].drop_duplicates(key).reset_index(drop=True)


def _one_label(table: pd.DataFrame, order: np.ndarray, codes: list[np.ndarray]) -> None:
    """Refuse a video (one pair of `codes`) whose rows, which follow each other in `order`, differ in the label."""
    label, *video = (column[order] for column in (table["label"].to_numpy(), *codes))
    odd = np.logical_and.reduce([label[1:] != label[:-1], *(column[1:] == column[:-1] for column in video)])
    if odd.any():
        first = table.iloc[order[int(odd.argmax())]]
        raise DfdError(
            f"{int(odd.sum())} rows contradict the label of others of their video, the first of {first['video']!r} in "
            f"{first['dataset']!r}: name real and fake videos apart (real/{first['video']}), or their datasets"
        )


def write(table: pd.DataFrame, path: Path, meta: Mapping[str, str]) -> None:
    """Write a tidy table with facts of the run (`model`, `run`, `manifest`, `condition`, ...) in its metadata."""
    write_parquet(tidy(table), path, meta)


def read(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read a table (Parquet or CSV) and the facts of its run."""
    if not path.is_file():
        raise DfdError(f"no prediction table at {path}")
    if path.suffix == ".csv":
        return tidy(pd.read_csv(path, dtype={"video": str, "group": str, "method": str, "dataset": str})), {}
    table, meta = read_parquet(path)
    return tidy(table), meta
