"""Erase parts of a face, so that a detector cannot live off one: the "hardcore" augmentation of the DFDC winner.

Seferbekov 2020 (selimsef/dfdc_deepfake_challenge, MIT; written here from its description), without two defects:
distances do not overflow in large faces, and tiny faces are not blacked out as a whole.
"""

import math
from typing import Any, Literal

import cv2
import numpy as np

from dfd.data.augment import A

POINTS = "points"  # landmarks (N, 5, 2) in pixels of the images, NaN where none were found
SIZE = "view_size"  # side of what the network sees

Part = Literal["eyes", "mouth", "nose", "nothing"]
Kind = Literal["part", "half_face", "block", "none"]
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


class FaceErasing(A.ImageOnlyTransform):
    """Black out, one after the other tried: eyes, mouth or nose; half of the face; half of the picture.

    With landmarks a part is erased in `part_p` of the views (eyes 1/2, mouth 1/4, nose 1/8, nothing 1/8 of them). Else
    half of the face's outline in `half_face_p`, else half of the picture, or two of its quarters, in `block_p`.
    `chain: parts_only` erases nothing but parts where there are landmarks, as Heo et al. do.
    """

    def __init__(
        self,
        part_p: float = 0.7,
        half_face_p: float = 0.2,
        block_p: float = 0.1,
        chain: Literal["all", "parts_only"] = "all",
        p: float = 1.0,
    ) -> None:
        super().__init__(p=p)
        self.part_p, self.half_face_p, self.block_p, self.chain = part_p, half_face_p, block_p, chain

    @property
    def targets_as_params(self) -> list[str]:
        """Ask for the landmarks."""
        return [POINTS]

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw once for all images of the call, whose faces may lie in different places."""
        height, width = params["shape"][:2]
        points = np.asarray(data[POINTS], np.float64)
        kind, which = self.draw(bool(np.isfinite(points).all()))
        return {"masks": [erased(kind, which, height, width, face) for face in points]}

    def draw(self, landmarks: bool) -> tuple[Kind, Any]:
        """Return what is erased, and of that, which."""
        draw = self.py_random
        if landmarks and draw.random() < self.part_p:
            at = draw.random()
            return "part", "eyes" if at < 0.5 else "mouth" if at < 0.75 else "nose" if at < 0.875 else "nothing"
        if landmarks and self.chain == "parts_only":
            return "none", None
        if draw.random() < self.half_face_p:
            return ("half_face", draw.randrange(4)) if landmarks else ("none", None)
        return ("block", draw.randrange(6)) if draw.random() < self.block_p else ("none", None)

    def apply(self, img: np.ndarray, masks: list[np.ndarray], **params: Any) -> np.ndarray:
        """Erase in one image."""
        return self.apply_to_images(img[None], masks=masks)[0]

    def apply_to_images(self, images: np.ndarray, **params: Any) -> np.ndarray:
        """Erase in every image what lies in its own face."""
        return np.where(np.stack(params["masks"])[..., None], 0, images).astype(images.dtype)


class SampledResize(A.ImageOnlyTransform):
    """Resize to what the network sees, by a way that is drawn: (shrinking, growing) is area or linear, cubic or linear.

    The published list of three ways always takes the first, since its arguments never arrive; here it is meant.
    """

    WAYS = (
        (cv2.INTER_AREA, cv2.INTER_CUBIC),
        (cv2.INTER_AREA, cv2.INTER_LINEAR),
        (cv2.INTER_LINEAR, cv2.INTER_LINEAR),
    )

    @property
    def targets_as_params(self) -> list[str]:
        """Ask for the size."""
        return [SIZE]

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the way once for all images of the call."""
        return {"side": int(data[SIZE]), "way": self.WAYS[self.py_random.randrange(len(self.WAYS))]}

    def apply(self, img: np.ndarray, side: int, way: tuple[int, int], **params: Any) -> np.ndarray:
        """Resize one image."""
        return letterbox(img, side, *way)

    def apply_to_images(self, images: np.ndarray, **params: Any) -> np.ndarray:
        """Resize all images."""
        return np.stack([letterbox(image, params["side"], *params["way"]) for image in images])


def letterbox(image: np.ndarray, side: int, down: int = cv2.INTER_AREA, up: int = cv2.INTER_CUBIC) -> np.ndarray:
    """Resize a picture until its longer side fits, and centre it on a black square."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale != 1:
        size = max(1, int(width * scale + 1e-6)), max(1, int(height * scale + 1e-6))
        image = cv2.resize(image, size, interpolation=up if scale > 1 else down)
    spare = [(side - image.shape[0]) // 2, (side - image.shape[1]) // 2]
    square = np.zeros((side, side, *image.shape[2:]), image.dtype)
    square[spare[0] : spare[0] + image.shape[0], spare[1] : spare[1] + image.shape[1]] = image
    return square


def erased(kind: Kind, which: Any, height: int, width: int, points: np.ndarray) -> np.ndarray:
    """Return the pixels (H, W) of a picture that are erased; `points` are eyes, nose, corners of the mouth."""
    if kind == "part":
        return part(which, height, width, points)
    if kind == "half_face":
        return half_face(which, height, width, points)
    return block(which, height, width) if kind == "block" else np.zeros((height, width), bool)


def part(which: Part, height: int, width: int, points: np.ndarray) -> np.ndarray:
    """Return a line through a part, thickened by a quarter of the distance of the eyes (mouth: a third of its own)."""
    left, right, nose, mouth_left, mouth_right = points
    eyes, mouth = math.dist(left, right), math.dist(mouth_left, mouth_right)
    lines = {
        "eyes": (left, right, eyes / 4),
        "mouth": (mouth_left, mouth_right, mouth / 3),
        "nose": (nose, np.trunc((left + right) / 2), eyes / 4),  # of whole pixels in the original
    }
    mask = np.zeros((height, width), np.uint8)
    if which in lines:
        start, end, reach = lines[which]
        cv2.line(mask, _pixel(start), _pixel(end), 1, 2)
        cv2.dilate(mask, CROSS, mask, iterations=max(1, int(reach)))
    return mask.astype(bool)


def half_face(which: int, height: int, width: int, points: np.ndarray) -> np.ndarray:
    """Return the upper, lower, left or right half of a face's outline, of which five points give a fair idea.

    The outline is an ellipse: its axis runs from the mouth through the middle between the eyes.
    """
    eyes, mouth = (points[0] + points[1]) / 2, (points[3] + points[4]) / 2
    axis = eyes - mouth
    centre, length = (eyes + mouth) / 2, max(1.0, float(np.hypot(*axis)))
    across = max(1.0, math.dist(points[0], points[1]))
    mask = np.zeros((height, width), np.uint8)
    turn = math.degrees(math.atan2(axis[1], axis[0])) - 90
    cv2.ellipse(mask, _pixel(centre), (max(1, round(1.05 * across)), max(1, round(1.2 * length))), turn, 0, 360, 1, -1)
    rows, columns = np.ogrid[:height, :width]
    half = (rows < centre[1], rows >= centre[1], columns < centre[0], columns >= centre[0])[which]
    return mask.astype(bool) & half


def block(which: int, height: int, width: int) -> np.ndarray:
    """Return the upper, lower, left or right half of a picture, or two of its quarters."""
    rows, columns = np.ogrid[:height, :width]
    upper = np.broadcast_to(rows < height // 2, (height, width))
    left = np.broadcast_to(columns < width // 2, (height, width))
    return (upper, ~upper, left, ~left, upper == left, upper != left)[which].copy()


def _pixel(point: np.ndarray) -> tuple[int, int]:
    # far outside any picture is as good as infinitely far, and fits the integers of OpenCV
    x, y = np.clip(np.rint(point), -32000, 32000)
    return int(x), int(y)
