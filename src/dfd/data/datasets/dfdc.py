"""DFDC (Dolhansky et al. 2020): 50 parts of training videos with their `metadata.json`, and the test set.

Parts share no people, or hardly any, so splits are made of whole parts; the default is the challenge winner's: parts
0, 1 and 2 for validation. The test set is a folder `test` with `labels.csv`; Kaggle's `test_videos` is not it, since
its 400 videos are in the training parts. A fake has the group of its original, whose people it shows.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, REAL, Record
from dfd.data.datasets.layout import complete, existing, read_json

TITLE = "DFDC"
GET_IT = "get the parts from the DFDC page of Meta AI or of Kaggle and unpack them side by side"
LABELS = {"REAL": REAL, "FAKE": FAKE}


def index(
    root: Path,
    val_parts: Sequence[int] = (0, 1, 2),
    test_parts: Sequence[int] = (),
    test_folder: str = "test",
    allow_missing: bool = False,
) -> Iterator[Record]:
    """Yield the videos of all parts that there are, and of the test folder unless `test_parts` are named."""
    root = Path(root)
    parts = find_parts(existing(root, TITLE, f"{GET_IT}, then give their folder as data.root="))
    absent = sorted({*val_parts, *test_parts} - set(parts))
    if absent and not set(val_parts) & set(parts):
        have = ", ".join(map(str, sorted(parts))) or "no part"
        raise DfdError(f"DFDC in {root} has {have}, none of val_parts={list(val_parts)}: name some of those it has")
    records = []
    for number, folder in sorted(parts.items()):
        split = "val" if number in val_parts else "test" if number in test_parts else "train"
        records += list(_part(folder, split))
    if not test_parts and (root / test_folder).is_dir():
        records += list(_test(root / test_folder))
    yield from complete(records, TITLE, root, allow_missing)


def find_parts(root: Path) -> dict[int, Path]:
    """Return the folders `dfdc_train_part_7` or `dfdc_train_part_07` by number."""
    folders = (path for path in root.glob("dfdc_train_part_*") if path.is_dir())
    numbered = ((path.name.rpartition("_")[2], path) for path in folders)
    return {int(number): path for number, path in numbered if number.isdecimal()}


def _part(folder: Path, split: str) -> Iterator[Record]:
    for name, told in sorted(read_json(folder / "metadata.json", "metadata.json of a DFDC part", GET_IT).items()):
        if told.get("label") not in LABELS:
            raise DfdError(f"{folder / 'metadata.json'}: {name} has label {told.get('label')!r}, not REAL or FAKE")
        label, original = LABELS[told["label"]], told.get("original")
        source = Path(original or name).stem
        yield Record(
            f"{folder.name}/{Path(name).stem}",
            "dfdc",
            split,
            label,
            str(folder / name),
            source,
            "real" if label == REAL else "fake",
            f"{folder.name}/{source}" if original else None,
        )


def _test(folder: Path) -> Iterator[Record]:
    """Yield the test set; who was swapped is not told, so every video is a group of its own."""
    path = existing(folder / "labels.csv", "labels.csv of the DFDC test set", "it comes with the test set")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"filename", "label"} <= set(rows[0]):
        raise DfdError(f"{path} does not fit: its columns must be filename,label")
    for row in rows:
        name, label = Path(row["filename"]).stem, int(float(row["label"]))
        method = "fake" if label else "real"
        yield Record(f"{folder.name}/{name}", "dfdc", "test", label, str(folder / f"{name}.mp4"), name, method)
