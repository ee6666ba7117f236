"""`folds.csv` in the columns of the DFDC winner's, from our crops: for code that reads his."""

import csv
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from dfd.core.manifest import Manifest
from dfd.core.records import Record
from dfd.data.crops import CropReader
from dfd.preprocess.stages import Summary

COLUMNS = ("video", "file", "label", "original", "frame", "fold")
FOLDS, PER_FOLD = 16, 3
TEST = -1  # of no fold: his code never sees it


def write_folds(manifest: Manifest, path: Path) -> Path:
    """Write a row per crop; `file` is `<frame>_<face>.png` as he names it, with faces numbered by track.

    A video has its bare name, as his have; where two share one, as the fakes of a pair do, all have their whole id.
    """
    bare = [_bare(record.id) for record in manifest.records]
    name = _bare if len(set(bare)) == len(bare) else _whole
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for record in manifest.records:
            writer.writerows(_rows(record, manifest.folder, name))
    part.replace(path)
    return path


def summarise_folds(summary: Summary) -> list[str]:
    """Write `folds.csv` beside the manifest."""
    return [f"folds: {write_folds(summary.manifest, summary.manifest.folder / 'folds.csv')}"]


def fold(record: Record) -> int:
    """Return 0 for validation, 1 to 15 for training; parts of DFDC go three to a fold as he put them."""
    if record.split == "test":
        return TEST
    part = re.search(r"dfdc_train_part_(\d+)", record.path)
    if part:
        return min(int(part[1]) // PER_FOLD, FOLDS - 1)
    if record.split == "val":
        return 0
    return 1 + int(hashlib.sha256(record.group.encode()).hexdigest()[:8], 16) % (FOLDS - 1)


def _bare(id: str) -> str:
    return id.rpartition("/")[2]


def _whole(id: str) -> str:
    return id.replace("/", "__")


def _rows(record: Record, folder: Path, name: Callable[[str], str]) -> Iterator[tuple]:
    video, original = name(record.id), name(record.original or record.id)
    with CropReader(folder / record.assets["crops"]) as crops:
        table = crops.table
    for frame, track, valid in zip(table["frame"], table["track"], table["valid"], strict=True):
        if valid:
            yield video, f"{frame}_{track}.png", record.label, original, int(frame), fold(record)
