"""What is known of the files that proposals are about: a row per file, and a row per forged stretch."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, Record
from dfd.metrics.segments import Spans

FILES, STRETCHES = "files.parquet", "truth.parquet"
FILE_COLUMNS = ("dataset", "video", "group", "method", "label", "duration")
KEY = ["dataset", "video"]


class Truth(NamedTuple):
    """`files`: dataset, video, group, method, label, duration. `stretches`: dataset, video, start, end, stream."""

    files: pd.DataFrame
    stretches: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write both tables."""
        folder.mkdir(parents=True, exist_ok=True)
        self.files.to_parquet(folder / FILES, index=False)
        self.stretches.to_parquet(folder / STRETCHES, index=False)

    @classmethod
    def read(cls, folder: Path) -> "Truth":
        """Read both tables."""
        for name in (FILES, STRETCHES):
            if not (folder / name).is_file():
                raise DfdError(f"{folder} has no {name}: evaluate the run again")
        return cls(pd.read_parquet(folder / FILES), pd.read_parquet(folder / STRETCHES))

    def numbers(self, table: pd.DataFrame) -> np.ndarray:
        """Return the position among the files (N,) of every row of a table; a file that is not known is an error."""
        places = pd.MultiIndex.from_frame(self.files[KEY]).get_indexer(pd.MultiIndex.from_frame(table[KEY]))
        if (places < 0).any():
            unknown = table.loc[places < 0, "video"]
            raise DfdError(
                f"{unknown.nunique()} files have proposals but are not in the truth, the first {unknown.iloc[0]!r}: "
                "give the annotations of the same split"
            )
        return places

    def spans(self, chosen: np.ndarray | None = None) -> Spans:
        """Return the forged stretches, or those chosen, by the positions of their files."""
        table = self.stretches if chosen is None else self.stretches[chosen]
        start, end = (table[name].to_numpy(float) for name in ("start", "end"))
        return Spans(self.numbers(table), start, end)

    def of(self, chosen: np.ndarray) -> "Truth":
        """Return what is known of some files, given by a mask or by positions."""
        files = self.files[chosen].reset_index(drop=True) if chosen.dtype == bool else self.files.iloc[chosen]
        kept = pd.MultiIndex.from_frame(self.stretches[KEY]).isin(pd.MultiIndex.from_frame(files[KEY]))
        return Truth(files.reset_index(drop=True), self.stretches[kept].reset_index(drop=True))


def truth_of(records: Sequence[Record], durations: Sequence[float]) -> Truth:
    """Return what a dataset's records say; `durations` are in seconds."""
    files = pd.DataFrame(
        {
            "dataset": [r.dataset for r in records],
            "video": [r.id for r in records],
            "group": [r.group for r in records],
            "method": [r.method for r in records],
            "label": [r.label for r in records],
            "duration": np.asarray(durations, float),
        }
    )
    rows = [(r.dataset, r.id, s.start, s.end, s.stream) for r in records for s in r.segments]
    stretches = pd.DataFrame(rows, columns=["dataset", "video", "start", "end", "stream"])
    return Truth(files, stretches.astype({"start": float, "end": float}))


def spans_of(proposals: pd.DataFrame, truth: Truth) -> Spans:
    """Return proposals by the positions of their files."""
    start, end, score = (proposals[name].to_numpy(float) for name in ("start", "end", "score"))
    return Spans(truth.numbers(proposals), start, end, score)


def without_stretches(truth: Truth) -> list[str]:
    """Return fakes that no forged stretch is known of: whatever is found in them counts as wrong."""
    fakes = truth.files[truth.files["label"] == FAKE]
    known = pd.MultiIndex.from_frame(truth.stretches[KEY])
    return list(fakes.loc[~pd.MultiIndex.from_frame(fakes[KEY]).isin(known), "video"])
