"""Numbers out of prediction tables of 10,000 to 10,000,000 rows."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from benches.figure import Figure
from dfd.core.predictions import COLUMNS
from dfd.evaluation.evaluate import evaluate as every_number
from dfd.evaluation.protocol import Protocol

ROWS = (10_000, 100_000, 1_000_000, 10_000_000)
ROOM = 2_000  # bytes of memory that a row may need


def evaluate(folder: Path) -> Iterable[Figure]:
    """Every number of a table, without and with the bootstrap that metrics which step need for their intervals."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for rows in ROWS:
        if rows * ROOM > free:
            yield Figure(f"{rows:,} rows", np.nan, np.nan, "", f"not measured (needs {rows * ROOM / 2**30:.0f} GiB)")
            continue
        table = predictions(rows)
        plain, resampled = (seconds(table, resamples) for resamples in (0, Protocol().resamples))
        yield Figure(f"{rows:,} rows, no bootstrap", rows / plain, bandwidth(table), "rows/s", "reading the table once")
        yield Figure(f"{rows:,} rows, all intervals", rows / resampled, rows / plain, "rows/s", "no bootstrap")


def predictions(rows: int) -> pd.DataFrame:
    """Return a table of real videos and of four methods, 32 rows a video, ten videos a person."""
    random = np.random.default_rng(0)
    video = np.arange(rows) // 32
    label = (video % 5 > 0).astype(int)
    method = np.where(label, np.array(["real", "A", "B", "C", "D"])[video % 5], "real")
    score = 1 / (1 + np.exp(-random.normal(label, 1)))
    columns = [video.astype(str), "bench", method, (video // 10).astype(str), label, np.arange(float(rows)) % 32, score]
    return pd.DataFrame(dict(zip(COLUMNS, columns)))


def seconds(table: pd.DataFrame, resamples: int) -> float:
    """Return how long every number of a table takes."""
    start = time.perf_counter()
    every_number(table, Protocol(resamples=resamples))
    return time.perf_counter() - start


def bandwidth(table: pd.DataFrame) -> float:
    """Return the rows per second of reading all numbers of the table from memory once."""
    numbers = np.ascontiguousarray(table[["label", "t", "score"]].to_numpy(float))
    numbers.sum()
    start = time.perf_counter()
    numbers.sum()
    return len(table) / (time.perf_counter() - start)
