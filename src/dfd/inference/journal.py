"""What was judged so far, a line per file as it is judged: a stopped command goes on where it was."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

from dfd.core.errors import DfdError

NAME = "unfinished.jsonl"


class Result(Protocol):
    """What is found of one file."""

    @property
    def path(self) -> Path:
        """The file."""

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Return what `plain` was made of."""


Of = TypeVar("Of", bound=Result)
Judge = Callable[[Sequence[Path]], Iterable[Of]]


class Journal(Generic[Of]):
    """The lines of one command in its output folder.

    Args:
        folder: where.
        asked: what decides the results: lines of another question are passed over.
        kind: of results.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Any], kind: type[Of]) -> None:
        self.path, self.kind = folder / NAME, kind
        self.key = _key(asked)
        self.known = dict(self._read())
        self.lost = ""  # why lines could not be written, if they could not

    @classmethod
    def continued(cls, folders: Iterable[Path], asked: Mapping[str, Any], kind: type[Of]) -> "Journal[Of] | None":
        """Return the newest journal of the same command that was stopped."""
        stopped = sorted((folder for folder in folders if (folder / NAME).is_file()), reverse=True)
        journals = (cls(folder, asked, kind) for folder in stopped)
        return next((journal for journal in journals if journal.known), None)

    def result(self, path: Path) -> Of | None:
        """Return what was found of a file, if it is still the same."""
        return self.known.get(_stamp(path))

    def add(self, result: Of) -> None:
        """Write a line; a disk that takes none costs the journal, not the work."""
        line = json.dumps({"key": self.key, "file": _stamp(result.path), "result": result.plain()})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            self.lost = error.strerror or str(error)

    def finish(self) -> None:
        """Remove the lines: the tables hold them now."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> Iterator[tuple[str, Of]]:
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return
        for line in lines:  # the last one may be cut
            try:
                entry = json.loads(line)
                if entry["key"] == self.key:
                    yield entry["file"], self.kind.of_plain(entry["result"])
            except (ValueError, KeyError, TypeError):
                continue


def judged_in_order(files: Sequence[Path], journal: Journal[Of], judge: Judge[Of]) -> Iterator[Of]:
    """Yield the result of every file in order: from the journal, else judged now and noted there."""
    known = [journal.result(path) for path in files]
    fresh = iter(judge([path for path, result in zip(files, known) if result is None]))
    for result in known:
        if result is None:
            result = next(fresh)
            journal.add(result)
        yield result


def writable_folder(folder: Path, fallbacks: Sequence[Path]) -> Path:
    """Return the first of the folders that can be written into; none: say so."""
    for each in (folder, *fallbacks):
        try:
            each.mkdir(parents=True, exist_ok=True)
            probe = each / f".{os.getpid()}.part"
            probe.write_bytes(bytes(4096))
            probe.unlink()
        except OSError:
            continue
        return each
    raise DfdError(f"nothing can be written to {folder}, nor to {', '.join(map(str, fallbacks))}: the tables are lost")


def _key(asked: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _stamp(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return f"{path}"
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"
