"""Face detection behind a small interface: MTCNN, in batches over frames and videos, at the size that faces need."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import cv2
import numpy as np


class Detections(NamedTuple):
    """The faces of one image: boxes (F, 4) as x0 y0 x1 y1, confidences (F,), landmarks (F, 5, 2), in its pixels.

    `appearance` (F, D) is what tells people apart, where it was computed.
    """

    boxes: np.ndarray
    confidences: np.ndarray
    landmarks: np.ndarray
    appearance: np.ndarray | None = None

    def scaled(self, factor: float) -> "Detections":
        """Return the same faces in the pixels of an image `factor` times as large."""
        return self._replace(boxes=self.boxes * factor, landmarks=self.landmarks * factor)


NONE = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2)))


class FaceDetector(Protocol):
    """Anything that finds faces in RGB uint8 images."""

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Return the faces of each image."""


def detection_scale(width: int, height: int) -> float:
    """Return how much to resize an image before its faces are looked for: small ones grow, large ones shrink."""
    long_side = max(width, height)
    if long_side < 300:
        return 2.0
    if long_side <= 1000:
        return 1.0
    return 0.5 if long_side <= 1900 else min(1 / 3, 640 / long_side)


class MtcnnDetector:
    """MTCNN with facenet-pytorch's weights; faces below `smallest` of the short side are
    not looked for."""

    def __init__(self, device: str = "cpu", smallest: float = 0.08, batch: int = 16) -> None:
        from dfd.preprocess.mtcnn import Cascade

        self.cascade = Cascade(device)
        self.smallest, self.batch = smallest, batch

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Return the faces of each image; only images of one size share a batch."""
        scales = [detection_scale(image.shape[1], image.shape[0]) for image in images]
        small = [_resized(image, scale) for image, scale in zip(images, scales, strict=True)]
        found = [NONE] * len(images)
        of_size: dict[tuple[int, ...], list[int]] = {}
        for position, image in enumerate(small):
            of_size.setdefault(image.shape[:2], []).append(position)
        for size, alike in of_size.items():
            for start in range(0, len(alike), self.batch):
                chosen = alike[start : start + self.batch]
                for position, faces in zip(chosen, self._detect([small[i] for i in chosen], min(size)), strict=True):
                    found[position] = faces.scaled(1 / scales[position])
        return found

    def _detect(self, images: list[np.ndarray], short_side: int) -> list[Detections]:
        found = self.cascade(images, max(20.0, self.smallest * short_side))
        of_image = [np.flatnonzero(found.image == position) for position in range(len(images))]
        return [Detections(found.box[rows], found.confidence[rows], found.landmarks[rows]) for rows in of_image]


def _resized(image: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
