"""A small embedding of what a face looks like, to tell people apart where their boxes cross.

The aligned face and hair as a 10 x 10 Lab picture, and a Lab histogram around it; both at unit length, so that the
product of two embeddings is their mean cosine. On 31 public clips the same face 0.2 s later scores at least 0.87
(99 % of 831 pairs), two faces of one frame at most 0.82 (99 % of 349 pairs). It is not a face recogniser: it compares
looks of one scene, light and clothes included.
"""

import cv2
import numpy as np

from dfd.data.align import similarity, template
from dfd.preprocess.faces import Detections

ALIKE, SURE = 0.82, 0.88  # cosine from which two looks may be, and are, of one person
PICTURE, BINS = 10, (4, 8, 8)
LENGTH = 3 * PICTURE**2 + int(np.prod(BINS))


def describe(image: np.ndarray, faces: Detections) -> Detections:
    """Return the faces of an RGB picture with their embeddings (F, D)."""
    parts = [_embedding(image, box, points) for box, points in zip(faces.boxes, faces.landmarks, strict=True)]
    return faces._replace(appearance=np.stack(parts) if parts else np.zeros((0, LENGTH), np.float16))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Return how alike two embeddings are."""
    return float(np.dot(a.astype(np.float32), b.astype(np.float32)))


def _embedding(image: np.ndarray, box: np.ndarray, points: np.ndarray) -> np.ndarray:
    both = np.concatenate([_unit(_picture(image, points)), _unit(_colours(image, box))])
    return (both / np.sqrt(2)).astype(np.float16)


def _picture(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the aligned head in Lab: lightness without its mean and contrast, colour in units of 12 levels."""
    matrix = similarity(points.astype(float), template(48, 0.7))
    face = cv2.warpAffine(image, matrix, (48, 48), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    lab = cv2.cvtColor(face, cv2.COLOR_RGB2LAB).astype(np.float32)
    small = cv2.resize(lab, (PICTURE, PICTURE), interpolation=cv2.INTER_AREA)
    light, colour = small[..., 0], (small[..., 1:] - 128) / 12
    return np.concatenate([((light - light.mean()) / (light.std() + 8)).ravel(), colour.ravel()])


def _colours(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    width, height = box[2:] - box[:2]
    x0, x1 = (max(0, int(x)) for x in (box[0] - width / 4, box[2] + width / 4))
    y0, y1 = (max(0, int(y)) for y in (box[1] - 0.35 * height, box[3] + 0.35 * height))
    part = image[y0:y1, x0:x1]
    if not part.size:
        return np.zeros(int(np.prod(BINS)), np.float32)
    part = cv2.cvtColor(cv2.resize(part, (48, 48), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB)
    histogram = cv2.calcHist([part], [0, 1, 2], None, list(BINS), [0, 256, 96, 160, 96, 160]).ravel()
    return np.sqrt(histogram)


def _unit(values: np.ndarray) -> np.ndarray:
    return values / max(float(np.linalg.norm(values)), 1e-6)
