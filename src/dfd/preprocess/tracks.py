"""From detections on some frames to one face on every frame: tracks, the main one, interpolation. Pure NumPy."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dfd.preprocess.faces import Detections


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


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Return the intersection over union of two boxes."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    if (sides <= 0).any():
        return 0.0
    inner = float(sides.prod())
    return inner / (float((a[2:] - a[:2]).prod()) + float((b[2:] - b[:2]).prod()) - inner)


def link(detections: Mapping[int, Detections], confidence: float, overlap: float = 0.3) -> list[Track]:
    """Link detections into tracks: each to the track whose last box it overlaps most, or to a new one."""
    tracks: list[Track] = []
    for frame in sorted(detections):
        found = detections[frame]
        free = list(tracks)
        for face in np.argsort(-found.confidences):
            if found.confidences[face] < confidence:
                continue
            box = found.boxes[face]
            best = max(free, key=lambda track: iou(track.boxes[-1], box), default=None)
            if best is None or iou(best.boxes[-1], box) < overlap:
                best = Track()
                tracks.append(best)
            else:
                free.remove(best)
            best.add(frame, box, float(found.confidences[face]), found.landmarks[face])
    return tracks


def main_track(tracks: list[Track]) -> Track | None:
    """Return the track that covers most area over time: the largest face, seen most often."""

    def weight(track: Track) -> float:
        return float(sum((box[2] - box[0]) * (box[3] - box[1]) for box in track.boxes))

    return max(tracks, key=weight, default=None)


def interpolate(track: Track, frames: np.ndarray, reach: float) -> dict[str, np.ndarray]:
    """Return box (N, 4), landmarks (N, 5, 2), confidence (N,) and validity (N,) on any frames.

    Between sightings everything is linear; before the first and after the last it stays as it was. A frame further
    than `reach` frames from every sighting is not valid.
    """
    at = np.asarray(track.frames, float)
    flat = np.concatenate([np.stack(track.boxes), np.stack(track.landmarks).reshape(len(at), 10)], 1)
    flat = np.concatenate([flat, np.asarray(track.confidences)[:, None]], 1)
    values = np.stack([np.interp(frames, at, column) for column in flat.T], 1)
    distance = np.abs(frames[:, None] - at[None]).min(1)
    return {
        "box": values[:, :4],
        "landmarks": values[:, 4:14].reshape(-1, 5, 2),
        "confidence": values[:, 14],
        "valid": distance <= reach,
    }
