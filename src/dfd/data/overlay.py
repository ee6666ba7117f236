"""Evidence drawn over the frames it is about, and pictures as data URLs."""

import base64
from collections.abc import Sequence

import cv2
import numpy as np

GAP, LINE = 8, 30  # pixels between pictures, and of a line of text
INK = (40, 40, 40)


def strip(frames: np.ndarray, maps: np.ndarray, side: int = 448) -> np.ndarray:
    """Draw frames (T, 3, S, S) uint8 in a row and, below, the same under their maps (T, h, w); RGB (3, H, W).

    Below each of several frames a bar shows its share of all evidence. A legend says what the colours mean.
    """
    shares = maps.reshape(len(maps), -1).sum(1) / max(float(maps.sum()), 1e-12)
    columns = [_column(frame, heat, side) for frame, heat in zip(frames, maps, strict=True)]
    if len(columns) > 1:
        columns = [np.concatenate([column, _bar(share, side)]) for column, share in zip(columns, shares, strict=True)]
    gap = np.full((columns[0].shape[0], GAP, 3), 255, np.uint8)
    row = np.concatenate([part for column in columns for part in (column, gap)][:-1], 1)
    return np.concatenate([row, _legend(row.shape[1], len(columns) > 1)]).transpose(2, 0, 1)


def captioned(picture: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """Return a picture (3, H, W) with a margin and lines of text above it, as (H, W, 3)."""
    image = picture.transpose(1, 2, 0)
    head = np.full((LINE * len(lines), image.shape[1], 3), 255, np.uint8)
    for number, line in enumerate(lines):
        _write(head, line, (0, LINE * number + 20))
    return np.pad(np.concatenate([head, image]), ((GAP, GAP), (GAP, GAP), (0, 0)), constant_values=255)


def _column(frame: np.ndarray, heat: np.ndarray, side: int) -> np.ndarray:
    picture = cv2.resize(np.ascontiguousarray(frame.transpose(1, 2, 0)), (side, side), interpolation=cv2.INTER_CUBIC)
    level = np.clip(cv2.resize(heat.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC), 0, 1)
    weight = 0.65 * level[..., None]
    under = (picture * (1 - weight) + _coloured(level) * weight).astype(np.uint8)
    return np.concatenate([picture, np.full((GAP, side, 3), 255, np.uint8), under])


def _coloured(level: np.ndarray) -> np.ndarray:
    """Return levels in [0, 1] as RGB colours."""
    return cv2.cvtColor(cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)


def _bar(share: float, side: int) -> np.ndarray:
    bar = np.full((GAP + 14, side, 3), 255, np.uint8)
    bar[GAP:] = 230
    bar[GAP:, : round(share * side)] = (200, 60, 40)
    return bar


def _legend(width: int, several: bool) -> np.ndarray:
    """Return the scale of the colours with words at its ends."""
    legend = np.full((GAP + 14 + LINE, width, 3), 255, np.uint8)
    scale = np.tile(np.linspace(0, 1, max(2, width // 3), dtype=np.float32), (14, 1))
    legend[GAP : GAP + 14, : scale.shape[1]] = _coloured(scale)
    words = 'none to strongest evidence for "fake"' + (", bar: share of a frame" if several else "")
    _write(legend, words, (0, GAP + 34))
    return legend


def _write(image: np.ndarray, text: str, place: tuple[int, int]) -> None:
    """Write a line, smaller where it would not fit."""
    ascii_text = text.encode("ascii", "replace").decode()
    (wide, _), _ = cv2.getTextSize(ascii_text, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)
    scale = 0.6 * min(1.0, image.shape[1] / max(wide, 1))
    cv2.putText(image, ascii_text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, INK, 1, cv2.LINE_AA)


def data_url(pixels: np.ndarray) -> str:
    """Return a picture (3, S, S) uint8 RGB as a JPEG data URL."""
    bgr = np.ascontiguousarray(pixels.transpose(1, 2, 0)[..., ::-1])
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def heat_url(values: np.ndarray) -> str:
    """Return a map (H, W) of non-negative values, from none to its largest, as a JPEG data URL."""
    scaled = np.rint(255 * values / max(float(values.max()), 1e-12)).astype(np.uint8)
    return data_url(cv2.applyColorMap(scaled, cv2.COLORMAP_INFERNO)[..., ::-1].transpose(2, 0, 1))
