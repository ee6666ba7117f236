"""Faces that others have cut: DeepfakeBench's tree and JSON, TALL's lists, the crops of the DFDC winner.

They are read as they are, with the conventions of their authors: which splits those are is their choice, not ours.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, REAL, SPLITS, Record
from dfd.data.datasets.layout import existing, read_json

PAIR = re.compile(r"\d+_\d+")  # a fake of FaceForensics++: target and source


def deepfakebench(
    root: Path, json: str, compression: str = "c23", consecutive: bool = False, allow_missing: bool = False
) -> Iterator[Record]:
    """Yield what one of DeepfakeBench's JSON files lists; `root` is the folder that holds its datasets.

    Its paths begin on another machine and may use backslashes: the longest end of each that exists below `root` is
    taken. `consecutive` treats the stored frames as neighbours, as its clip detectors do. Its reals may stand in
    several splits, and its validation is often the test set: the manifest check says so.
    """
    root = existing(Path(root), "DeepfakeBench data", "give the folder that holds its datasets as data.root=")
    tree = read_json(Path(json), "JSON of DeepfakeBench", "data.index.json= names one of its dataset JSON files")
    (dataset, labels), *_ = tree.items()
    records, lost = [], 0
    for label, splits in labels.items():
        for split, videos in splits.items():
            for name, told in _videos(videos, compression).items():
                folder = _below(root, told["frames"])
                lost += folder is None
                if folder is None:
                    continue
                fake = not label.lower().endswith("real")
                assets = {"crops": folder} | ({"numbering": "order"} if consecutive else {})
                records.append(
                    Record(f"{split}/{label}/{name}", dataset, split, FAKE if fake else REAL, str(root / folder),
                           name.split("_")[0], label if fake else "real", assets=assets)
                )  # fmt: skip
    if not records or (lost and not allow_missing):
        raise DfdError(
            f"of the videos in {json} {lost} have no frames below {root}: prepare them, or go on without them with "
            "data.index.allow_missing=true"
        )
    yield from records


def tall(root: Path, lists: dict[str, str], dataset: str = "tall") -> Iterator[Record]:
    """Yield what TALL's list files name: lines `<folder> <first frame> <last frame> <label>`, a file per split.

    A fake `071_054` and the reals 071 and 054 are one group, as in FaceForensics++.
    """
    records = list(_listed(Path(root), lists, dataset))
    names = {record.group for record in records}
    pairs = {half: _pair(name) for name in names if PAIR.fullmatch(name) for half in name.split("_")}
    for record in records:
        yield replace(record, group=pairs.get(record.group) or _pair(record.group))


def _pair(video: str) -> str:
    return "_".join(sorted(video.split("_")))


def _listed(root: Path, lists: dict[str, str], dataset: str) -> Iterator[Record]:
    """Yield the lines of TALL's lists, each in a group of its folder's name."""
    existing(root, "folder of face crops", "give the folder that TALL's lists start from as data.root=")
    for split, name in lists.items():
        if split not in SPLITS:
            raise DfdError(f"data.index.lists: {split!r} is not a split; there are {', '.join(SPLITS)}")
        path = existing(root / name, f"list file of the split {split}", "data.index.lists={train: ..., test: ...}")
        for number, line in enumerate(filter(str.strip, path.read_text(encoding="utf-8").splitlines()), 1):
            parts = line.split()
            if len(parts) < 4 or parts[-1] not in ("0", "1"):
                raise DfdError(f"{path}:{number}: {line!r} does not fit; lines are '<folder> <first> <last> <0 or 1>'")
            folder, label = " ".join(parts[:-3]), int(parts[-1])
            existing(root / folder, "folder of frames", f"it is named in {path}:{number}")
            video, method = PurePosixPath(folder).name, PurePosixPath(folder).parts[0] if label else "real"
            assets = {"crops": folder}
            yield Record(f"{split}/{folder}", dataset, split, label, str(root / folder), video, method, assets=assets)


def winner(root: Path, val_fold: int = 0, test_fold: int | None = None) -> Iterator[Record]:
    """Yield the videos of the DFDC winner's `folds.csv`, whose crops are `crops/<video>/<frame>_<actor>.png`."""
    root = existing(Path(root), "folder of the DFDC winner's crops", "give the folder of crops/ and folds.csv")
    with existing(root / "folds.csv", "folds.csv", "it is made by his last step").open(
        newline="", encoding="utf-8"
    ) as file:
        rows = {row["video"]: row for row in csv.DictReader(file)}
    for video, row in sorted(rows.items()):
        fold, label = int(row["fold"]), int(row["label"])
        split = "val" if fold == val_fold else "test" if fold == test_fold else "train"
        folder = existing(root / "crops" / video, "folder of crops", "it is named in folds.csv")
        original = row["original"] if label else None
        assets = {"crops": f"crops/{video}"}
        yield Record(
            video, "dfdc", split, label, str(folder), row["original"], "fake" if label else "real", original,
            assets=assets,
        )  # fmt: skip


def _videos(videos: dict[str, Any], compression: str) -> dict[str, Any]:
    """Leave out the level that names a compression, which only some of the files have."""
    if videos and not any("frames" in told for told in videos.values()):
        if compression not in videos:
            raise DfdError(f"data.index.compression={compression}: this JSON has {', '.join(videos)}")
        return videos[compression]
    return videos


def _below(root: Path, frames: Sequence[str]) -> str | None:
    if not frames:
        return None
    parts = PurePosixPath(frames[0].replace("\\", "/")).parent.parts
    ends = ("/".join(parts[start:]) for start in range(len(parts)) if parts[start] not in ("/", ".", ".."))
    return next((end for end in ends if (root / end).is_dir()), None)
