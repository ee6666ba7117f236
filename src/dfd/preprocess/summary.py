"""What tracking made of every video: who is in it, from when to when, how large and how surely."""

from typing import Any

import numpy as np

from dfd.core.manifest import Manifest
from dfd.data.crops import FACE_BOX
from dfd.data.readers import open_crops
from dfd.preprocess.pipeline import write_table
from dfd.preprocess.stages import Summary


def tracks(manifest: Manifest) -> list[dict[str, Any]]:
    """Return a row per face and video: seconds of its first and last frame, how often it is valid, size, confidence."""
    rows = []
    for record in manifest.records:
        with open_crops(manifest.folder, record.assets) as crops:
            table = crops.table
        boxes = np.stack([table[name] for name in FACE_BOX], 1)
        for track in np.unique(table["track"]):
            mine = table["track"] == track
            seen = mine & table["valid"]
            if not seen.any():
                continue
            rows.append(
                {
                    "video": record.id,
                    "track": int(track),
                    "first": float(table["t"][seen].min()),
                    "last": float(table["t"][seen].max()),
                    "seen": float(seen.sum() / mine.sum()),
                    "side": float((boxes[seen, 2] - boxes[seen, 0]).mean()),
                    "confidence": float(table["confidence"][seen].mean()),
                }
            )
    return rows


def write_tracks(summary: Summary) -> list[str]:
    """Write `tracks.parquet` beside the manifest."""
    path = summary.manifest.folder / "tracks.parquet"
    write_table(tracks(summary.manifest), path)
    return [f"tracks: {path}"]
