"""What the indexes of official layouts share: what is missing is counted and named, splits are carved by a hash."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, REAL, Record
from dfd.data.kinds import VIDEO_SUFFIXES, describe_others, sort_files

log = logging.getLogger("dfd")


_notes: ContextVar[list[str] | None] = ContextVar("notes of an index", default=None)


@contextmanager
def collected_notes() -> Iterator[list[str]]:
    """Give the list to which an index adds, while it runs, what reports on the dataset must say."""
    notes: list[str] = []
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)


def note(text: str) -> None:
    """Say something about a dataset, in the log and in the reports of whoever prepares it."""
    notes = _notes.get()
    if notes is None:
        log.warning(text)
    else:
        notes.append(text)


def complete(records: Sequence[Record], title: str, root: Path, allow_missing: bool) -> Iterator[Record]:
    """Yield the records whose files exist; missing ones are an error, or a note with their counts if allowed."""
    missing = {record.id for record in records if not Path(record.path).exists()}
    if missing:
        lost = Counter(record.method for record in records if record.id in missing)
        total = Counter(record.method for record in records)
        detail = ", ".join(f"{count} of {total[method]} {method}" for method, count in lost.items())
        first = next(record.path for record in records if record.id in missing)
        if not allow_missing:
            raise DfdError(
                f"{title} in {root} is not complete: missing are {detail}, e.g. {first}; "
                "finish the download, or go on without them with data.index.allow_missing=true"
            )
        note(f"{title} is not complete: {len(missing)} of {len(records)} files are missing ({detail})")
    yield from (record for record in records if record.id not in missing)


def existing(path: Path, title: str, get_it: str) -> Path:
    """Return a path that must be there, or say how to get what it belongs to."""
    if not path.exists():
        raise DfdError(f"no {title} at {path}: {get_it}")
    return path


def read_json(path: Path, title: str, get_it: str) -> Any:
    """Return what a JSON file of a dataset holds."""
    try:
        return json.loads(existing(path, title, get_it).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DfdError(f"{path} is damaged ({error}): {get_it}") from error


def carve(groups: Iterable[str], fraction: float) -> set[str]:
    """Choose a fraction of the groups, at least one, by the hash of their names: the same ones everywhere."""
    ranked = sorted(set(groups), key=lambda group: hashlib.sha256(group.encode()).digest())
    return set(ranked[: max(1, round(len(ranked) * fraction))]) if ranked and fraction else set()


def media(folder: Path) -> list[Path]:
    """Return the videos and images below a folder, in order; files of other kinds are counted in a warning."""
    found = sort_files(folder)
    if found.others:
        note(f"{folder}: {describe_others(found.others)}")
    return found.media


def videos(folder: Path) -> list[Path]:
    """Return the videos below a folder by their names, in order; their content is looked at by preprocessing."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and not p.name.startswith("."))


def some(records: Sequence[Record], title: str, root: Path, get_it: str) -> Iterator[Record]:
    """Yield the records, of which there must be real and fake ones."""
    for label, word in ((REAL, "real"), (FAKE, "fake")):
        if not any(record.label == label for record in records):
            raise DfdError(f"{title} in {root} has no {word} videos where they are expected: {get_it}")
    yield from records


def split_groups(groups: Iterable[str], val: float, test: float) -> dict[str, str]:
    """Return the split of every group, by the hash of its name: the same ones everywhere."""
    if val < 0 or test < 0 or val + test >= 1:
        raise DfdError(f"val_fraction={val} and test_fraction={test} leave nothing to train on")
    names = set(groups)
    tested = carve(names, test)
    validated = carve(names - tested, val / (1 - test))
    return {name: "test" if name in tested else "val" if name in validated else "train" for name in names}
