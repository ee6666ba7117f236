"""One video or image to its face crops."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from dfd.core.errors import DfdError
from dfd.data.crops import CROP_BOX, FACE_BOX, LANDMARKS, Crops, Table
from dfd.data.video import probe, read_frames
from dfd.preprocess.faces import FaceDetector
from dfd.preprocess.tracks import interpolate, link, main_track

VERSION = 1  # of what this file does with a video: raise it when the crops change
NO_FACE, DECODE_ERROR, MISSING = "no_face", "decode_error", "missing_file"


class NoFace(DfdError):
    """No face was found with enough confidence."""


@dataclass(frozen=True)
class CropOptions:
    """How faces are cut.

    Kept are `groups` bursts of `length` consecutive frames, spread over the video (groups=0: every frame). The detector
    looks at `detections` frames spread alike; between them boxes are interpolated, up to `max_gap` seconds from one.
    A crop is the square of (1 + margin) times the longer side of the box, at its native resolution but at most `size`.
    """

    size: int = 256
    margin: float = 0.3
    groups: int = 8
    length: int = 4
    detections: int = 8
    min_confidence: float = 0.9
    max_gap: float = 1.0
    image_format: Literal["png", "jpg"] = "png"
    jpeg_quality: int = 95

    @property
    def hash(self) -> str:
        """Eight hex digits over everything that changes the crops."""
        return hashlib.sha256(json.dumps({"version": VERSION, **asdict(self)}).encode()).hexdigest()[:8]


def pick_frames(count: int, groups: int, length: int) -> np.ndarray:
    """Return the frames to keep of a video of `count` frames: bursts of `length` whose starts are evenly spread."""
    if groups == 0 or count <= length:
        return np.arange(count)
    starts = np.linspace(0, count - length, groups, dtype=int)
    return np.unique(starts[:, None] + np.arange(length))


def square(boxes: np.ndarray, margin: float) -> np.ndarray:
    """Return the squares (N, 4) around boxes (N, 4), larger by `margin` of the longer side."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) * (1 + margin) / 2
    return np.concatenate([centre - half, centre + half], 1)


def cut(image: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """Cut a square box out of an image; what lies outside repeats the border; shrink it to `size`, never enlarge it."""
    x0, y0 = np.floor(box[:2]).astype(int)
    side = max(1, round(float(box[2] - box[0])))
    height, width = image.shape[:2]
    left, top = max(0, -x0), max(0, -y0)
    right, bottom = max(0, x0 + side - width), max(0, y0 + side - height)
    if left or top or right or bottom:
        image = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_REPLICATE)
    crop = image[y0 + top : y0 + top + side, x0 + left : x0 + left + side]
    if side > size:
        return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(crop)


def crop_video(path: Path, options: CropOptions, detector: FaceDetector, original: Table | None = None) -> Crops:
    """Cut the main face out of a video, decoding it once.

    With `original`, the table of the video that a fake was made from, its boxes are used and nothing is detected, so
    that the pixels of the two correspond; where the two differ in length, frames beyond the original's are left out.
    """
    info = probe(path)
    if info.frames == 0:
        raise DfdError(f"{path} holds no frames")
    keep = pick_frames(info.frames, options.groups, options.length)
    if original is not None:
        keep = np.intersect1d(keep, original["frame"][original["valid"]])
        return _cut_like(path, keep, original, options.size)
    look = np.unique(np.linspace(0, info.frames - 1, max(1, options.detections), dtype=int))
    pictures = {index: (t, image) for index, t, image in read_frames(path, np.union1d(keep, look).tolist())}
    keep, look = (np.array([f for f in frames if f in pictures], int) for frames in (keep, look))
    if not len(look):
        raise DfdError(f"{path} holds no frame that can be decoded")
    found = detector.detect([pictures[frame][1] for frame in look])
    track = main_track(link(dict(zip(look.tolist(), found, strict=True)), options.min_confidence))
    if track is None:
        raise NoFace(f"no face with confidence {options.min_confidence} on {len(look)} frames of {path}")
    faces = interpolate(track, keep, options.max_gap * info.fps)
    table = _table(keep, np.array([pictures[f][0] for f in keep]), faces, options.margin)
    return Crops(table, _cut_all([pictures[f][1] for f in keep], table, options.size))


def crop_image(image: np.ndarray, options: CropOptions, detector: FaceDetector) -> Crops:
    """Cut the main face out of a single picture."""
    track = main_track(link({0: detector.detect([image])[0]}, options.min_confidence))
    if track is None:
        raise NoFace(f"no face with confidence {options.min_confidence} in this picture")
    table = _table(np.zeros(1, int), np.zeros(1), interpolate(track, np.zeros(1), 0), options.margin)
    return Crops(table, _cut_all([image], table, options.size))


def _cut_like(path: Path, keep: np.ndarray, original: Table, size: int) -> Crops:
    decoded = [(index, image) for index, _, image in read_frames(path, keep.tolist())]
    if not decoded:
        raise DfdError(f"{path} shares no frame with its original")
    rows = np.searchsorted(original["frame"], [index for index, _ in decoded])
    table = {name: column[rows] for name, column in original.items()}
    return Crops(table, _cut_all([image for _, image in decoded], table, size))


def _table(frames: np.ndarray, times: np.ndarray, faces: dict[str, np.ndarray], margin: float) -> Table:
    columns = {"frame": frames, "t": times, "valid": faces["valid"], "track": np.zeros(len(frames), int)}
    columns["confidence"] = faces["confidence"]
    columns |= dict(zip(FACE_BOX, faces["box"].T, strict=True))
    columns |= dict(zip(CROP_BOX, square(faces["box"], margin).T, strict=True))
    return columns | dict(zip(LANDMARKS, faces["landmarks"].reshape(-1, 10).T, strict=True))


def _cut_all(images: Sequence[np.ndarray], table: Table, size: int) -> dict[int, np.ndarray]:
    boxes = np.stack([table[name] for name in CROP_BOX], 1)
    return {row: cut(image, boxes[row], size) for row, image in enumerate(images) if table["valid"][row]}
