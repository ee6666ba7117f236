"""A look at what was cut: one crop per video, the least certain faces first."""

from pathlib import Path

import cv2
import numpy as np

from dfd.core.manifest import Manifest
from dfd.data.crops import CropReader

TILE, TEXT = 128, 28


def contact_sheet(manifest: Manifest, path: Path, columns: int = 10, rows: int = 6) -> Path:
    """Write a PNG of the videos whose faces the detector was least certain of, with its confidence."""
    worst = sorted((_least_certain(manifest.folder / r.assets["crops"]), r.id) for r in manifest.records)
    assets = {record.id: record.assets["crops"] for record in manifest.records}
    tiles = [_tile(manifest.folder / assets[id], row, c, id) for (c, row), id in worst[: columns * rows]]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    lines = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(lines), cv2.COLOR_RGB2BGR))
    return path


def _least_certain(container: Path) -> tuple[float, int]:
    with CropReader(container) as crops:
        confidence = np.where(crops.table["valid"], crops.table["confidence"], np.inf)
        return float(confidence.min()), int(confidence.argmin())


def _tile(container: Path, row: int, confidence: float, name: str) -> np.ndarray:
    with CropReader(container) as crops:
        face = cv2.resize(crops.read([row])[0], (TILE, TILE), interpolation=cv2.INTER_AREA)
    label = np.full((TEXT, TILE, 3), 255, np.uint8)
    for line, text in enumerate((name[-20:], f"{confidence:.3f}")):
        cv2.putText(label, text, (2, 11 + 13 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([face, label])
