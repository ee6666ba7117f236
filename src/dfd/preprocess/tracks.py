"""From detections on some frames to faces on every kept frame: tracks, the main ones, interpolation. Pure NumPy.

A *look* is a frame on which the detector was run. A track holds the looks that found one person. A frame between two
looks shows that person's face only if both looks found it and no scene cut lies between them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from dfd.preprocess.appearance import ALIKE, SURE, cosine
from dfd.preprocess.faces import Detections

Main = Literal["largest", "central"]

OVERLAP = 0.3  # of boxes at twice their size, since heads move between two looks
WEAK = 0.7  # confidence at which a face that is known goes on; a new one needs `min_confidence`
MOVED = 0.5  # overlap of a face with itself on two looks below which there is a look between them
MEMORY = 5  # of a track's looks that a new face is compared with
FORBIDDEN = -1e6
NO_CUTS = np.zeros(0, int)


@dataclass(eq=False)
class Track:
    """One person over time: frame numbers with box (4,), confidence, landmarks (5, 2) and appearance on each."""

    frames: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    landmarks: list[np.ndarray] = field(default_factory=list)
    appearances: list[np.ndarray] = field(default_factory=list)

    def add(self, frame: int, found: Detections, face: int) -> None:
        """Append what a look found."""
        self.frames.append(frame)
        self.boxes.append(found.boxes[face])
        self.confidences.append(float(found.confidences[face]))
        self.landmarks.append(found.landmarks[face])
        if found.appearance is not None:
            self.appearances.append(found.appearance[face])

    def predicted(self, frame: int) -> np.ndarray:
        """Return the box on a later frame, going on as before for at most as long as that motion was watched."""
        first = max(0, len(self.frames) - MEMORY)
        watched = self.frames[-1] - self.frames[first]
        if not watched:
            return self.boxes[-1]
        ahead = min(frame - self.frames[-1], watched)
        return self.boxes[-1] + (self.boxes[-1] - self.boxes[first]) * (ahead / watched)

    def likeness(self, found: Detections, face: int) -> float | None:
        """Return how alike a face is to the latest looks of this track; None where appearance is not known."""
        if found.appearance is None or not self.appearances:
            return None
        return max(cosine(known, found.appearance[face]) for known in self.appearances[-MEMORY:])


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the intersection over union (A, B) of boxes (A, 4) and (B, 4)."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    inner = np.clip(sides, 0, None).prod(-1)
    areas = (a[:, 2:] - a[:, :2]).prod(-1)[:, None] + (b[:, 2:] - b[:, :2]).prod(-1)
    return inner / np.maximum(areas - inner, 1e-9)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Return the intersection over union of two boxes."""
    return float(overlaps(np.asarray(a, float)[None], np.asarray(b, float)[None])[0, 0])


def link(detections: Mapping[int, Detections], confidence: float, cuts: np.ndarray = NO_CUTS) -> list[Track]:
    """Link the faces of all looks into tracks, each look's as a whole so that two people cannot swap.

    A face goes on with a track by place; by appearance too where several people could be meant; and by appearance
    alone where it moved far. After a scene cut it has to look surely the same at about the same place. A track stays
    open for the whole video: whoever turns away and comes back is the same person.
    """
    tracks: list[Track] = []
    for frame in sorted(detections):
        found = detections[frame]
        sure = np.flatnonzero(found.confidences >= confidence)
        weak = np.flatnonzero((found.confidences >= min(WEAK, confidence)) & (found.confidences < confidence))
        left = _go_on(tracks, frame, found, sure, cuts)
        waiting = [track for track in tracks if track.frames[-1] != frame]
        _go_on(waiting, frame, found, weak, cuts)
        for face in left:
            track = Track()
            track.add(frame, found, face)
            tracks.append(track)
    return tracks


def main_tracks(
    tracks: Sequence[Track],
    size: tuple[int, int],
    count: int = 1,
    main: Main = "largest",
    looks: Sequence[int] | None = None,
) -> list[Track]:
    """Return the tracks that cover most area over time, the main one first.

    Args:
        tracks: all tracks of a video.
        size: width and height of the picture.
        count: how many to return.
        main: "central" weighs a face less the further it is from the middle of the picture.
        looks: every frame that was looked at, each of which counts for the time around it; None: all count alike.
    """
    times = np.asarray(looks if looks is not None else sorted({frame for track in tracks for frame in track.frames}))
    spans = np.gradient(times.astype(float)) if looks is not None and len(times) > 1 else np.ones(len(times))

    def weight(track: Track) -> float:
        boxes = np.stack(track.boxes)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        if main == "central":
            off = ((boxes[:, :2] + boxes[:, 2:]) / 2 / size - 0.5) * 2
            area = area * np.exp(-2 * (off**2).sum(1))
        return float((area * spans[np.searchsorted(times, track.frames)]).sum())

    return sorted(tracks, key=weight, reverse=True)[:count]


def unsettled(
    tracks: Sequence[Track], looks: Sequence[int] | np.ndarray, kept: np.ndarray, cuts: np.ndarray = NO_CUTS
) -> list[int]:
    """Return the kept frames to look at next, between two looks that disagree about a track.

    They disagree where only one of them found it, where it moved by more than half its box, or where a scene cut lies
    between them. Halving the distance each time ends at neighbouring frames.
    """
    looks = np.asarray(looks)
    seen = [dict(zip(track.frames, track.boxes, strict=True)) for track in tracks]
    wanted = {int(end) for end in (kept[0], kept[-1]) if end not in looks}
    for before, after in pairwise(looks.tolist()):
        between = kept[(kept > before) & (kept < after)]
        if not len(between):
            continue
        here = cuts[(cuts > before) & (cuts <= after)]
        if len(here):
            at = int(np.searchsorted(between, here[0]))
            wanted |= {int(frame) for frame in between[max(0, at - 1) : at + 1]}
        elif any(_disagree(boxes, before, after) for boxes in seen):
            wanted.add(int(between[len(between) // 2]))
    return sorted(wanted)


def interpolate(
    track: Track,
    frames: np.ndarray,
    reach: float,
    looks: Sequence[int] | np.ndarray | None = None,
    cuts: np.ndarray = NO_CUTS,
) -> dict[str, np.ndarray]:
    """Return box (N, 4), landmarks (N, 5, 2), confidence (N,), validity (N,) and whether a look found it (N,).

    A frame that was looked at is valid if the face was found on it. Another one is valid if the looks before and after
    it found the face within `reach` frames of it, without a scene cut between them; its values are interpolated.

    Args:
        track: the person.
        frames: frame numbers, sorted.
        reach: largest distance in frames from the nearest look.
        looks: every frame that was looked at; None: those of the track.
        cuts: frames at which another scene begins.
    """
    at = np.asarray(track.frames, float)
    flat = np.concatenate([np.stack(track.boxes), np.stack(track.landmarks).reshape(len(at), 10)], 1)
    flat = np.concatenate([flat, np.asarray(track.confidences)[:, None]], 1)
    values = np.stack([np.interp(frames, at, column) for column in flat.T], 1)
    detected = np.isin(frames, at)
    valid = detected | _between(at, frames, np.sort(at if looks is None else np.asarray(looks, float)), reach, cuts)
    return {
        "box": values[:, :4],
        "landmarks": values[:, 4:14].reshape(-1, 5, 2),
        "confidence": np.where(valid, values[:, 14], 0.0),
        "valid": valid,
        "detected": detected,
    }


def _between(at: np.ndarray, frames: np.ndarray, looks: np.ndarray, reach: float, cuts: np.ndarray) -> np.ndarray:
    """Return which frames lie between two looks that both found the face, in one scene and near enough."""
    place = np.searchsorted(looks, frames)  # of the first look that is not before a frame
    inside = (place > 0) & (place < len(looks)) & ~np.isin(frames, looks)
    before, after = looks[np.maximum(place - 1, 0)], looks[np.minimum(place, len(looks) - 1)]
    both = np.isin(before, at) & np.isin(after, at)
    one_scene = np.searchsorted(cuts, before, side="right") == np.searchsorted(cuts, after, side="right")
    return inside & both & one_scene & (np.minimum(frames - before, after - frames) <= reach)


def _go_on(tracks: Sequence[Track], frame: int, found: Detections, faces: np.ndarray, cuts: np.ndarray) -> list[int]:
    """Add faces to the tracks they belong to; return those that belong to none."""
    if not len(faces) or not tracks:
        return faces.tolist()
    score = _scores(tracks, frame, found, faces, cuts)
    rows, columns = linear_sum_assignment(-score)
    taken = {int(faces[r]): tracks[c] for r, c in zip(rows, columns, strict=True) if score[r, c] > FORBIDDEN}
    for face, track in taken.items():
        track.add(frame, found, face)
    return [int(face) for face in faces if int(face) not in taken]


def _scores(tracks: Sequence[Track], frame: int, found: Detections, faces: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Return how well faces (rows) go on with tracks (columns), FORBIDDEN where they cannot."""
    boxes, last = found.boxes[faces], np.stack([track.boxes[-1] for track in tracks])
    place = overlaps(_doubled(boxes), _doubled(np.stack([track.predicted(frame) for track in tracks])))
    near = np.maximum(place, overlaps(_doubled(boxes), _doubled(last))) >= OVERLAP
    rivals = (near.sum(1, keepdims=True) > 1) | (near.sum(0, keepdims=True) > 1)
    score = np.full(place.shape, FORBIDDEN)
    for row, face in enumerate(faces):
        for column, track in enumerate(tracks):
            alike = track.likeness(found, face)
            cut = bool(((cuts > track.frames[-1]) & (cuts <= frame)).any())
            if _may_be(bool(near[row, column]), bool(rivals[row, column]), cut, alike):
                # appearance weighs more than place: two people who cross are at each other's place
                score[row, column] = 2 * place[row, column] + 5 * (alike or 0.0)
    return score


def _may_be(near: bool, rivals: bool, cut: bool, alike: float | None) -> bool:
    if alike is None:
        return near and not cut
    if cut:
        return near and alike >= SURE
    if near:
        return alike >= (ALIKE if rivals else 0.6)
    return alike >= SURE


def _disagree(boxes: Mapping[int, np.ndarray], before: int, after: int) -> bool:
    if (before in boxes) != (after in boxes):
        return True
    return before in boxes and iou(boxes[before], boxes[after]) < MOVED


def _doubled(boxes: np.ndarray) -> np.ndarray:
    margin = (boxes[:, 2:] - boxes[:, :2]) / 2
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], 1)
