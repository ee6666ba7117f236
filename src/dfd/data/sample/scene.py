"""Scenes: a background, a body, a light and a camera; a head in it becomes footage."""

from dataclasses import dataclass

import cv2
import numpy as np

from dfd.data.sample.heads import Motion, placement


@dataclass(frozen=True)
class Scene:
    """Everything of a video but the head: the picture behind it and what the camera does to the whole."""

    backdrop: np.ndarray  # (H, W, 3) uint8
    body: np.ndarray  # (H, W, 4) uint8
    gain: np.ndarray  # (H, W, 3) float32: white balance, exposure and vignette
    blur: float
    noise: float
    quality: int  # crf of the encoder
    smoothing: float  # of a beauty filter on the face, or 0
    phase: float = 0.0  # of a white balance that hunts, where it does

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.backdrop.shape[1], self.backdrop.shape[0]


def draw_scene(random: np.random.Generator, crf: int = 23, size: tuple[int, int] | None = None) -> Scene:
    """Make a scene up; without a size (width, height) it has one of those of a small video."""
    width, height = size or (int(random.choice([304, 320, 336])), int(random.choice([256, 272])))
    return Scene(
        backdrop=_backdrop(random, width, height),
        body=_body(random, width, height),
        gain=_gain(random, width, height),
        blur=float(random.uniform(0.0, 0.7)),
        noise=float(random.uniform(1.5, 4.5)),
        quality=crf + int(random.integers(-1, 2)),
        smoothing=float(random.uniform(0.5, 0.9)) if random.random() < 0.15 else 0.0,
    )


def compose(scene: Scene, head: np.ndarray, motion: Motion, i: int) -> np.ndarray:
    """Put a head (canvas with alpha) into the scene: a clean picture (H, W, 3) uint8."""
    sway = np.array([[1, 0, 0.5 * (motion.x[i] - motion.x[0])], [0, 1, 0.3 * (motion.y[i] - motion.y[0])]])
    picture = over(scene.backdrop, cv2.warpAffine(scene.body, sway, scene.size, flags=cv2.INTER_LINEAR))
    if scene.smoothing:
        head = np.dstack([cv2.GaussianBlur(head[..., :3], (0, 0), scene.smoothing), head[..., 3]])
    return over(picture, warp(head, motion, i, scene.size))


def warp(canvas: np.ndarray, motion: Motion, i: int, size: tuple[int, int]) -> np.ndarray:
    """Warp anything drawn on the canvas of a head into the picture."""
    return cv2.warpAffine(canvas, placement(motion, i), size, flags=cv2.INTER_LINEAR)


def over(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Lay a picture with alpha (H, W, 4) over another."""
    at, laid = covered(above), below.copy()
    part = above[at].astype(np.float32)
    laid[at] = below[at] + (part[..., :3] - below[at]) * (part[..., 3:] / 255)
    return laid


def covered(layer: np.ndarray) -> tuple[slice, slice]:
    """Return the rectangle outside of which a layer (H, W, 4) is transparent."""
    left, top, width, height = cv2.boundingRect(layer[..., 3])
    return slice(top, top + height), slice(left, left + width)


def shoot(scene: Scene, picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return what the camera records of a clean picture: gain, blur, and noise that is new in every frame."""
    exposed = picture * scene.gain
    if scene.blur > 0.25:
        exposed = cv2.GaussianBlur(exposed, (0, 0), scene.blur)
    noise = random.standard_normal(picture.shape[:2], np.float32)[..., None] * scene.noise
    return np.clip(exposed + noise, 0, 255).astype(np.uint8)


def _backdrop(random: np.random.Generator, width: int, height: int) -> np.ndarray:
    top, bottom = random.uniform(50, 210, (2, 3))
    image = np.linspace(top, bottom, height)[:, None] * np.ones((1, width, 1))
    image = np.ascontiguousarray(np.clip(image, 0, 255).astype(np.uint8))
    for _ in range(random.integers(3, 9)):
        corner = random.integers(-40, [width, height])
        extent = random.integers(20, 150, 2)
        colour = tuple(map(float, random.uniform(30, 225, 3)))
        if random.random() < 0.5:
            cv2.rectangle(image, corner.tolist(), (corner + extent).tolist(), colour, -1)
        else:
            cv2.circle(image, corner.tolist(), int(extent[0] // 2), colour, -1)
    blurred = cv2.GaussianBlur(image, (0, 0), random.uniform(0.8, 8))
    grain = cv2.GaussianBlur(random.normal(0, 1, (height, width)).astype(np.float32), (0, 0), random.uniform(0.7, 3))
    return np.clip(blurred + grain[..., None] * random.uniform(2, 14), 0, 255).astype(np.uint8)


def _body(random: np.random.Generator, width: int, height: int) -> np.ndarray:
    body = np.zeros((height, width, 4), np.uint8)
    colour = random.uniform(20, 220, 3)
    centre = (width // 2 + int(random.integers(-10, 10)), height + 25)
    cv2.ellipse(
        body, centre, (int(random.integers(95, 130)), 85), 0, 180, 360, (*map(float, colour), 255.0), -1, cv2.LINE_AA
    )
    folds = cv2.GaussianBlur(random.normal(0, 30, (height, width)).astype(np.float32), (0, 0), 6, sigmaY=14)
    stripes = 12 * np.sin(np.arange(width) * random.uniform(0.1, 0.9)) * (random.random() < 0.4)
    body[..., :3] = np.clip(body[..., :3] + 4 * folds[..., None] + stripes[None, :, None], 0, 255)
    return body


def _gain(random: np.random.Generator, width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    vignette = 1 - random.uniform(0, 0.22) * (x**2 + y**2)
    balance = random.uniform(0.85, 1.12) * random.uniform(0.94, 1.06, 3)
    slope = 1 + random.uniform(-0.12, 0.12) * x + random.uniform(-0.08, 0.08) * y
    return ((vignette * slope)[..., None] * balance).astype(np.float32)
