"""Whether a file belongs to the rendered sample: it says so itself, or lies in a sample's folder."""

from pathlib import Path

import av

MARKER = "sample.json"  # in the root of every sample
MARK = "dfd rendered sample"  # in the comment of its videos
LEVELS = 8  # folders above a file in which the marker is looked for


def is_rendered(path: Path) -> bool:
    """Return whether a file was rendered by this package."""
    folders = list(path.absolute().parents)[:LEVELS]
    if any((folder / MARKER).is_file() for folder in folders):
        return True
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            return MARK in container.metadata.get("comment", "")
    except (av.error.FFmpegError, OSError, ValueError):
        return False
