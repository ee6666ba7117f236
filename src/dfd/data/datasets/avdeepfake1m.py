"""AV-Deepfake1M (Cai et al., ACM MM 2024) and 1M++ (2025 challenge), from their metadata files.

The labels of the official test sets are not public: the official validation set is `test` here, and validation is
carved from the training people. The class is part of a file's name, so paths must never be shown to a network.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, REAL, Record, Segment, Stream
from dfd.data.datasets.layout import carve, complete, existing
from dfd.data.datasets.stretches import Faults, stream_json, stretches

TITLE = "AV-Deepfake1M"
GET_IT = "sign its agreement on the GitHub page ControlNet/AV-Deepfake1M and unpack train and val with their metadata"
MODIFIED: dict[str, Stream | None] = {
    "real": None,
    "visual_modified": "video",
    "audio_modified": "audio",
    "both_modified": "both",
}
FPS = 25.0


def index(
    root: Path,
    val_fraction: float = 0.05,
    videos: bool = True,
    allow_missing: bool = False,
    name: str = "avdeepfake1m",
) -> Iterator[Record]:
    """Yield a record per row of the training and the validation metadata.

    Args:
        root: the folder that holds train, val and their metadata.
        val_fraction: of the training people that become `val`; the official validation set is `test`.
        videos: whether the clips are at hand; with features of others they need not be.
        allow_missing: go on without clips that are not there.
        name: of the dataset.
    """
    root = existing(Path(root), TITLE, f"{GET_IT}, then give its folder as data.root=")
    faults = Faults(TITLE)
    training = list(_split(root, "train", name, faults))
    val = carve({record.group for record in training}, val_fraction)
    records = [replace(record, split="val") if record.group in val else record for record in training]
    records += [replace(record, split="test") for record in _split(root, "val", name, faults)]
    faults.say()
    yield from complete(records, TITLE, root, allow_missing) if videos else records


def _split(root: Path, split: str, name: str, faults: Faults) -> Iterator[Record]:
    places = [root / f"{split}_metadata.json", root / split / f"{split}_metadata.json", root / split / "metadata.json"]
    metadata = next((path for path in places if path.is_file()), None)
    if metadata is None:
        raise DfdError(f"{TITLE}: no {split}_metadata.json in {root} or {root / split}: {GET_IT}")
    for row in stream_json(metadata):
        yield _record(row, root / split, split, name, faults)


def _record(row: Mapping[str, Any], folder: Path, split: str, name: str, faults: Faults) -> Record:
    file = row["file"].removeprefix(f"{split}/")
    kind = str(row["modify_type"]).replace("-", "_")  # the authors' own code writes it both ways
    if kind not in MODIFIED:
        raise DfdError(f"{TITLE}: {file} has modify_type {kind!r}; known are {', '.join(MODIFIED)}")
    modified = MODIFIED[kind]
    seconds = row["video_frames"] / FPS if row.get("video_frames") else None
    if not row.get("audio_frames", 1):
        faults.add("clip without a sample of sound", file)
    segments = _segments(row, modified, seconds, file, faults)
    if modified and not segments:
        faults.add("fake without a stretch", file)
    method = "real" if modified is None else modified
    return Record(
        f"{split}/{file.removesuffix('.mp4')}",
        name,
        "train",
        REAL if modified is None else FAKE,
        str(folder / file),
        _person(file),
        method,
        segments=tuple(segments),
        attributes={"audio_model": row["audio_model"]} if row.get("audio_model") else {},
    )


def _segments(
    row: Mapping[str, Any], modified: Stream | None, seconds: float | None, file: str, faults: Faults
) -> list[Segment]:
    """Return the official stretches, each with the stream that was changed in it."""
    given: dict[Stream, Sequence[Sequence[float]]] = {
        "video": row.get("visual_fake_segments") or [],
        "audio": row.get("audio_fake_segments") or [],
    }
    for stream, periods in given.items():
        if periods and modified not in (stream, "both"):
            faults.add(f"{stream} stretch where the {stream} is untouched", file)
            given[stream] = []
    union = row.get("fake_segments") or [*given["video"], *given["audio"]]
    if modified is None:
        return []
    found = []
    for segment in stretches(union, "both", seconds, file, faults):
        touched = [stream for stream, periods in given.items() if any(_meet(segment, period) for period in periods)]
        found.append(segment._replace(stream=touched[0] if len(touched) == 1 else modified))
    return found


def _meet(segment: Segment, period: Sequence[float]) -> bool:
    return min(segment.end, period[1]) > max(segment.start, period[0])


def _person(file: str) -> str:
    """Return who speaks: `id00012/...`, in 1M++ behind the name of a corpus."""
    parts = file.split("/")
    return parts[0] if parts[0].startswith("id") or len(parts) < 3 else "/".join(parts[:2])
