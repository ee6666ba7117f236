"""Parquet files that appear whole or not at all, with a few words about the run in their metadata."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dfd.core.errors import DfdError

PREFIX = "dfd."  # of our keys among those of the file's metadata


def write_parquet(table: pd.DataFrame, path: Path, meta: Mapping[str, object]) -> None:
    """Write a table and its metadata beside its place, and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    ours = {f"{PREFIX}{key}": str(value) for key, value in meta.items()}
    part = path.with_suffix(".part")
    pq.write_table(arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **ours}), part)
    part.replace(path)


def read_parquet(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read a table and the metadata that `write_parquet` gave it."""
    arrow = pq.read_table(path)
    stored = {key.decode(): value.decode() for key, value in (arrow.schema.metadata or {}).items()}
    return arrow.to_pandas(), {k.removeprefix(PREFIX): v for k, v in stored.items() if k.startswith(PREFIX)}


def require_columns(table: pd.DataFrame, columns: tuple[str, ...], title: str) -> None:
    """Refuse a table that lacks one of these columns."""
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DfdError(f"a {title} needs the columns {', '.join(columns)}; missing: {', '.join(missing)}")


def require_finite(table: pd.DataFrame, columns: list[str], title: str) -> None:
    """Refuse a table with a value that is not finite in one of these columns."""
    bad = table.loc[~np.isfinite(table[columns].to_numpy(float)).all(1), "video"]
    if len(bad):
        raise DfdError(
            f"{len(bad)} {title} are not finite, the first of video {bad.iloc[0]!r}: did the training diverge?"
        )


def keyed(table: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Sort by a key and keep the first row of each: a distributed sampler shows some videos twice."""
    return table.sort_values(key, kind="stable").drop_duplicates(key).reset_index(drop=True)
