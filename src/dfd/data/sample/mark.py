"""Whether a file belongs to the rendered sample: it says so itself, or lies in a sample's folder."""

from pathlib import Path

from dfd.core.errors import DfdError
from dfd.data.video import open_container

MARKER = "sample.json"  # in the root of every sample
MARK = "dfd rendered sample"  # in the comment of its videos
LEVELS = 8  # folders above a file in which the marker is looked for


def is_rendered(path: Path) -> bool:
    """Return whether a file was rendered by this package."""
    folders = list(path.absolute().parents)[:LEVELS]
    if any((folder / MARKER).is_file() for folder in folders):
        return True
    try:
        with open_container(path) as container:
            return MARK in container.metadata.get("comment", "")
    except (DfdError, OSError, ValueError):  # a picture, or what is refused anyway
        return False
