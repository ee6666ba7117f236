"""The score table of an out-of-distribution evaluation: one row per view, one column per detector."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dfd.core.errors import DfdError

PREFIX = "ood."
COLUMNS = ("video", "role", "source", "label", "right", "group", "t", "score")
TEST, OOD, VAL, BENIGN = "test", "ood", "val", "benign/"
THRESHOLDS = b"dfd.thresholds"


def detectors_in(table: pd.DataFrame) -> list[str]:
    """Return the detectors whose scores a table holds."""
    return [name.removeprefix(PREFIX) for name in table.columns if name.startswith(PREFIX)]


def by_video(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per role and video: means of scores, the majority of right answers."""
    scores = {name: (name, "mean") for name in table.columns if name.startswith(PREFIX) or name in ("score", "right")}
    facts = {name: (name, "first") for name in ("source", "label", "group")}
    videos = table.groupby(["role", "video"], sort=True).agg(**scores, **facts).reset_index()
    return videos.assign(right=videos["right"] > 0.5)


def write_scores(table: pd.DataFrame, path: Path, thresholds: Mapping[str, float]) -> None:
    """Write a table with the thresholds that validation gave; every number of a report can be computed from it."""
    check(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata(
        {**(arrow.schema.metadata or {}), THRESHOLDS: json.dumps(dict(thresholds)).encode()}
    )
    part = path.with_suffix(".part")
    pq.write_table(arrow, part)
    part.replace(path)


def read_scores(path: Path) -> tuple[pd.DataFrame, dict[str, float]]:
    """Read a table and its thresholds."""
    if not path.is_file():
        raise DfdError(f"no OOD scores at {path}: run eval.py with posthoc=[...] first")
    arrow = pq.read_table(path)
    table = arrow.to_pandas()
    check(table)
    return table, json.loads((arrow.schema.metadata or {}).get(THRESHOLDS, b"{}"))


def check(table: pd.DataFrame) -> None:
    """Refuse a table that lacks columns or holds scores that are not finite."""
    missing = [name for name in COLUMNS if name not in table.columns]
    names = detectors_in(table)
    if missing or not names:
        raise DfdError(
            f"an OOD score table needs {', '.join(COLUMNS)} and {PREFIX}<detector>; missing: {missing or PREFIX}"
        )
    for name in names:
        bad = int((~np.isfinite(table[PREFIX + name].to_numpy(float))).sum())
        if bad:
            raise DfdError(
                f"{bad} scores of {name} are not finite: leave it out of posthoc=[...] and look at the network"
            )
