"""Your own media without a line of code: a tree with `real/` and `fake/`, or a table of paths and labels."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dfd.core.errors import DfdError, did_you_mean
from dfd.core.records import FAKE, REAL, SPLITS, Record
from dfd.data.datasets.layout import carve, complete, existing, media, note

LABELS = {"real": REAL, "0": REAL, "original": REAL, "fake": FAKE, "1": FAKE, "manipulated": FAKE}
SEPARATORS, LEAST_SOURCES = ("_", "-", ".", " "), 3
COLUMNS = ("path", "label", "split", "group", "method", "original", "id")


def index(
    root: Path, val_fraction: float = 0.1, test_fraction: float = 0.2, group_by: str | None = None
) -> Iterator[Record]:
    """Yield every video and image below `real/` and `fake/`, or below `train/real/`, `test/fake/` and so on.

    Folders below `fake/` are methods. Without folders for splits they are carved by a hash of the group: the name of
    the file, or what comes before the first `group_by` in it (with "_", `anna_02.mp4` belongs to anna). Files of one
    group are never split, those of two may show one person: without `group_by` a note says so.
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
    if group_by is None:
        _note_groups(records)
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
    if "group" not in columns:
        note("groups are files, not people: intervals and splits take every file as independent (column group)")
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


def likely_separator(records: Sequence[Record]) -> tuple[str, int] | None:
    """Return what may end the name of a person or source in the file names, and how many sources that makes."""
    stems = {Path(record.path).stem for record in records}
    found = []
    for separator in SEPARATORS:
        sources = Counter(stem.split(separator)[0] for stem in stems if separator in stem)
        shared = sum(count for count in sources.values() if count > 1)
        # most files share the beginning of their name with another, and there is more than one beginning
        if len(sources) >= LEAST_SOURCES and shared > len(stems) / 2:
            found.append((len({stem.split(separator)[0] for stem in stems}), separator))
    return (max(found)[1], max(found)[0]) if found else None


def _note_groups(records: Sequence[Record]) -> None:
    """Say that groups are files, and which grouping the names suggest."""
    text = "groups are files, not people: a person in two files may be in two splits, and intervals are too short"
    guess = likely_separator(records)
    if guess is not None:
        separator, count = guess
        text += f"; file names suggest {count} sources: data.index.group_by={separator}"
    note(f"{text} (stages=[leakage] finds near-duplicate faces)")


def _carved(records: list[Record], val: float, test: float) -> list[Record]:
    """Split by group, reals and fakes in the same shares; who is in test stays in it when the share of val changes."""
    labels: dict[str, set[int]] = {}
    for record in records:
        labels.setdefault(record.group, set()).add(record.label)
    chosen: dict[str, str] = {}
    for kind in ({REAL}, {FAKE}, {REAL, FAKE}):
        groups = {group for group, has in labels.items() if has == kind}
        tested = carve(groups, test)
        chosen |= dict.fromkeys(carve(groups - tested, val), "val") | dict.fromkeys(tested, "test")
    split = [replace(record, split=chosen.get(record.group, "train")) for record in records]
    _refuse_one_class(split)
    return split


def _refuse_one_class(records: Sequence[Record]) -> None:
    """Refuse a split that lacks a class, before anything is cut or trained."""
    for split in SPLITS:
        counts = Counter(record.label for record in records if record.split == split)
        if len(counts) == 1:
            ((label, count),) = counts.items()
            has, lacks = ("fake", "real") if label == FAKE else ("real", "fake")
            raise DfdError(
                f"the {split} split would hold {count} {has} and no {lacks} videos: add {lacks} ones (of at least "
                "three groups), split by hand into train/ val/ test/, or change data.index.val_fraction, test_fraction"
            )
