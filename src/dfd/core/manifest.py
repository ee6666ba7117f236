"""The manifest of a dataset: its records as one Parquet file, with a hash and checks of what they hold."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from dfd.core.errors import DfdError
from dfd.core.records import SPLITS, STREAMS, Record, Segment
from dfd.core.tables import read_parquet, write_parquet

FORMAT = 2  # 1: no attributes at first, segments without a stream
COLUMNS = tuple(field.name for field in fields(Record))


@dataclass(frozen=True)
class Manifest:
    """Records and the folder that their relative asset paths start from."""

    records: tuple[Record, ...]
    folder: Path = Path()

    def __len__(self) -> int:
        return len(self.records)

    @property
    def hash(self) -> str:
        """Twelve hex digits over everything but where the files lie."""
        rows = sorted(
            (_row(record) | {"path": Path(record.path).name} for record in self.records), key=lambda r: r["id"]
        )
        # records without attributes and donors keep the hash that they had before there were any
        rows = [{k: v for k, v in row.items() if (k, v) not in (("attributes", "{}"), ("donor", None))} for row in rows]
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:12]

    def split(self, name: str) -> tuple[Record, ...]:
        """Return the records of one split, or say that there are none."""
        chosen = tuple(record for record in self.records if record.split == name)
        if not chosen:
            have = {split: sum(r.split == split for r in self.records) for split in SPLITS}
            raise DfdError(f"split {name!r} is empty: the manifest in {self.folder} has {have}; check the split files")
        return chosen

    def write(self, path: Path) -> None:
        """Write the Parquet file; it appears whole or not at all."""
        table = pd.DataFrame([_row(record) for record in self.records], columns=list(COLUMNS))
        write_parquet(table, path, {"format": FORMAT})

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read a manifest; relative asset paths start from the file's folder."""
        if not path.is_file():
            raise DfdError(f"no manifest at {path}: run preprocess.py for this dataset first")
        table, meta = read_parquet(path)
        table = _upgraded(table, int(meta.get("format", 1)), path)
        missing = set(COLUMNS) - set(table.columns)
        if missing:
            raise DfdError(f"{path} is not a manifest: it lacks the columns {sorted(missing)}")
        return cls(tuple(_record(row) for row in table[list(COLUMNS)].to_dict("records")), path.parent)


def check(records: Sequence[Record], *, shared_groups: str = "error") -> list[str]:
    """Verify ids, labels, splits, groups and segments; return warnings.

    `shared_groups` is "error", or "warn" for a dataset whose official split is known to leak.
    """
    _refuse_duplicates(records)
    for record in records:
        if record.label not in (0, 1):
            raise DfdError(f"{record.dataset}: {record.id} has label {record.label!r}; labels are 0 (real) or 1 (fake)")
        if record.split not in SPLITS:
            raise DfdError(
                f"{record.dataset}: {record.id} is in split {record.split!r}; splits are {', '.join(SPLITS)}"
            )
        _check_segments(record)
    leaks = leaking_groups(records)
    if not leaks:
        return []
    name, splits = next(iter(leaks.items()))
    example = f"{name!r} in {' and '.join(splits)}"
    message = f"{records[0].dataset}: {len(leaks)} group(s) are in more than one split, e.g. {example}"
    if shared_groups == "error":
        raise DfdError(
            f"{message}; split by group, or set data.shared_groups=warn to accept the leak and have it reported"
        )
    return [message]


def leaking_groups(records: Iterable[Record]) -> dict[str, tuple[str, ...]]:
    """Return the groups that occur in more than one split, with those splits."""
    seen: dict[str, set[str]] = {}
    for record in records:
        seen.setdefault(record.group, set()).add(record.split)
    return {group: tuple(s for s in SPLITS if s in splits) for group, splits in seen.items() if len(splits) > 1}


def _refuse_duplicates(records: Sequence[Record]) -> None:
    ids: set[str] = set()
    for record in records:
        if record.id in ids:
            raise DfdError(f"{record.dataset}: the id {record.id!r} occurs twice; ids must be unique within a dataset")
        ids.add(record.id)


def _check_segments(record: Record) -> None:
    duration = record.frames / record.fps if record.frames and record.fps else float("inf")
    for start, end, stream in (Segment(*segment) for segment in record.segments):
        if stream not in STREAMS:
            raise DfdError(
                f"{record.dataset}: {record.id} has a segment of stream {stream!r}, not {', '.join(STREAMS)}"
            )
        if not 0 <= start < end <= duration + 1e-3:
            raise DfdError(f"{record.dataset}: {record.id} has segment ({start}, {end}) outside its {duration:.2f} s")


def _upgraded(table: pd.DataFrame, version: int, path: Path) -> pd.DataFrame:
    """Bring a table that an older version wrote up to date: the one place that knows how it differed."""
    if version > FORMAT:
        raise DfdError(f"{path} was written by a newer dfd (manifest format {version}, here {FORMAT}): update dfd")
    if "attributes" not in table.columns:
        table["attributes"] = "{}"
    if "donor" not in table.columns:
        table["donor"] = None
    # format 1 has (start, end) where format 2 has (start, end, stream): `Segment` supplies "both"
    return table


def _row(record: Record) -> dict:
    row = asdict(record)
    row["segments"] = json.dumps([Segment(*segment) for segment in row["segments"]])
    for name in ("assets", "attributes"):
        row[name] = json.dumps(dict(row[name]), sort_keys=True)
    return row


def _record(row: dict) -> Record:
    row = {key: (None if value is None or value != value else value) for key, value in row.items()}
    row["label"] = int(row["label"])
    row["frames"] = None if row["frames"] is None else int(row["frames"])
    row["segments"] = tuple(Segment(*segment) for segment in json.loads(row["segments"]))
    row["assets"], row["attributes"] = json.loads(row["assets"]), json.loads(row["attributes"])
    return Record(**row)
