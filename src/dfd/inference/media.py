"""Which files a user's paths, folders and patterns stand for."""

import glob
import logging
from collections.abc import Iterable
from pathlib import Path

from dfd.core.errors import DfdError
from dfd.data.kinds import describe_others, sort_files

log = logging.getLogger("dfd")


def media_files(inputs: Iterable[str | Path]) -> list[Path]:
    """Return the videos and images that files, folders and glob patterns stand for, each once, in the given order."""
    found: dict[Path, None] = {}
    for each in inputs:
        found.update(dict.fromkeys(_of_one(str(each))))
    return list(found)


def _of_one(text: str) -> list[Path]:
    path = Path(text).expanduser()
    if path.is_dir():
        inside = sort_files(path)
        if inside.others:
            log.warning("%s: %s", text, describe_others(inside.others))
        if not inside.media:
            raise DfdError(f"input={text}: no video or image in this folder")
        return inside.media
    if path.suffix.lower() == ".txt" and path.is_file():
        return _listed(path)
    if path.exists():
        return [path]
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True)) if glob.has_magic(text) else []
    if not matches:
        raise DfdError(f"input={text}: no such file or folder, and no file matches it as a pattern")
    return [inner for match in matches for inner in (_of_one(str(match)) if match.is_dir() else [match])]


def _listed(path: Path) -> list[Path]:
    """Return the files that a text file names, one a line; they are looked for beside it where they are not here."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    names = [Path(line).expanduser() for line in lines if line and not line.startswith("#")]
    if not names:
        raise DfdError(f"input={path}: it names no file; write one a line")
    return [name if name.exists() or not (path.parent / name).exists() else path.parent / name for name in names]
