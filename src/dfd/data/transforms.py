"""Transforms that albumentations lacks: a multi-scale crop, a cutout that may leave the picture, a video codec."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import av
import numpy as np

from dfd.data.augment import A
from dfd.data.erasing import SIZE

SNAP = 3  # a candidate that misses the network's size by fewer pixels is taken for it, and not resized


class MultiScaleCrop(A.ImageOnlyTransform):
    """Crop at one of a few scales per side, at one of thirteen fixed places (Wang et al., TSN, ECCV 2016).

    The two sides' scales lie at most `distort` steps apart. The result is smaller than the picture; it is resized to
    the network's input afterwards.
    """

    def __init__(self, scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66), distort: int = 1, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.scales = tuple(scales)
        self.distort = distort

    @property
    def targets_as_params(self) -> list[str]:
        """Ask for the size that the network sees."""
        return [SIZE]

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the crop once for all images of the call."""
        height, width = params["shape"][:2]
        steps = range(len(self.scales))
        pairs = [(a, b) for a in steps for b in steps if abs(a - b) <= self.distort]
        a, b = pairs[self.py_random.randrange(len(pairs))]
        base, size = min(height, width), int(data[SIZE])
        sides = (int(base * self.scales[step]) for step in (a, b))
        crop_h, crop_w = (size if abs(side - size) < SNAP and size <= base else side for side in sides)
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


class VideoCompression(A.ImageOnlyTransform):
    """Send the frames of a call through H.264 at one random rate factor, as platforms do with what is uploaded."""

    def __init__(self, crf_range: tuple[int, int] = (23, 40), p: float = 0.5) -> None:
        super().__init__(p=p)
        self.crf_range = tuple(crf_range)

    def get_params(self) -> dict[str, Any]:
        """Draw the rate factor once for all images of the call."""
        return {"crf": self.py_random.randint(*self.crf_range)}

    def apply(self, img: np.ndarray, crf: int, **params: Any) -> np.ndarray:
        """Compress one image as a key frame."""
        return recompressed(img[None], crf)[0]

    def apply_to_images(self, images: np.ndarray, **params: Any) -> np.ndarray:
        """Compress all images as one sequence."""
        return recompressed(images, params["crf"])


def recompressed(images: np.ndarray, crf: int) -> np.ndarray:
    """Encode uint8 images (N, H, W, 3) as H.264 in memory and decode them."""
    count, height, width, _ = images.shape
    even = np.pad(images, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = even.shape[1:3]
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
    encoder.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency", "threads": "1"}
    decoder = av.CodecContext.create("h264", "r")
    frames: list[np.ndarray] = []

    def pass_on(packets: Iterable[av.Packet | None]) -> None:
        for packet in packets:
            frames.extend(frame.to_ndarray(format="rgb24") for frame in decoder.decode(packet))

    for image in even:
        pass_on(encoder.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
    pass_on([*encoder.encode(None), None])
    assert len(frames) == count, "a codec without delay gives every frame back"
    return np.stack(frames)[:, :height, :width]


def anchors(spare_h: int, spare_w: int) -> list[tuple[int, int]]:
    """Return thirteen (top, left) places: corners, centre, middles of the edges, quarter points."""
    h, w = spare_h // 4, spare_w // 4
    grid = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2), (2, 0), (2, 4), (4, 2), (0, 2), (1, 1), (1, 3), (3, 1), (3, 3)]
    return [(row * h, col * w) for row, col in grid]
