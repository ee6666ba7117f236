"""TVIL (Zhang et al., ACM MM 2023): stretches of YouTube-VOS videos from which an object was inpainted away, no sound.

`annotations/metadata.json` maps a name to file, split, duration and `fake_periods`. Psynd has the same file and is read
here too.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, REAL, Record, Stream
from dfd.data.datasets.layout import complete, existing, read_json
from dfd.data.datasets.stretches import Faults, find_below, stretches

TITLE = "TVIL"
GET_IT = "its links are on the GitHub page ymhzyj/UMMAFormer"
SPLITS = {"train": "train", "valid": "val", "val": "val", "dev": "val", "test": "test"}


def index(root: Path, videos: bool = True, allow_missing: bool = False) -> Iterator[Record]:
    """Yield a record per video of the metadata; `videos: false` where only features of others are at hand."""
    root = existing(Path(root), TITLE, f"{GET_IT}; give its folder as data.root=")
    metadata = find_below(root, ("metadata.json",))
    if metadata is None:
        raise DfdError(f"{TITLE} in {root} has no metadata.json: {GET_IT}")
    rows = read_json(metadata, "metadata of TVIL", GET_IT)
    yield from from_rows(rows, root, "tvil", TITLE, SPLITS, "video", videos, allow_missing)


def from_rows(
    rows: Mapping[str, Mapping[str, Any]],
    root: Path,
    name: str,
    title: str,
    splits: Mapping[str, str],
    stream: Stream,
    videos: bool,
    allow_missing: bool,
) -> Iterator[Record]:
    """Yield the records of a dictionary of rows.

    Args:
        rows: facts by name.
        root: where the files lie.
        name: of the dataset.
        title: of the dataset in messages.
        splits: what its splits are called here; others are left out.
        stream: what is forged.
        videos: whether the files are at hand.
        allow_missing: go on without files that are not there.
    """
    faults, records = Faults(title), []
    for key, row in sorted(rows.items()):
        if row["split"] not in splits:
            continue
        file = str(row["file"])
        segments = stretches(row["fake_periods"], stream, row.get("duration"), key, faults)
        split, stem = splits[row["split"]], file.rpartition(".")[0] or file
        path = _place(root, file, str(row["split"]))
        label = FAKE if row["fake_periods"] else REAL
        method = "real" if label == REAL else str(row.get("method") or row.get("model") or "fake")
        group = Path(stem).name.split("_")[0]
        identity = stem if "/" in stem else f"{row['split']}/{stem}"
        records.append(Record(identity, name, split, label, str(path), group, method, segments=tuple(segments)))
    if not records:
        raise DfdError(f"{title} in {root}: no row is in a split of {', '.join(splits)}")
    faults.say()
    yield from complete(records, title, root, allow_missing) if videos else records


def _place(root: Path, file: str, split: str) -> Path:
    """Return where a file lies: its mirrors unpack to different folders."""
    places = [root / file, root / split / file, root / "videos" / file, root / "videos" / split / file]
    return next((path for path in places if path.is_file()), root / split / Path(file).name)
