"""Evidence drawn over the frames it is about, and pictures as data URLs."""

import base64

import cv2
import numpy as np

GAP = 4


def strip(frames: np.ndarray, maps: np.ndarray, side: int = 224) -> np.ndarray:
    """Draw frames (T, 3, S, S) uint8 in a row and, below, the same under their maps (T, h, w); RGB (3, H, W).

    Below each of several frames a bar shows its share of all evidence.
    """
    shares = maps.reshape(len(maps), -1).sum(1) / max(float(maps.sum()), 1e-12)
    columns = [_column(frame, heat, side) for frame, heat in zip(frames, maps, strict=True)]
    if len(columns) > 1:
        columns = [np.concatenate([column, _bar(share, side)]) for column, share in zip(columns, shares, strict=True)]
    gap = np.full((columns[0].shape[0], GAP, 3), 255, np.uint8)
    row = np.concatenate([part for column in columns for part in (column, gap)][:-1], 1)
    return row.transpose(2, 0, 1)


def _column(frame: np.ndarray, heat: np.ndarray, side: int) -> np.ndarray:
    picture = cv2.resize(np.ascontiguousarray(frame.transpose(1, 2, 0)), (side, side), interpolation=cv2.INTER_CUBIC)
    level = np.clip(cv2.resize(heat.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC), 0, 1)
    colour = cv2.cvtColor(cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    weight = 0.65 * level[..., None]
    under = (picture * (1 - weight) + colour * weight).astype(np.uint8)
    return np.concatenate([picture, np.full((GAP, side, 3), 255, np.uint8), under])


def _bar(share: float, side: int) -> np.ndarray:
    bar = np.full((GAP + 10, side, 3), 255, np.uint8)
    bar[GAP:] = 230
    bar[GAP:, : round(share * side)] = (200, 60, 40)
    return bar


def data_url(pixels: np.ndarray) -> str:
    """Return a picture (3, S, S) uint8 RGB as a JPEG data URL."""
    bgr = np.ascontiguousarray(pixels.transpose(1, 2, 0)[..., ::-1])
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def heat_url(values: np.ndarray) -> str:
    """Return a map (H, W) of non-negative values, from none to its largest, as a JPEG data URL."""
    scaled = np.rint(255 * values / max(float(values.max()), 1e-12)).astype(np.uint8)
    return data_url(cv2.applyColorMap(scaled, cv2.COLORMAP_INFERNO)[..., ::-1].transpose(2, 0, 1))
