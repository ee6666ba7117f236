"""DeepSpeak v1.1 and v2 (Barrington, Bohacek and Farid), from their three annotation tables.

`annotations-split-def.csv` (identity, split) says which people are tested. Tables and names are those that public code
reads; where the videos lie below the folder does not matter. v1 names people in its files
(`<engine>--<source>-<target>--...`), v2 in `annotations-fake.csv`. Validation is carved from the training people.
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, REAL, Record
from dfd.data.datasets.layout import carve, existing, note, some, videos

TITLE = "DeepSpeak"
GET_IT = "accept its conditions on the Hugging Face page faridlab/deepspeak_v2 (or _v1_1), then dfd-fetch deepspeak"
REAL_TABLE, FAKE_TABLE, SPLIT_TABLE = (f"annotations-{name}.csv" for name in ("real", "fake", "split-def"))


def index(root: Path, val_fraction: float = 0.1, allow_missing: bool = False) -> Iterator[Record]:
    """Yield the videos of people that the split table names."""
    root = existing(Path(root), TITLE, f"{GET_IT}, then give its folder as data.root=")
    people = {row["identity"]: row["split"].lower() for row in _rows(root / SPLIT_TABLE, "identity", "split")}
    fakes = {Path(row["video-file"]).stem: row for row in _rows(root / FAKE_TABLE, "video-file")}
    val = carve({name for name, split in people.items() if split == "train"}, val_fraction)
    records, strangers, listed = [], 0, set(fakes)
    for path in videos(root):
        stem = path.stem
        listed.discard(stem)
        fake = stem in fakes
        target, donor, engine = _names(stem, fakes[stem]) if fake else (stem.split("-")[0], None, "real")
        if people.get(target) not in ("train", "test"):
            strangers += 1
            continue
        split = "val" if target in val else people[target]
        records.append(
            Record(
                f"{'fake' if fake else 'real'}/{stem}",
                "deepspeak",
                split,
                FAKE if fake else REAL,
                str(path),
                target,
                engine,
                donor=donor if donor != target else None,
            )
        )
    if listed and not allow_missing:
        raise DfdError(
            f"{TITLE} in {root} is not complete: {len(listed)} of {len(fakes)} listed fakes are missing, e.g. "
            f"{min(listed)}; unpack every part, or go on without them with data.index.allow_missing=true"
        )
    if strangers:
        note(f"{TITLE}: {strangers} videos show people without a split; left out")
    yield from some(records, TITLE, root, GET_IT)


def _names(stem: str, row: Mapping[str, str]) -> tuple[str, str | None, str]:
    """Return who is shown, whose face or voice it is, and the engine."""
    parts = stem.split("--")
    if len(parts) >= 3 and parts[1].count("-") == 1:
        source, target = parts[1].split("-")
        return target, source, parts[0]
    return row.get("identity-target") or "", row.get("identity-source") or None, row.get("engine") or stem.split("-")[0]


def _rows(path: Path, *columns: str) -> list[dict[str, str]]:
    with existing(path, f"table of {TITLE}", GET_IT).open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
        if not set(columns) <= set(reader.fieldnames or ()):
            raise DfdError(f"{path} does not fit: it must have the columns {', '.join(columns)}")
    return rows
