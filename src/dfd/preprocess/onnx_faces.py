"""Face detectors whose networks come as ONNX files: YuNet, SCRFD and RetinaFace, decoded from their raw outputs.

YuNet (Wu et al., 2023; OpenCV's zoo), SCRFD (Guo et al., ICLR 2022; InsightFace), RetinaFace (Deng et al., CVPR 2020).
All answer for the cells of three grids, of 8, 16 and 32 pixels. Written here from the descriptions of their outputs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dfd.core.errors import DfdError
from dfd.core.graphs import open_graph
from dfd.preprocess.faces import NONE, Detections
from dfd.preprocess.mtcnn import nms

STRIDES = (8, 16, 32)
LONG = 640  # pixels of the longer side that a network is shown
FLOOR = 0.5  # confidence below which nothing is kept
OVERLAP = 0.4  # of two boxes of one face
Decoded = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes (N, 4), confidences (N,), points (N, 5, 2)


class OnnxDetector:
    """What the three have in common: the session, the picture's size, suppression."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        refusal = f"{path} cannot be read as an ONNX graph: {{why}}"
        # one thread: several processes look for faces
        self.session = open_graph(path, "this face detector is", refusal, 1, device.startswith("cuda"))
        self.path = path
        given = self.session.get_inputs()[0]
        self.name = given.name
        height, width = given.shape[2:]
        self.fixed = (int(height), int(width)) if isinstance(height, int) and isinstance(width, int) else None

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Return the faces of each RGB image."""
        return [self._of_one(image) for image in images]

    def blob(self, canvas: np.ndarray) -> np.ndarray:
        """Return what the network is given for an RGB picture (H, W, 3)."""
        raise NotImplementedError

    def decode(self, outputs: list[np.ndarray], height: int, width: int) -> Decoded:
        """Return boxes, confidences and points in the pixels of the canvas."""
        raise NotImplementedError

    def _of_one(self, image: np.ndarray) -> Detections:
        canvas, scale = self._fitted(image)
        blob = np.ascontiguousarray(self.blob(canvas).transpose(2, 0, 1)[None], np.float32)
        outputs = self.session.run(None, {self.name: blob})
        try:
            boxes, confidences, points = self.decode(outputs, *canvas.shape[:2])
        except (ValueError, IndexError, KeyError) as error:
            shapes = ", ".join(str(tuple(output.shape)) for output in outputs)
            raise DfdError(f"{self.path} answers otherwise than {type(self).__name__} does: {shapes}") from error
        sure = confidences >= FLOOR
        boxes, confidences, points = boxes[sure], confidences[sure], points[sure]
        kept = nms(boxes, confidences, np.zeros(len(boxes), int), OVERLAP)
        found = Detections(boxes[kept], confidences[kept], points[kept]) if len(kept) else NONE
        return found.scaled(1 / scale)

    def _fitted(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """Return a picture at the upper left of a canvas that the network takes, and how much it was resized."""
        height, width = image.shape[:2]
        room = self.fixed or (LONG, LONG)
        scale = min(room[0] / height, room[1] / width, np.inf if self.fixed else 1.0)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = image if scale == 1 else cv2.resize(image, size, interpolation=how)
        high, wide = self.fixed or (-(-small.shape[0] // 32) * 32, -(-small.shape[1] // 32) * 32)
        canvas = np.zeros((high, wide, 3), np.uint8)
        canvas[: small.shape[0], : small.shape[1]] = small
        return canvas, scale


class YuNet(OnnxDetector):
    """OpenCV's YuNet (`face_detection_yunet_*.onnx`): twelve outputs, named by kind and stride."""

    def blob(self, canvas: np.ndarray) -> np.ndarray:
        """Return BGR from 0 to 255."""
        return canvas[..., ::-1]

    def decode(self, outputs: list[np.ndarray], height: int, width: int) -> Decoded:
        """Return faces: centres and points count from their cell, sides are exponentials, all in strides."""
        named = dict(zip((output.name for output in self.session.get_outputs()), outputs, strict=True))
        found = []
        for stride in STRIDES:
            cell = cells(height, width, stride)
            cls, present, box, points = (
                named[f"{kind}_{stride}"].reshape(len(cell), -1) for kind in ("cls", "obj", "bbox", "kps")
            )
            middle, sides = (cell + box[:, :2]) * stride, np.exp(box[:, 2:]) * stride
            boxes = np.concatenate([middle - sides / 2, middle + sides / 2], 1)
            confidence = np.sqrt(cls[:, 0].clip(0, 1) * present[:, 0].clip(0, 1))
            found.append((boxes, confidence, (points.reshape(-1, 5, 2) + cell[:, None]) * stride))
        return _joined(found)


class Scrfd(OnnxDetector):
    """InsightFace's SCRFD with points (`det_10g.onnx`): three outputs of each kind, two anchors in every cell."""

    def blob(self, canvas: np.ndarray) -> np.ndarray:
        """Return RGB about from -1 to 1."""
        return (canvas.astype(np.float32) - 127.5) / 128

    def decode(self, outputs: list[np.ndarray], height: int, width: int) -> Decoded:
        """Return faces: edges and points are distances from their cell's corner, in strides."""
        if len(outputs) != 9:
            raise ValueError
        found = []
        for level, stride in enumerate(STRIDES):
            cell = np.repeat(cells(height, width, stride), 2, 0) * stride
            score, box, points = (outputs[level + kind].reshape(len(cell), -1) for kind in (0, 3, 6))
            reach = box * stride
            boxes = np.concatenate([cell - reach[:, :2], cell + reach[:, 2:]], 1)
            found.append((boxes, score[:, 0], cell[:, None] + points.reshape(-1, 5, 2) * stride))
        return _joined(found)


class RetinaFace(OnnxDetector):
    """RetinaFace as biubug6's code exports it: boxes (4), classes (2) and points (10) of two anchors in every cell."""

    anchors = ((16, 32), (64, 128), (256, 512))
    variances = (0.1, 0.2)

    def blob(self, canvas: np.ndarray) -> np.ndarray:
        """Return BGR less the mean of ImageNet."""
        return canvas[..., ::-1].astype(np.float32) - np.array((104, 117, 123), np.float32)

    def decode(self, outputs: list[np.ndarray], height: int, width: int) -> Decoded:
        """Return faces: centres and points are shifts of their anchor's, sides exponentials, scaled by variances."""
        by_width = {output.shape[-1]: output.reshape(-1, output.shape[-1]) for output in outputs}
        box, classes, points = by_width[4], by_width[2], by_width[10]
        middle = np.concatenate([np.repeat(cells(height, width, s) + 0.5, 2, 0) * s for s in STRIDES])
        counts = [len(cells(height, width, stride)) for stride in STRIDES]
        sides_of = [np.tile(sizes, count) for sizes, count in zip(self.anchors, counts, strict=True)]
        side = np.concatenate(sides_of)[:, None]
        shift, growth = self.variances
        centre, sides = middle + box[:, :2] * shift * side, side * np.exp(box[:, 2:] * growth)
        boxes = np.concatenate([centre - sides / 2, centre + sides / 2], 1)
        if not np.allclose(classes.sum(1), 1, atol=1e-3):  # exported without its last softmax
            classes = np.exp(classes - classes.max(1, keepdims=True))
            classes /= classes.sum(1, keepdims=True)
        return boxes, classes[:, 1], middle[:, None] + points.reshape(-1, 5, 2) * shift * side[:, None]


def cells(height: int, width: int, stride: int) -> np.ndarray:
    """Return column and row of every cell of a grid, row by row, (N, 2)."""
    rows, columns = np.mgrid[: height // stride, : width // stride]
    return np.stack([columns.ravel(), rows.ravel()], 1).astype(np.float64)


def _joined(found: Sequence[Decoded]) -> Decoded:
    boxes, confidences, points = zip(*found, strict=True)
    return np.concatenate(boxes), np.concatenate(confidences), np.concatenate(points)


ONNX: dict[str, Any] = {"yunet": YuNet, "scrfd": Scrfd, "retinaface": RetinaFace}
