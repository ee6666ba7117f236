"""LAV-DF (Cai et al., DICTA 2022): words of VoxCeleb2 speakers replaced in sound, lips or both, from its metadata file.

Records are the rows of `metadata.min.json` (or `metadata.json`), not the files: some files have no row. When sound is
replaced, video is stretched to fit, so a fake is not aligned with its original frame by frame.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, REAL, Record, Stream
from dfd.data.datasets.layout import complete, existing, read_json
from dfd.data.datasets.stretches import Faults, find_below, stretches, unlisted

TITLE = "LAV-DF"
GET_IT = "request it through the form on the GitHub page ControlNet/LAV-DF and join its archives"
FILES = ("metadata.min.json", "metadata.json")
SPLITS = {"train": "train", "dev": "val", "test": "test"}


def index(
    root: Path,
    subset: Literal["full", "visual"] = "full",
    videos: bool = True,
    allow_missing: bool = False,
    name: str = "lavdf",
) -> Iterator[Record]:
    """Yield a record per row of the metadata.

    Args:
        root: the folder of the metadata, or one above it.
        subset: "visual" leaves out clips of which only the sound was replaced, as the paper's second table does.
        videos: whether the clips are at hand; with features of others they need not be.
        allow_missing: go on without clips that are not there.
        name: of the dataset.
    """
    root = existing(Path(root), TITLE, f"{GET_IT}, then give its folder as data.root=")
    metadata = find_below(root, FILES)
    if metadata is None:
        raise DfdError(f"{TITLE} in {root} has neither {' nor '.join(FILES)}: {GET_IT}")
    rows = read_json(metadata, "metadata of LAV-DF", GET_IT)
    faults = Faults(TITLE)
    records = list(_records(rows, metadata.parent, subset, name, faults))
    if videos:
        records = list(complete(records, TITLE, metadata.parent, allow_missing))
        if subset == "full":
            unlisted([metadata.parent / split for split in SPLITS], records, ".mp4", faults)
    faults.say()
    yield from records


def _records(
    rows: Sequence[Mapping[str, Any]], folder: Path, subset: str, name: str, faults: Faults
) -> Iterator[Record]:
    origins = {row["file"]: row.get("original") for row in rows}
    for row in rows:
        file, modified = row["file"], _modified(row)
        if subset == "visual" and modified == "audio":
            continue
        if row["split"] not in SPLITS:
            raise DfdError(f"{TITLE}: {file} is in split {row['split']!r}; known are {', '.join(SPLITS)}")
        segments = stretches(row["fake_periods"], modified or "both", row.get("duration"), file, faults)
        if modified and not segments:
            faults.add("fake without a stretch", file)
        if not modified and segments:
            faults.add("real with a stretch, which is dropped", file)
            segments = []
        if row.get("n_fakes", len(row["fake_periods"])) != len(row["fake_periods"]):
            faults.add("n_fakes that is not the number of stretches", file)
        original = row.get("original") if modified and row.get("original") in origins else None
        yield Record(
            _id(file),
            name,
            SPLITS[row["split"]],
            FAKE if modified else REAL,
            str(folder / file),
            _id(_source(file, origins)),
            modified or "real",
            None if original is None else _id(original),
            segments=tuple(segments),
        )


def _modified(row: Mapping[str, Any]) -> Stream | None:
    if row["modify_video"] and row["modify_audio"]:
        return "both"
    return "video" if row["modify_video"] else "audio" if row["modify_audio"] else None


def _source(file: str, origins: Mapping[str, str | None]) -> str:
    """Follow a clip to the real one that it was made from: they are one group."""
    seen = {file}
    while (source := origins.get(file)) is not None and source not in seen:
        seen.add(source)
        file = source
    return file


def _id(file: str) -> str:
    return file.removesuffix(".mp4")
