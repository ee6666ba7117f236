"""What is shown of a stored crop: as it is, with a smaller margin, or turned so that the five points lie level."""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from PIL import Image

from dfd.data.crops import CROP_BOX, FACE_BOX, LANDMARKS

VERSION = 3  # of what is shown: raise it when the pixels change

# eyes, nose and corners of the mouth in a face of 112 pixels, as ArcFace (Deng et al. 2019) lays them
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def square(boxes: np.ndarray, margin: float) -> np.ndarray:
    """Return the squares (N, 4) around boxes (N, 4), larger by `margin` of the longer side."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) * (1 + margin) / 2
    return np.concatenate([centre - half, centre + half], 1)


def fit(image: np.ndarray, size: int) -> np.ndarray:
    """Resize a crop to the network's size, by area when it shrinks and cubic when it grows."""
    if image.shape[:2] == (size, size):
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if size < image.shape[0] else cv2.INTER_CUBIC)


def fit_as_tall(image: np.ndarray, size: int) -> np.ndarray:
    """Resize as TALL's test script does: the shorter side by Pillow's bilinear filter, then the centre.

    Pillow filters over the area that a pixel covers; `fit` differs by .3 grey levels on average.
    """
    short = min(image.shape[:2])
    if short != size:
        height, width = (round(side * size / short) if side != short else size for side in image.shape[:2])
        image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    top, left = ((side - size) // 2 for side in image.shape[:2])
    return np.ascontiguousarray(image[top : top + size, left : left + size])


RESIZES: Mapping[str, Callable[[np.ndarray, int], np.ndarray]] = {"even": fit, "official": fit_as_tall}  # by sampling


def show(
    image: np.ndarray,
    table: Mapping[str, np.ndarray],
    row: int,
    size: int,
    margin: float | None = None,
    align: bool = False,
    resize: Callable[[np.ndarray, int], np.ndarray] = fit,
) -> np.ndarray:
    """Return a stored crop as a network sees it: `size` pixels square, with a margin of its own, aligned or not."""
    matrix = _placing(image.shape[0], table, row, size, margin, align)
    return resize(image, size) if matrix is None else _warped(image, matrix, size)


def shown_points(
    image: np.ndarray,
    table: Mapping[str, np.ndarray],
    row: int,
    size: int,
    margin: float | None = None,
    align: bool = False,
) -> np.ndarray:
    """Return where the five landmarks (5, 2) lie in what `show` makes of a crop; NaN where none are known."""
    points = np.array([table[name][row] for name in LANDMARKS], np.float64).reshape(5, 2)
    box = np.array([table[name][row] for name in CROP_BOX])
    side = box[2] - box[0]
    if side <= 0 or not points.any():
        return np.full((5, 2), np.nan)
    points = (points - box[:2]) * image.shape[0] / side
    matrix = _placing(image.shape[0], table, row, size, margin, align)
    return points * size / image.shape[0] if matrix is None else points @ matrix[:, :2].T + matrix[:, 2]


def _placing(
    stored: int, table: Mapping[str, np.ndarray], row: int, size: int, margin: float | None, align: bool
) -> np.ndarray | None:
    """Return the map (2, 3) from a stored crop's pixels to those shown; none where it is only resized."""
    box = np.array([table[name][row] for name in CROP_BOX])
    side = box[2] - box[0]
    if (margin is None and not align) or side <= 0:
        return None
    pixels = stored / side  # of the stored crop per pixel of the frame
    if align:
        points = np.array([table[name][row] for name in LANDMARKS]).reshape(5, 2)
        return similarity((points - box[:2]) * pixels, template(size, 0.3 if margin is None else margin))
    face = square(np.array([[table[name][row] for name in FACE_BOX]]), margin or 0.0)[0]
    scale = size / ((face[2] - face[0]) * pixels)
    return np.array([[scale, 0, 0], [0, scale, 0]]) + [[0, 0, x] for x in (box[:2] - face[:2]) * pixels * scale]


def template(size: int, margin: float) -> np.ndarray:
    """Return where the points (5, 2) belong in an aligned crop of `size` pixels that is (1 + margin) faces wide."""
    return size * (0.5 + (TEMPLATE / 112 - 0.5) / (1 + margin))


def similarity(points: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the turn, scale and shift (2, 3) that brings points (N, 2) closest to others, in the least squares."""
    centre, goal = points.mean(0), wanted.mean(0)
    a, b = (points - centre) @ [1, 1j], (wanted - goal) @ [1, 1j]
    turn = np.vdot(a, b) / max(np.vdot(a, a).real, 1e-9)
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.hstack([matrix, (goal - matrix @ centre)[:, None]])


def _warped(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Warp without aliasing: an image that shrinks much is halved first."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    while scale < 0.5 and min(image.shape[:2]) >= 2:
        height, width = image.shape[0] // 2, image.shape[1] // 2
        factor = np.array([image.shape[1] / width, image.shape[0] / height])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        matrix, scale = np.hstack([matrix[:, :2] * factor, matrix[:, 2:]]), scale * 2
    # places are told from the corner of the first pixel, OpenCV warps from its centre
    matrix = matrix + [[0, 0, row[:2].sum() / 2 - 0.5] for row in matrix]
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
