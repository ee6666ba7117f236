"""A look at the sample: a few targets, each beside what was forged from it."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from dfd.data.video import probe, read_frames

TILE = (200, 240)


def contact_sheet(rows: Iterable[list[str]], root: Path, path: Path) -> Path:
    """Write a PNG with one frame of every file, a row per target, zoomed to the middle where the head is."""
    picture = tiles([_tile(root, name) for name in names] for names in rows)
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return path


def _tile(root: Path, name: str) -> np.ndarray:
    middle = probe(root / name).frames // 2
    _, _, frame = next(iter(read_frames(root / name, [middle])))
    height, width = frame.shape[:2]
    side = min(height, width * TILE[1] // TILE[0])
    left = (width - side * TILE[0] // TILE[1]) // 2
    tile = cv2.resize(frame[:side, left : width - left], TILE, interpolation=cv2.INTER_CUBIC)
    parts = Path(name).parts
    family = parts[1] if parts[0] == "manipulated_sequences" else parts[0].removesuffix("_sequences")
    text = f"{family} {Path(name).stem}"
    tile[:18] = tile[:18] // 3
    cv2.putText(tile, text, (5, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return tile


def tiles(rows: Iterable[list[np.ndarray]]) -> np.ndarray:
    """Lay pictures of one size out, a list per row; short rows are padded white."""
    lines = [np.hstack(row) for row in rows]
    width = max(line.shape[1] for line in lines)
    return np.vstack(
        [np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0)), constant_values=255) for line in lines]
    )
