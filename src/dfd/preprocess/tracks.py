"""From detections on some frames to faces on every frame: tracks, the main ones, interpolation. Pure NumPy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from dfd.preprocess.faces import Detections

Main = Literal["largest", "central"]


@dataclass(eq=False)
class Track:
    """One face over time: frame numbers with its box (4,), confidence and landmarks (5, 2) on each."""

    frames: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    landmarks: list[np.ndarray] = field(default_factory=list)

    def add(self, frame: int, box: np.ndarray, confidence: float, landmarks: np.ndarray) -> None:
        """Append one sighting."""
        self.frames.append(frame)
        self.boxes.append(box)
        self.confidences.append(confidence)
        self.landmarks.append(landmarks)


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the intersection over union (A, B) of boxes (A, 4) and (B, 4)."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    inner = np.clip(sides, 0, None).prod(-1)
    areas = (a[:, 2:] - a[:, :2]).prod(-1)[:, None] + (b[:, 2:] - b[:, :2]).prod(-1)
    return inner / np.maximum(areas - inner, 1e-9)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Return the intersection over union of two boxes."""
    return float(overlaps(np.asarray(a, float)[None], np.asarray(b, float)[None])[0, 0])


def link(detections: Mapping[int, Detections], confidence: float, overlap: float = 0.3) -> list[Track]:
    """Link detections into tracks, each frame's as a whole so that two people cannot swap.

    Boxes are compared at twice their size, since heads move between two looks. A track stays open for the whole video:
    who turns away and comes back to the same place is the same person.
    """
    tracks: list[Track] = []
    for frame in sorted(detections):
        found = detections[frame]
        faces = np.flatnonzero(found.confidences >= confidence)
        if not len(faces):
            continue
        partner: dict[int, Track] = {}
        if tracks:
            last = np.stack([track.boxes[-1] for track in tracks])
            likeness = overlaps(_doubled(found.boxes[faces]), _doubled(last))
            rows, columns = linear_sum_assignment(-likeness)
            partner = {r: tracks[c] for r, c in zip(rows, columns, strict=True) if likeness[r, c] >= overlap}
        for row, face in enumerate(faces):
            track = partner.get(row)
            if track is None:
                track = Track()
                tracks.append(track)
            track.add(frame, found.boxes[face], float(found.confidences[face]), found.landmarks[face])
    return tracks


def main_tracks(tracks: Sequence[Track], size: tuple[int, int], count: int = 1, main: Main = "largest") -> list[Track]:
    """Return the `count` tracks that cover most area over time, the main one first.

    "central" weighs a face less the further it is from the middle of the picture of `size` (width, height).
    """

    def weight(track: Track) -> float:
        boxes = np.stack(track.boxes)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        if main == "central":
            off = ((boxes[:, :2] + boxes[:, 2:]) / 2 / size - 0.5) * 2
            area = area * np.exp(-2 * (off**2).sum(1))
        return float(area.sum())

    return sorted(tracks, key=weight, reverse=True)[:count]


def interpolate(track: Track, frames: np.ndarray, reach: float) -> dict[str, np.ndarray]:
    """Return box (N, 4), landmarks (N, 5, 2), confidence (N,) and validity (N,) on any frames.

    Between sightings everything is linear; before the first and after the last it stays as it was. A frame further
    than `reach` frames from every sighting is not valid.
    """
    at = np.asarray(track.frames, float)
    flat = np.concatenate([np.stack(track.boxes), np.stack(track.landmarks).reshape(len(at), 10)], 1)
    flat = np.concatenate([flat, np.asarray(track.confidences)[:, None]], 1)
    values = np.stack([np.interp(frames, at, column) for column in flat.T], 1)
    after = np.searchsorted(at, frames).clip(0, len(at) - 1)
    distance = np.minimum(np.abs(frames - at[after]), np.abs(frames - at[np.maximum(after - 1, 0)]))
    return {
        "box": values[:, :4],
        "landmarks": values[:, 4:14].reshape(-1, 5, 2),
        "confidence": values[:, 14],
        "valid": distance <= reach,
    }


def _doubled(boxes: np.ndarray) -> np.ndarray:
    margin = (boxes[:, 2:] - boxes[:, :2]) / 2
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], 1)
