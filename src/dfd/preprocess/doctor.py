"""Is a download what its authors published? Counts per method and split against theirs, and files that cannot be read.

Every file is opened once; what it is goes into a table, in parts, so that a stopped look goes on.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from dfd.core.records import SPLITS, Failure, Record
from dfd.data.kinds import IMAGE_SUFFIXES, is_image
from dfd.data.video import probe, read_image
from dfd.preprocess.pipeline import write_table
from dfd.preprocess.runner import Engine, Item, Limits, attempt, run

PART = 256  # files in one part of the table
NOTHING = {"frames": 0, "fps": 0.0, "width": 0, "height": 0, "reason": "", "detail": ""}
COLUMNS = ("video", "frames", "fps", "width", "height", "bytes", "reason", "detail")

Expected = Mapping[str, Mapping[str, int]]


def examine(records: Sequence[Record], folder: Path, engine: Engine) -> pd.DataFrame:
    """Open every file and return a row for each: what it is, or the reason why it cannot be used."""
    parts = [records[start : start + PART] for start in range(0, len(records), PART)]
    items = []
    for part in parts:
        files = [(record.id, record.path, _size(record.path)) for record in part]
        digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]
        given = {"files": files, "limit": engine.limits}
        items.append(Item(digest, folder, folder / "probe" / f"{digest}.parquet", given))
    failed = run("probe", items, examine_part, engine, f"opening {records[0].dataset} (x{PART})")
    _one_by_one([item for item in items if item.video in {failure.video for failure in failed}], engine)
    table = pd.concat([pd.read_parquet(item.target) for item in items], ignore_index=True)
    write_table(table.to_dict("records"), folder / "probe.parquet", COLUMNS)
    return table


def examine_part(items: Sequence[Item]) -> list[Failure]:
    """Open the files of some parts, in a worker."""
    for item in items:
        item.target.parent.mkdir(parents=True, exist_ok=True)
        rows = [_row(name, path, size, item.given["limit"]) for name, path, size in item.given["files"]]
        write_table(rows, item.target, COLUMNS)
    return []


def _one_by_one(parts: Sequence[Item], engine: Engine) -> None:
    """Write the table of parts that hold a file which ended its reader: every file is looked at in a process alone."""
    for part in parts:
        alone = [
            Item(
                f"{part.video}-{number}",
                Path(file[1]),
                part.target.with_suffix(f".{number}"),
                {**part.given, "files": [file]},
            )
            for number, file in enumerate(part.given["files"])
        ]
        failed = {failure.video: failure for failure in run("probe", alone, examine_part, engine, "one by one")}
        rows = []
        for item, (name, _, size) in zip(alone, part.given["files"], strict=True):
            if item.video in failed:
                rows.append(_refused(name, size, failed[item.video]))
            else:
                rows += pd.read_parquet(item.target).to_dict("records")
        write_table(rows, part.target, COLUMNS)
        for item in alone:
            item.target.unlink(missing_ok=True)


def counts(records: Sequence[Record]) -> Counter:
    """Count by method and split, and over both: `rest` is train and val, `all` every split, `fake` every method."""
    found: Counter = Counter()
    for record in records:
        names = {record.method} | ({"fake"} if record.label else set())
        for method in names:
            for split in (record.split, "all", *(["rest"] if record.split != "test" else [])):
                found[method, split] += 1
    return found


def compare(records: Sequence[Record], expected: Expected) -> list[tuple[str, str, int, int]]:
    """Return (method, split, found, published) for everything published, and for everything found besides."""
    found = counts(records)
    rows = [(method, split, found[method, split], n) for method, told in expected.items() for split, n in told.items()]
    methods = dict.fromkeys(record.method for record in sorted(records, key=lambda r: (r.label, r.method)))
    told_all = {"fake"} & set(expected)
    for method in methods:
        if method not in expected and not (told_all and method != "real"):
            rows += [(method, split, found[method, split], -1) for split in SPLITS if found[method, split]]
    return rows


def problems(rows: Sequence[tuple[str, str, int, int]], table: pd.DataFrame) -> list[str]:
    """Return why the published protocol cannot be kept; an empty list if it can."""
    said = [
        f"{method} {split}: {found} of {published}"
        for method, split, found, published in rows
        if published >= 0 and found != published
    ]
    unreadable = table.loc[table["reason"] != ""]
    if len(unreadable):
        reasons = ", ".join(f"{n} x {reason}" for reason, n in Counter(unreadable["reason"]).items())
        first = unreadable.iloc[0]
        said.append(f"{len(unreadable)} files cannot be read ({reasons}), e.g. {first['video']}: {first['detail']}")
    return said


def _row(video: str, path: str, size: int, limits: Limits) -> dict:
    item = Item(video, Path(path), Path(path))
    told: Any
    if item.source.is_dir():  # frames that others have cut
        empty = not any(p.suffix.lower() in IMAGE_SUFFIXES for p in item.source.iterdir())
        told = Failure(video, "probe", "no_frames", f"{path} holds no images") if empty else {}
    else:
        told = attempt("probe", item, limits, lambda: _facts(Path(path)))
    if isinstance(told, Failure):
        return _refused(video, size, told)
    return {**NOTHING, "video": video, "bytes": size, **told}


def _refused(video: str, size: int, failure: Failure) -> dict:
    return {**NOTHING, "video": video, "bytes": size, "reason": failure.reason, "detail": failure.detail}


def _facts(path: Path) -> dict:
    if is_image(path):
        height, width = read_image(path).shape[:2]
        return {"frames": 1, "width": width, "height": height}
    return asdict(probe(path))


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return -1
