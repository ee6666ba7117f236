"""Self-blended images: a face blended into itself, so that nothing but the blending can be learned.

Shiohara and Yamasaki, Detecting Deepfakes with Self-Blended Images, CVPR 2022. Written from the paper's description;
its code is for non-commercial use and was not used. The steps run on stored crops, with one draw for all frames of a
video: the paper blends single images.
"""

import os
from collections.abc import Callable, Sequence

import cv2
import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A

from dfd.data.align import TEMPLATE

RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)  # how much of the source shows
INSIDE = 1 - 1e-6  # of a blurred mask: what no pixel outside has reached

Hull = Callable[[np.ndarray, np.random.Generator], list[np.ndarray]]  # landmarks (P, 2) to polygons


# --- hulls: which part of the face is replaced ---


def _oval(x: float, y: float, across: float, down: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return np.stack([x + across * np.cos(angle), y + down * np.sin(angle)], 1)


# parts of a face on ArcFace's template of 112 pixels, for faces of which five points are known
ON_TEMPLATE = (
    _oval(56, 72, 42, 46),
    np.array([[25, 36], [87, 36], [92, 60], [78, 100], [56, 108], [34, 100], [20, 60]], float),
    np.array([[28, 66], [84, 66], [80, 98], [56, 113], [32, 98]], float),
    np.array([[22, 36], [90, 36], [90, 64], [22, 64]], float),
    _oval(56, 93, 24, 15),
)


def five_point_hull(points: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
    """Return a part of the face that five points place; another recipe than the paper's, which needs 68 or more."""
    matrix, _ = cv2.estimateAffinePartial2D(TEMPLATE.astype(np.float32), points.astype(np.float32), method=cv2.LMEDS)
    part = ON_TEMPLATE[int(random.integers(len(ON_TEMPLATE)))]
    if matrix is None:
        return [points]
    return [part @ matrix[:, :2].T + matrix[:, 2]]


FULL = ([*range(17), *range(48, 68)], [27, 28, 29, 30, 33], [0, 16, *range(17, 27), 27, 33])
COMPONENTS = (
    [*range(9), 17],
    [*range(8, 17), 26],
    [17, 18, 19, 8],
    [24, 25, 26, 8],
    [*range(19, 25), 8],
    [*range(17, 22), 27, *range(31, 36), 8],
    [*range(22, 27), 27, *range(31, 36), 8],
    [*range(27, 36)],
)


def landmark_hull(points: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
    """Return one of four hulls of 68 or 81 landmarks: parts of the face, with brows lifted or not, or all of it."""
    points = points[:68] if random.random() < 0.25 else points
    kind = int(random.integers(4))
    if kind == 3:
        return [points]
    if kind == 2:
        points = _lifted(points)
    return [points[list(part)] for part in (FULL if kind == 0 else COMPONENTS)]


def _lifted(points: np.ndarray) -> np.ndarray:
    """Return landmarks whose brows are half as far again from the eyes, so that the hull holds some forehead."""
    lifted = points.copy()
    left, right = (points[36] + points[0]) / 2, (points[16] + points[45]) / 2
    below = [(points[36] + left) / 2, *points[36:40]]
    lifted[17:22] += (points[17:22] - np.array(below)) / 2
    below = [*points[42:46], (points[45] + right) / 2]
    lifted[22:27] += (points[22:27] - np.array(below)) / 2
    return lifted


def hull_mask(shape: tuple[int, int], polygons: Sequence[np.ndarray]) -> np.ndarray:
    """Return 1.0 within the convex hull of any of the polygons, 0.0 elsewhere."""
    mask = np.zeros(shape, np.float32)
    for polygon in polygons:
        hull = cv2.convexHull(np.rint(polygon).astype(np.int32))
        cv2.fillConvexPoly(mask, hull, 1.0)
    return mask


# --- what is done to source, target and mask ---

COLOURS = A.Compose(
    [
        A.RGBShift(r_shift_limit=(-20, 20), g_shift_limit=(-20, 20), b_shift_limit=(-20, 20), p=0.3),
        A.HueSaturationValue(hue_shift_limit=0.3, sat_shift_limit=0.3, val_shift_limit=0.3, p=1),
        A.RandomBrightnessContrast(brightness_limit=(-0.1, 0.1), contrast_limit=(-0.1, 0.1), p=1),
    ]
)


def frequencies(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Blur by sampling down and up again, or sharpen; the same for every frame."""
    if random.random() < 0.5:
        height, width = images.shape[1:3]
        by = int(random.choice([2, 4]))
        small = [cv2.resize(i, (width // by, height // by), interpolation=cv2.INTER_NEAREST) for i in images]
        return np.stack([cv2.resize(i, (width, height), interpolation=cv2.INTER_LINEAR) for i in small])
    alpha, light = random.uniform(0.2, 0.5), random.uniform(0.5, 1.0)
    kernel = np.full((3, 3), -1.0, np.float32)
    kernel[1, 1] = 8 + light
    identity = np.zeros((3, 3), np.float32)
    identity[1, 1] = 1
    return np.stack([cv2.filter2D(i, -1, (1 - alpha) * identity + alpha * kernel) for i in images])


def changed(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Change colours and frequencies of frames (T, H, W, 3), all alike."""
    COLOURS.set_random_seed(int(random.integers(2**31)))
    return frequencies(COLOURS(images=images)["images"], random)


def shift(shape: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """Return a small random change of place and scale, of each axis by itself, as a 2 x 3 matrix."""
    height, width = shape
    scale = random.uniform(0.95, 1 / 0.95, 2)
    move = random.uniform(-1, 1, 2) * (0.03 * width, 0.015 * height)
    centre = np.array([width, height]) / 2
    return np.column_stack([np.diag(scale), (1 - scale) * centre + move])


def elastic(shape: tuple[int, int], random: np.random.Generator, alpha: float = 50, sigma: float = 7) -> np.ndarray:
    """Return where each pixel of a mask is taken from, (H, W, 2): a smooth random field."""
    noise = random.uniform(-1, 1, (*shape, 2)).astype(np.float32)
    grid = np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0])), 2).astype(np.float32)
    return grid + alpha * cv2.GaussianBlur(noise, (0, 0), sigma)


def soften(mask: np.ndarray, sizes: np.ndarray, kernels: np.ndarray, sigma: int) -> np.ndarray:
    """Return a mask with a soft edge that lies within it: blurred, cut down to what stayed whole, and blurred again."""
    height, width = mask.shape
    small = cv2.resize(mask, (int(sizes[0]), int(sizes[1])))
    first = cv2.GaussianBlur(small, (int(kernels[0]), int(kernels[0])), 0)
    kept = np.where(first >= INSIDE * max(first.max(), 1e-6), first, 0).astype(np.float32)
    last = cv2.GaussianBlur(kept, (int(kernels[1]), int(kernels[1])), float(sigma))
    return cv2.resize(last / max(last.max(), 1e-6), (width, height)).clip(0, 1)


def self_blend(
    images: np.ndarray, landmarks: np.ndarray, random: np.random.Generator, hull: Hull | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blend frames into themselves, by one draw for all of them.

    Args:
        images: (T, H, W, 3) uint8.
        landmarks: (T, P, 2) in pixels; 5, 68 or 81 of them.
        random: what everything is drawn from.
        hull: which part of the face; None: by the number of landmarks.

    Returns:
        What counts as real (the target, which may have been changed), the blend, and the masks (T, H, W).
    """
    hull = hull or (five_point_hull if landmarks.shape[1] == 5 else landmark_hull)
    shape = images.shape[1:3]
    part = int(random.integers(2**31))
    masks = [hull_mask(shape, hull(points, np.random.default_rng(part))) for points in landmarks]
    source = target = images
    if random.random() < 0.5:
        source = changed(images, random)
    else:
        target = changed(images, random)
    matrix, field = shift(shape, random), elastic(shape, random)
    source = np.stack([cv2.warpAffine(image, matrix, shape[::-1]) for image in source])
    soft = (random.integers(192, 257, 2), random.integers(2, 13, 2) * 2 + 1, int(random.integers(5, 46)))
    ratio = float(random.choice(RATIOS))
    moved = [cv2.warpAffine(mask, matrix, shape[::-1], flags=cv2.INTER_NEAREST) for mask in masks]
    bent = [cv2.remap(mask, field[..., 0], field[..., 1], cv2.INTER_NEAREST) for mask in moved]
    weight = ratio * np.stack([soften(mask, *soft) for mask in bent])
    blend = weight[..., None] * source + (1 - weight[..., None]) * target
    return target, blend.astype(np.uint8), weight
