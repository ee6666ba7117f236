"""The prediction table: what every run writes and the only thing that evaluation reads."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dfd.core.errors import DfdError

COLUMNS = ("video", "dataset", "method", "group", "label", "t", "score")
KEY = ["dataset", "video", "t"]  # and `track`, where a table has one: people of one video


def tidy(table: pd.DataFrame) -> pd.DataFrame:
    """Check a table's columns and values, drop the rows that a distributed sampler padded in, and sort it.

    A row is one frame, clip or segment, keyed by `(dataset, video, t)` with t in seconds; `score` grows with fakeness
    and has no bounds. Two rows of one key are one prediction made twice: the first is kept, they are never averaged.
    Other columns are attributes of videos, by which a report is broken down.
    """
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise DfdError(f"a prediction table needs the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}")
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
    """Write a tidy table with run-level facts (`model`, `run`, `manifest`, `condition`, ...) in its metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrow = pa.Table.from_pandas(tidy(table), preserve_index=False)
    arrow = arrow.replace_schema_metadata(
        {**(arrow.schema.metadata or {}), **{f"dfd.{k}": str(v) for k, v in meta.items()}}
    )
    part = path.with_suffix(".part")
    pq.write_table(arrow, part)
    part.replace(path)


def read(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read a table (Parquet or CSV) and its run-level facts."""
    if not path.is_file():
        raise DfdError(f"no prediction table at {path}")
    if path.suffix == ".csv":
        return tidy(pd.read_csv(path, dtype={"video": str, "group": str, "method": str, "dataset": str})), {}
    arrow = pq.read_table(path)
    meta = {k.decode()[4:]: v.decode() for k, v in (arrow.schema.metadata or {}).items() if k.startswith(b"dfd.")}
    return tidy(arrow.to_pandas()), meta
