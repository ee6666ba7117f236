"""Scene cuts: where two kept frames of a video show different scenes, judged on thumbnails of 16 x 16 grey pixels."""

from collections.abc import Sequence

import cv2
import numpy as np

SIDE = 16
CORRELATION = 0.5  # below it two thumbnails differ: over a cut at most 0.26 on public clips, else at least 0.68
CHANGE = 0.03  # mean absolute difference that a cut has at least: two black frames do not correlate either


def thumbnail(grey: np.ndarray) -> np.ndarray:
    """Return a grey picture (H, W) as a small one (16, 16) in [0, 1]; of a large one every n-th pixel is used."""
    step = (max(1, grey.shape[0] // (4 * SIDE)), max(1, grey.shape[1] // (4 * SIDE)))
    small = np.ascontiguousarray(grey[:: step[0], :: step[1]])
    return cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def is_cut(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether two thumbnails show different scenes."""
    return correlation(before, after) < CORRELATION and float(np.abs(before - after).mean()) > CHANGE


def correlation(before: np.ndarray, after: np.ndarray) -> float:
    """Return the correlation of two thumbnails, in [-1, 1]."""
    a, b = before - before.mean(), after - after.mean()
    return float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-6))


def part(grey: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """Return the thumbnail of what a box (4,) holds of a grey picture; None where that is next to nothing."""
    height, width = grey.shape
    x0, x1 = np.clip(box[[0, 2]], 0, width).astype(int)
    y0, y1 = np.clip(box[[1, 3]], 0, height).astype(int)
    return thumbnail(grey[y0:y1, x0:x1]) if min(x1 - x0, y1 - y0) >= SIDE // 2 else None


def find_cuts(frames: Sequence[int], thumbnails: Sequence[np.ndarray]) -> np.ndarray:
    """Return the frame numbers at which another scene begins than that of the frame before in the list."""
    pairs = zip(thumbnails, thumbnails[1:], frames[1:], strict=False)
    return np.array([frame for before, after, frame in pairs if is_cut(before, after)], int)
