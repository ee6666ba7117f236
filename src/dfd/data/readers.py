"""Open the face crops of a record: our container, a folder of frames that others have cut, or a single image."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from dfd.core.errors import DfdError
from dfd.data.crops import COLUMNS, CropReader
from dfd.data.kinds import IMAGE_SUFFIXES
from dfd.data.video import read_image

FPS = 25.0  # nobody wrote down how fast these frames followed each other
FRAME_AND_FACE, LAST_NUMBER = re.compile(r"(\d+)_(\d+)"), re.compile(r"(\d+)$")


class Reader(Protocol):
    """A table of frames and, by row, their images; a context manager."""

    table: dict[str, np.ndarray]

    def read(self, rows: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Return the images (RGB uint8) of these rows."""

    def __enter__(self) -> "Reader": ...

    def __exit__(self, *error: object) -> None: ...


class FrameFolder:
    """A folder of images named by frame, `0007.png` or `clip2_0007.png`, or by frame and face, `70_1.png`.

    With `order`, frames count as neighbours in the order of their names, whatever numbers they have.
    """

    def __init__(self, path: Path, order: bool = False) -> None:
        files = [path] if path.is_file() else [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
        if not files:
            raise DfdError(f"{path} holds no images")
        named = sorted((_frame_and_face(file, position), file) for position, file in enumerate(sorted(files)))
        self._files = [file for _, file in named]
        self.table = _table(np.array([frame for (_, frame), _ in named]), np.array([face for (face, _), _ in named]))
        if order:
            self.table["frame"] = np.arange(len(files))

    def read(self, rows: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Return the images (RGB uint8) of these rows of the table."""
        return [read_image(self._files[row]) for row in rows]

    def __enter__(self) -> "FrameFolder":
        return self

    def __exit__(self, *error: object) -> None:
        pass


def open_crops(folder: Path, assets: Mapping[str, str]) -> Reader:
    """Open what the assets of a record name, relative to the manifest's folder."""
    path = folder / assets["crops"]
    if path.suffix == ".zip":
        return CropReader(path)
    if not path.exists():
        raise DfdError(f"no face crops at {path}: were they moved? give their folder as data.root=")
    return FrameFolder(path, assets.get("numbering") == "order")


def _frame_and_face(path: Path, position: int) -> tuple[int, int]:
    both = FRAME_AND_FACE.fullmatch(path.stem)
    if both:
        return int(both[2]), int(both[1])
    last = LAST_NUMBER.search(path.stem)
    return 0, int(last[1]) if last else position


def _table(frames: np.ndarray, faces: np.ndarray) -> dict[str, np.ndarray]:
    table = {name: np.zeros(len(frames)) for name in COLUMNS}
    valid = np.ones(len(frames), bool)
    return table | {"frame": frames, "track": faces, "t": frames / FPS, "valid": valid, "confidence": valid * 1.0}
