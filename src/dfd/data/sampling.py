"""Which rows of a frame table become views: pure functions of frame numbers, validity and a random generator."""

from typing import Literal

import numpy as np

from dfd.core.errors import DfdError

Sampling = Literal["even", "official"]


def windows(frames: np.ndarray, valid: np.ndarray, length: int, stride: int = 1) -> np.ndarray:
    """Return every run of `length` valid rows whose frame numbers lie exactly `stride` apart, as rows (W, length)."""
    position = {int(frame): row for row, frame in enumerate(frames) if valid[row]}
    runs = [[position.get(int(start) + stride * step, -1) for step in range(length)] for start in position]
    table = np.array(runs, dtype=np.int64).reshape(-1, length)
    return table[(table >= 0).all(1)]


def spread(count: int, wanted: int) -> np.ndarray:
    """Return `wanted` positions (or as many as there are) spread evenly over `count`, first and last included."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).astype(np.int64))


def draw(count: int, wanted: int, generator: np.random.Generator) -> np.ndarray:
    """Return `wanted` sorted random positions out of `count`, one from each equal segment where there are enough."""
    if count < wanted:
        return np.sort(generator.integers(0, count, wanted))
    edges = np.linspace(0, count, wanted + 1)
    return np.floor(generator.uniform(edges[:-1], edges[1:])).astype(np.int64)


def choose(
    frames: np.ndarray,
    valid: np.ndarray,
    views: int,
    length: int = 1,
    stride: int = 1,
    generator: np.random.Generator | None = None,
) -> np.ndarray:
    """Choose views of one video as rows (views, length): random ones with a generator, evenly spread ones without."""
    candidates = windows(frames, valid, length, stride)
    if not len(candidates):
        candidates = _wrapped(frames, valid, length, stride)
    if generator is None:
        return candidates[spread(len(candidates), views)]
    return candidates[draw(len(candidates), views, generator)]


def _wrapped(frames: np.ndarray, valid: np.ndarray, length: int, stride: int) -> np.ndarray:
    """Go round the valid rows of a video that is too short or has too many holes for one whole clip."""
    if not valid.any():
        raise DfdError("no valid frame in this video: no face was found in it")
    if len(frames) > length and not len(windows(frames, np.ones_like(valid), length, stride)):
        need = (length - 1) * stride + 1
        raise DfdError(
            f"the stored crops hold no {length} frames {stride} apart: preprocess with data.crops.length={need}"
        )
    return np.resize(np.flatnonzero(valid), (1, length))


def official_starts(
    count: int, clips: int, length: int, stride: int = 1, generator: np.random.Generator | None = None
) -> np.ndarray:
    """Return the first frames of TALL's clips as its code draws them: one from each segment, or a fixed grid."""
    spare = count - length * stride
    if generator is None:
        return np.linspace(0, max(0, spare), clips, dtype=np.int64)
    segment = max(0, spare) // clips
    if segment:
        return np.arange(clips) * segment + generator.integers(0, segment, clips)
    return generator.integers(0, max(1, spare), clips)


def official(
    valid: np.ndarray,
    clips: int,
    length: int,
    stride: int = 1,
    generator: np.random.Generator | None = None,
) -> np.ndarray:
    """Choose clips (clips, length) as TALL's code does: missed frames are closed up, ends wrap to the beginning."""
    rows = np.flatnonzero(valid)
    if not len(rows):
        raise DfdError("no valid frame in this video: no face was found in it")
    starts = official_starts(len(rows), clips, length, stride, generator)
    return rows[(starts[:, None] + np.arange(length) * stride) % len(rows)]


def sliding(count: int, length: int, stride: int, first_only: bool = False) -> np.ndarray:
    """Return where windows of `length` begin so that all of `count` steps are seen; the last ends with the clip.

    `first_only` is what the published code does: nothing beyond the first window counts.
    """
    if count <= length or first_only:
        return np.zeros(1, int)
    return np.unique(np.append(np.arange(0, count - length + 1, stride), count - length))
