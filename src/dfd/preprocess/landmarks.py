"""Five points on every stored crop, seen there and not interpolated between the detector's looks."""

import functools
from pathlib import Path

import numpy as np

from dfd.data.align import square
from dfd.data.crops import CROP_BOX, FACE_BOX, CropReader
from dfd.preprocess.mtcnn import Cascade
from dfd.preprocess.stages import Task


def write_landmarks(task: Task) -> None:
    """Write an array (rows, 5, 2) of a video's crops, in pixels of its frames, NaN where the face is not seen."""
    np.save(task.target, points_of(task.asset("crops"), _cascade(task.device)).astype(np.float32))


def points_of(container: Path, cascade: Cascade) -> np.ndarray:
    """Show the last network of the cascade the face of every crop; return points (rows, 5, 2) in frame pixels."""
    with CropReader(container) as crops:
        table = crops.table
        rows = np.flatnonzero(table["valid"])
        images = crops.read(rows)
    faces = square(np.stack([table[name][rows] for name in FACE_BOX], 1), 0.0)
    stored = np.stack([table[name][rows] for name in CROP_BOX], 1)
    scale = np.array([image.shape[0] for image in images]) / (stored[:, 2] - stored[:, 0])
    inside = (faces - np.tile(stored[:, :2], 2)) * scale[:, None]
    found = cascade.look(images, np.arange(len(rows)), inside)
    points = np.full((len(table["frame"]), 5, 2), np.nan)
    seen = found.image
    points[rows[seen]] = found.landmarks / scale[seen, None, None] + stored[seen, None, :2]
    return points


@functools.cache
def _cascade(device: str) -> Cascade:
    return Cascade(device)
