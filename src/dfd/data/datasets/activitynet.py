"""Any dataset with annotations in ActivityNet-1.3 JSON: what ActionFormer, OpenTAD and mmaction2 read.

`{"database": {id: {"subset", "duration", "annotations": [{"segment": [start, end], "label"}]}}}` in seconds; a video
without annotations is real.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dfd.core.errors import DfdError, did_you_mean
from dfd.core.records import FAKE, REAL, STREAMS, Record, Stream
from dfd.data.datasets.layout import complete, existing, read_json
from dfd.data.datasets.stretches import Faults, stretches

TITLE = "ActivityNet JSON"
SUBSETS = {"training": "train", "train": "train", "validation": "val", "val": "val", "dev": "val"}
SUBSETS |= {"valid": "val", "testing": "test", "test": "test"}


def index(
    root: Path,
    json: str,
    pattern: str = "{id}.mp4",
    name: str = "activitynet",
    group: str = "{id}",
    videos: bool = True,
    allow_missing: bool = False,
) -> Iterator[Record]:
    """Yield a record per video of the database.

    Args:
        root: the folder of the videos.
        json: the file of annotations, absolute or in the root.
        pattern: of a video's path below the root, with `{id}` and `{subset}`.
        name: of the dataset.
        group: who must not stand in two splits, with `{id}`, `{subset}` and `{prefix}` (the id up to its first "_").
        videos: whether the files are at hand; with features of others they need not be.
        allow_missing: go on without files that are not there.
    """
    root = existing(Path(root), TITLE, "give the folder of its videos as data.root=")
    told = read_json(root / Path(json).expanduser(), TITLE, "data.index.json= names the file of annotations")
    if not isinstance(told.get("database"), Mapping):
        raise DfdError(f"{json} has no database: ActivityNet JSON begins with {{'database': {{...}}}}")
    faults, records = Faults(name), []
    for key, row in sorted(told["database"].items()):
        subset = str(row["subset"]).lower()
        if subset not in SUBSETS:
            known = did_you_mean(subset, SUBSETS)
            raise DfdError(f"{json}: {key} is in subset {subset!r}; known are {', '.join(SUBSETS)}{known}")
        notes = row.get("annotations") or []
        segments = [
            s for note in notes for s in stretches([note["segment"]], _stream(note), row.get("duration"), key, faults)
        ]
        words = {"id": key, "subset": row["subset"], "prefix": key.split("_")[0]}
        records.append(
            Record(
                key,
                name,
                SUBSETS[subset],
                FAKE if notes else REAL,
                str(root / pattern.format(**words)),
                group.format(**words),
                "fake" if notes else "real",
                segments=tuple(sorted(segments)),
            )
        )
    faults.say()
    yield from complete(records, name, root, allow_missing) if videos else records


def _stream(note: Mapping[str, Any]) -> Stream:
    """Return what was forged, where a label says so; those of other datasets mean the whole."""
    label = str(note.get("label", "")).lower()
    return label if label in STREAMS else "both"  # type: ignore[return-value]
