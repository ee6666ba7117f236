"""Your own media without a line of code: a tree with `real/` and `fake/`, or a table of paths and labels."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from dfd.core.errors import DfdError, did_you_mean
from dfd.core.records import FAKE, REAL, SPLITS, Record
from dfd.data.datasets.layout import carve, complete, existing, media

LABELS = {"real": REAL, "0": REAL, "original": REAL, "fake": FAKE, "1": FAKE, "manipulated": FAKE}
COLUMNS = ("path", "label", "split", "group", "method", "original", "id")


def index(
    root: Path, val_fraction: float = 0.1, test_fraction: float = 0.2, group_by: str | None = None
) -> Iterator[Record]:
    """Yield every video and image below `real/` and `fake/`, or below `train/real/`, `test/fake/` and so on.

    Folders below `fake/` are methods. Without folders for splits they are carved by a hash of the group: the name of
    the file, or of it what comes before the first `group_by` (with "_", `anna_02.mp4` belongs to anna).
    """
    root = existing(Path(root), "folder", "give a folder that holds real/ and fake/ as data.root=")
    splits = [split for split in SPLITS if (root / split).is_dir()]
    records = []
    for split in splits or [""]:
        for name, label in (("real", REAL), ("fake", FAKE)):
            folder = root / split / name
            if not folder.is_dir():
                raise DfdError(f"{root / split} has no folder {name}: it must hold real/ and fake/")
            for path in media(folder):
                below = path.relative_to(folder).parts[:-1]
                method = "/".join(below) or "fake" if label else "real"
                group = path.stem.split(group_by)[0] if group_by else path.stem
                identity = path.relative_to(root).as_posix()
                records.append(Record(identity, "folder", split, label, str(path), group, method))
    yield from records if splits else _carved(records, val_fraction, test_fraction)


def from_csv(
    root: Path, val_fraction: float = 0.1, test_fraction: float = 0.2, allow_missing: bool = False
) -> Iterator[Record]:
    """Yield the rows of a CSV file with the columns path and label, and if you like split, group, method, original, id.

    Paths are relative to the table. Labels are 0 or real, 1 or fake. Without the column split, splits are carved by
    group; without the column group, every file is a group of its own.
    """
    root = existing(Path(root), "table", "give a CSV file with the columns path,label as data.root=")
    if root.is_dir():
        raise DfdError(f"{root} is a folder: data=csv takes a CSV file, data=folder a folder with real/ and fake/")
    with root.open(newline="", encoding="utf-8-sig") as file:  # Excel begins a table with a mark
        reader = csv.DictReader(file)
        columns, rows = reader.fieldnames or [], [(reader.line_num, row) for row in reader]
    unknown = [name for name in columns if name not in COLUMNS]
    if not {"path", "label"} <= set(columns) or unknown:
        hint = f", not {unknown[0]!r}{did_you_mean(unknown[0], COLUMNS)}" if unknown else ""
        raise DfdError(f"{root}: the columns are path,label and if you like {','.join(COLUMNS[2:])}{hint}")
    records = list(complete([_row(row, root, line) for line, row in rows], "the table", root, allow_missing))
    yield from records if "split" in columns else _carved(records, val_fraction, test_fraction)


def _row(row: Mapping[str, str], root: Path, line: int) -> Record:
    if None in row or None in row.values():
        raise DfdError(f"{root}:{line}: this row has more or fewer values than there are columns")
    label = LABELS.get(row["label"].strip().lower())
    if label is None:
        raise DfdError(f"{root}: {row['path']} has label {row['label']!r}; labels are 0 or real, 1 or fake")
    method = row.get("method") or ("fake" if label else "real")
    identity = row.get("id") or str(Path(row["path"]).with_suffix(""))
    path = root.parent / row["path"]
    return Record(
        identity, "csv", row.get("split") or "", label, str(path), row.get("group") or identity, method,
        row.get("original") or None,
    )  # fmt: skip


def _carved(records: list[Record], val: float, test: float) -> Iterator[Record]:
    """Split by group, test first: who is in it stays in it when the share of validation changes."""
    groups = {record.group for record in records}
    tested = carve(groups, test)
    chosen = dict.fromkeys(tested, "test") | dict.fromkeys(carve(groups - tested, val), "val")
    for record in records:
        yield Record(**{**record.__dict__, "split": chosen.get(record.group, "train")})
