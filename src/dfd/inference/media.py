"""Which files a user's paths, folders and patterns stand for."""

import glob
from collections.abc import Iterable
from pathlib import Path

from dfd.core.errors import DfdError
from dfd.data.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES

SUFFIXES = {*IMAGE_SUFFIXES, *VIDEO_SUFFIXES}


def media_files(inputs: Iterable[str | Path]) -> list[Path]:
    """Return the videos and images that files, folders and glob patterns stand for, each once, in the given order."""
    found: dict[Path, None] = {}
    for each in inputs:
        found.update(dict.fromkeys(_of_one(str(each))))
    return list(found)


def _of_one(text: str) -> list[Path]:
    path = Path(text).expanduser()
    if path.is_dir():
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not inside:
            raise DfdError(f"input={text}: no video or image in this folder")
        return inside
    if path.exists():
        return [path]
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True)) if glob.has_magic(text) else []
    if not matches:
        raise DfdError(f"input={text}: no such file or folder, and no file matches it as a pattern")
    return [inner for match in matches for inner in (_of_one(str(match)) if match.is_dir() else [match])]
