"""Face detection behind a small interface: MTCNN of facenet-pytorch, in batches, at the size that the faces need."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from facenet_pytorch import MTCNN


class Detections(NamedTuple):
    """The faces of one image: boxes (F, 4) as x0 y0 x1 y1, confidences (F,), landmarks (F, 5, 2), in its pixels."""

    boxes: np.ndarray
    confidences: np.ndarray
    landmarks: np.ndarray


NONE = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2)))


class FaceDetector(Protocol):
    """Anything that finds faces in RGB uint8 images of one size."""

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Return the faces of each image."""


class MtcnnDetector:
    """MTCNN (Zhang et al. 2016) with the weights that come in facenet-pytorch's package.

    Its cost is the image pyramid: images are shrunk to `long_side`, and faces below `smallest` of the short side are
    not looked for.
    """

    def __init__(self, device: str = "cpu", long_side: int = 640, smallest: float = 0.08, batch: int = 16) -> None:
        self.network = MTCNN(keep_all=True, device=device)
        self.long_side, self.smallest, self.batch = long_side, smallest, batch

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Return the faces of each image; images must be of one size."""
        if not images:
            return []
        height, width = images[0].shape[:2]
        scale = min(1.0, self.long_side / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        if min(size) < 24:
            return [NONE] * len(images)
        self.network.min_face_size = max(20, int(min(size) * self.smallest))
        small = [image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]
        back = np.array([width / size[0], height / size[1]])
        found: list[Detections] = []
        for start in range(0, len(small), self.batch):
            found += self._detect(np.stack(small[start : start + self.batch]), back)
        return found

    def _detect(self, images: np.ndarray, back: np.ndarray) -> list[Detections]:
        boxes, confidences, landmarks = self.network.detect(images, landmarks=True)
        return [
            NONE
            if box is None
            else Detections(
                np.asarray(box, np.float64) * np.tile(back, 2),
                np.asarray(confidence, np.float64),
                np.asarray(points, np.float64) * back,
            )
            for box, confidence, points in zip(boxes, confidences, landmarks, strict=True)
        ]
