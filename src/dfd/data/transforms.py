"""Transforms that albumentations lacks: TSN's multi-scale crop and the cutout whose square may leave the picture."""

from typing import Any

import numpy as np

from dfd.data.augment import A

SNAP = 3  # pixels by which a candidate size may miss the picture's own size and still be taken for it


class MultiScaleCrop(A.ImageOnlyTransform):
    """Crop at one of a few scales per side, at one of thirteen fixed places (Wang et al., TSN, ECCV 2016).

    The two sides' scales lie at most `distort` steps apart. The result is smaller than the picture; it is resized to
    the network's input afterwards.
    """

    def __init__(self, scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66), distort: int = 1, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.scales = tuple(scales)
        self.distort = distort

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the crop once for all images of the call."""
        height, width = params["shape"][:2]
        steps = range(len(self.scales))
        pairs = [(a, b) for a in steps for b in steps if abs(a - b) <= self.distort]
        a, b = pairs[self.py_random.randrange(len(pairs))]
        base = min(height, width)
        crop_h, crop_w = int(base * self.scales[a]), int(base * self.scales[b])
        places = anchors(height - crop_h, width - crop_w)
        top, left = places[self.py_random.randrange(len(places))]
        return {"box": (top, left, crop_h, crop_w)}

    def apply(self, img: np.ndarray, box: tuple[int, int, int, int], **params: Any) -> np.ndarray:
        """Cut the box out of one image."""
        top, left, height, width = box
        return img[top : top + height, left : left + width]

    def apply_to_images(self, images: np.ndarray, **params: Any) -> np.ndarray:
        """Cut the box out of all images."""
        top, left, height, width = params["box"]
        return images[:, top : top + height, left : left + width]


class Cutout(A.ImageOnlyTransform):
    """Fill one square, centred anywhere in the picture and clipped at its border (DeVries & Taylor 2017)."""

    def __init__(self, size: int = 16, fill: tuple[int, int, int] = (124, 116, 104), p: float = 1.0) -> None:
        super().__init__(p=p)
        self.size = size
        self.fill = tuple(fill)

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the centre once for all images of the call."""
        height, width = params["shape"][:2]
        y, x = self.py_random.randrange(height), self.py_random.randrange(width)
        return {"box": (max(0, y - self.size // 2), y + self.size // 2, max(0, x - self.size // 2), x + self.size // 2)}

    def apply(self, img: np.ndarray, box: tuple[int, int, int, int], **params: Any) -> np.ndarray:
        """Fill the square in one image."""
        return self.apply_to_images(img[None], box=box)[0]

    def apply_to_images(self, images: np.ndarray, **params: Any) -> np.ndarray:
        """Fill the same square in all images."""
        top, bottom, left, right = params["box"]
        images = images.copy()
        images[:, top:bottom, left:right] = self.fill
        return images


def anchors(spare_h: int, spare_w: int) -> list[tuple[int, int]]:
    """Return thirteen (top, left) places: corners, centre, middles of the edges, quarter points."""
    h, w = spare_h // 4, spare_w // 4
    grid = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2), (2, 0), (2, 4), (4, 2), (0, 2), (1, 1), (1, 3), (3, 1), (3, 3)]
    return [(row * h, col * w) for row, col in grid]
