"""What an extractor is: a function of a stretch of frames, or of samples, that never depends on how a file was cut up.

A file is decoded once, whatever the number of extractors, and handed on in stretches with as much context at both
ends as an extractor asks for; beyond the ends of the file the first and the last frame are repeated, and sound is
silent. Extractors keep nothing from one stretch to the next, so a file of hours needs no more memory than a short one.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dfd.core.digest import sha256
from dfd.data.features import FeatureFacts
from dfd.data.video import Picture

FPS = 25.0  # of the frames that extractors look at, whatever the video's own rate
HERTZ = 16_000  # of the sound, one channel, in [-1, 1]


class Flow:
    """Optical flow: two RGB frames to (H, W, 2), how many pixels to go from the first to the second."""

    name: str
    identity: Mapping[str, Any]

    def __call__(self, one: np.ndarray, two: np.ndarray) -> np.ndarray:
        """Return the motion from one frame to the other."""
        raise NotImplementedError


class Frame:
    """One decoded frame; what is made of it is made once for all extractors and all stretches that it is in."""

    beyond = False  # whether it stands for what lies beyond the first or the last frame of the file

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._made: dict[Any, np.ndarray] = {}

    def repeated(self) -> "Frame":
        """Return this frame as it is shown beyond an end of the file."""
        frame = copy(self)  # with what was made of it
        frame.beyond = True
        return frame

    def rgb(self, side: int) -> np.ndarray:
        """Return the frame (H, W, 3) uint8, its shorter side resized to `side`: bilinearly, as published code does."""
        return self._once(("rgb", side), lambda: self._resized(side))

    def fitted(self, side: int) -> np.ndarray:
        """Return the whole frame squeezed into a square (side, side, 3), filtered."""
        return self._once(("fitted", side), lambda: self._squeezed(side))

    def flow_to(self, following: "Frame", side: int, flow: Flow) -> np.ndarray:
        """Return the optical flow to the following frame, both with a shorter side of `side`: (H, W, 2) in pixels."""
        if following._picture is self._picture:
            return np.zeros((*self.rgb(side).shape[:2], 2), np.float32)
        return self._once(("flow", side, flow.name), lambda: flow(self.rgb(side), following.rgb(side)))

    def _resized(self, side: int) -> np.ndarray:
        scale = side / min(self._picture.size)
        image = self._picture.rgb()
        if scale == 1:
            return image
        width, height = (max(side, round(length * scale)) for length in self._picture.size)
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)

    def _squeezed(self, side: int) -> np.ndarray:
        scale = side / min(self._picture.size)
        # a large frame is shrunk as it is converted; for a small one the two steps are quicker
        image = self._picture.shrunk(2 * scale) if scale < 1 / 4 else self._picture.rgb()
        exact = image.shape[:2] == (side, side)
        return image if exact else cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)

    def _once(self, key: Any, make: Callable[[], np.ndarray]) -> np.ndarray:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


class Extractor:
    """What every extractor has: `Looks` at pictures, or `Listens`.

    `streams` are what it makes, `identity` is all that decides their values (options, a version, the hash of weights).
    """

    streams: tuple[FeatureFacts, ...]
    identity: Mapping[str, Any]


class Looks(Extractor):
    """An extractor of pictures: it sees `before` and `after` frames of context, and makes a row for every `stride`."""

    before: int = 0
    after: int = 0
    stride: int = 1

    def look(self, frames: Sequence[Frame]) -> dict[str, np.ndarray]:
        """Turn before + n + after frames into n / stride rows (rounded up) of every stream."""
        raise NotImplementedError


class Listens(Extractor):
    """An extractor of sound: it hears some samples of context, and makes a row for every `hop`."""

    samples_before: int
    samples_after: int
    hop: int

    def listen(self, samples: np.ndarray) -> dict[str, np.ndarray]:
        """Turn before + n + after samples, n a multiple of the hop, into n / hop rows of every stream."""
        raise NotImplementedError


def middle(image: np.ndarray, side: int) -> np.ndarray:
    """Return the middle square of a picture that is at least as large."""
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return image[top : top + side, left : left + side]


def digest(identity: Mapping[str, Any]) -> str:
    """Return twelve hex digits over all that decides the values of features."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:12]


def file_digest(path: str | Path | None) -> str | None:
    """Return twelve hex digits over a file of weights; None where there is none."""
    if path is None:
        return None
    return sha256(Path(path).expanduser())[:12]
