"""What makes pictures blurred and coarse: motion, defocus, resizing, H.264, noise; drawn from a seed, and told."""

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import av
import cv2
import numpy as np

KINDS = ("motion", "defocus")
WIDEST = 21  # pixels of a kernel


class Degradation(NamedTuple):
    """How a picture was degraded: the kernel (k, k), which sums to one, and what came after it; 0: nothing.

    `resized` is the share of the size that it went through, `crf` that of H.264, `noise` a standard deviation of values
    in [0, 255].
    """

    kind: str
    kernel: np.ndarray
    resized: float
    crf: int
    noise: float

    def words(self) -> dict[str, Any]:
        """Return it as plain values, for logs."""
        return {**self._asdict(), "kernel": self.kernel.round(5).tolist()}


def draw(random: np.random.Generator, strongest: float = 1.0, plain: bool = False) -> Degradation:
    """Draw a degradation.

    Args:
        random: what draws.
        strongest: from 0 to 1, the most that is drawn.
        plain: blur alone.
    """
    kind, strength = KINDS[int(random.integers(2))], float(random.uniform(0.3, 1.0)) * strongest
    kernel = motion_kernel(3 + 14 * strength, random.uniform(0, 180)) if kind == "motion" else disc(1 + 4 * strength)
    if plain:
        return Degradation(kind, kernel, 0.0, 0, 0.0)
    resized = float(random.uniform(0.5, 0.9)) if random.random() < 0.25 else 0.0
    crf = int(random.integers(20, 34)) if random.random() < 0.25 else 0
    return Degradation(kind, kernel, resized, crf, float(random.uniform(0, 4)))


def degrade(image: np.ndarray, how: Degradation, random: np.random.Generator) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 degraded; its size stays."""
    height, width = image.shape[:2]
    out = cv2.filter2D(image, -1, how.kernel, borderType=cv2.BORDER_REFLECT_101)
    if how.resized:
        small = (max(8, round(width * how.resized)), max(8, round(height * how.resized)))
        out = cv2.resize(cv2.resize(out, small, interpolation=cv2.INTER_AREA), (width, height))
    if how.noise:
        noise = random.standard_normal(out.shape, np.float32) * np.float32(how.noise)
        out = np.clip(np.round(out + noise), 0, 255).astype(np.uint8)
    return h264(out, how.crf) if how.crf else out


def blurred(image: np.ndarray, level: int) -> np.ndarray:
    """Return a picture at one of the levels of blur, 0 (none) to 5, that tables of effects are made of."""
    return image if level == 0 else cv2.filter2D(image, -1, disc(float(level)), borderType=cv2.BORDER_REFLECT_101)


def motion_kernel(length: float, angle: float) -> np.ndarray:
    """Return the kernel of a straight motion over so many pixels, in degrees."""
    side = min(WIDEST, 2 * int(np.ceil(length / 2)) + 1)
    middle, (dx, dy) = side // 2, (np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle)))
    kernel = np.zeros((side, side), np.float32)
    for step in np.linspace(-length / 2, length / 2, 8 * side):
        x, y = middle + step * dx, middle + step * dy
        left, top = int(np.floor(x)), int(np.floor(y))
        for column, share_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            for row, share_y in ((top, 1 - (y - top)), (top + 1, y - top)):
                if 0 <= column < side and 0 <= row < side:
                    kernel[row, column] += share_x * share_y
    return kernel / kernel.sum()


def disc(radius: float) -> np.ndarray:
    """Return the kernel of a lens out of focus, with a soft edge."""
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return kernel / kernel.sum()


def h264(image: np.ndarray, crf: int) -> np.ndarray:
    """Return a picture after one frame of H.264."""
    height, width = image.shape[:2]
    padded = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"crf": str(crf), "threads": "1"})
        stream.height, stream.width = padded.shape[:2]
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(padded.astype(np.uint8), format="rgb24")))
        container.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer, "r") as written:
        frame = next(written.decode(video=0))
        return frame.to_ndarray(format="rgb24")[:height, :width]


def sharpness(images: Sequence[np.ndarray]) -> float:
    """Return the median of how much of pictures' contrast is fine detail: variance of the Laplacian over that of grey.

    Below about 0.02 faces are visibly blurred; it is compared at one size, since detail depends on it.
    """
    values = []
    for image in images:
        grey = cv2.cvtColor(cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        values.append(cv2.Laplacian(grey.astype(np.float32), cv2.CV_32F).var() / max(1.0, float(grey.var())))
    return float(np.median(values))
