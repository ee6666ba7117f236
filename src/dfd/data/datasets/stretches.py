"""What the indexes of datasets with forged stretches share: faults of their files are mended, counted and said once."""

import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dfd.core.errors import DfdError
from dfd.core.records import Record, Segment, Stream

log = logging.getLogger(__name__)

ROUNDING = 0.05  # seconds beyond the end of a clip that are no fault: containers count frames and samples differently
CHUNK = 1 << 20  # characters of JSON that are read at a time


class Faults:
    """A count of what was mended, by kind, with the first example of each."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, kind: str, example: str) -> None:
        """Count one fault."""
        self.counts[kind] += 1
        self._first.setdefault(kind, example)

    def say(self) -> None:
        """Log what was mended."""
        if self.counts:
            found = ", ".join(f"{count} x {kind} (e.g. {self._first[kind]})" for kind, count in self.counts.items())
            log.warning("%s: mended %s", self.title, found)


def stretches(
    periods: Iterable[Sequence[float]], stream: Stream, seconds: float | None, video: str, faults: Faults
) -> list[Segment]:
    """Return forged stretches within the clip, in order; empty ones are left out, those beyond its end are cut."""
    kept = []
    for start, end, *_ in sorted(tuple(period) for period in periods):
        if not (math.isfinite(start) and math.isfinite(end)) or end <= start:
            faults.add("empty stretch", video)
            continue
        last = math.inf if seconds is None else seconds
        if start < 0 or end > last + ROUNDING:
            faults.add("stretch outside the clip", video)
        if max(start, 0.0) < min(end, last):
            kept.append(Segment(max(float(start), 0.0), min(float(end), last), stream))
    if any(after.start < before.end for before, after in zip(kept, kept[1:])):  # noqa: RUF007 - read at a glance
        faults.add("overlapping stretches", video)
    return kept


def unlisted(folders: Sequence[Path], records: Sequence[Record], suffix: str, faults: Faults) -> None:
    """Count the files of some folders that no row of the metadata names."""
    listed = {Path(record.path).resolve() for record in records}
    for folder in folders:
        for path in sorted(folder.rglob(f"*{suffix}")) if folder.is_dir() else ():
            if path.resolve() not in listed:
                faults.add("file without a row", str(path))


def find_below(root: Path, names: Sequence[str]) -> Path | None:
    """Return the first of some files in a folder, or in a folder below it of any depth: archives nest as they like."""
    for name in names:
        if (root / name).is_file():
            return root / name
    found = (path for name in names for path in sorted(root.rglob(name)))
    return next(found, None)


def stream_json(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a JSON list one by one, without reading the whole file; a list cut short is an error."""
    decoder, text, place = json.JSONDecoder(), "", 0
    with path.open(encoding="utf-8") as file:
        text = file.read(CHUNK).lstrip()
        if not text.startswith("["):
            raise DfdError(f"{path} does not begin with a list: it is not the metadata of this dataset")
        place = 1
        while True:
            while place < len(text) and text[place] in " \t\r\n,":
                place += 1
            if place < len(text) and text[place] == "]":
                return
            try:
                value, place = decoder.raw_decode(text, place)
            except ValueError:
                more = file.read(CHUNK)
                if not more:
                    raise DfdError(f"{path} ends in the middle of a record: download it again") from None
                text, place = text[place:] + more, 0
                continue
            yield value
