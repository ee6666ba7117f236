"""Training augmentation: named albumentations transforms, drawn once per view or once per video."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import asks a server for newer versions otherwise
import albumentations as A

from dfd.data.ondevice import OnDevice

Transforms = Mapping[str, A.BasicTransform | None]


class Augment:
    """A chain of named transforms at the network's size; the same seed gives the same result in any process.

    `stored` ones come before it and see the stored crops, which they may make smaller: what crops, and what belongs
    to the full resolution. Those `on_device` come last, and not here but where the network is.
    """

    def __init__(
        self, transforms: Transforms | None = None, stored: Transforms | None = None, on_device: OnDevice | None = None
    ) -> None:
        self.compose = _chain(transforms)
        self.stored = _chain(stored) if stored else None
        self.on_device = on_device

    def __call__(self, images: np.ndarray, seed: int) -> np.ndarray:
        """Transform uint8 images (N, H, W, 3), every one by the same draw."""
        return _apply(self.compose, images, seed)

    def before(self, images: np.ndarray, seed: int, points: np.ndarray | None = None, size: int = 0) -> np.ndarray:
        """Transform stored crops (N, H, W, 3), every one by the same draw.

        A transform may ask for `points`, landmarks (N, 5, 2) in them, and `view_size`, the side that the network sees.
        """
        unknown = np.full((len(images), 5, 2), np.nan)
        about = {"points": unknown if points is None else points, "view_size": size or images.shape[1]}
        return images if self.stored is None else _apply(self.stored, images, seed + 1, **about)


def _chain(transforms: Transforms | None) -> A.Compose:
    return A.Compose([transform for transform in (transforms or {}).values() if transform is not None])


def _apply(chain: A.Compose, images: np.ndarray, seed: int, **about: Any) -> np.ndarray:
    chain.set_random_seed(seed)
    return chain(images=images, **about)["images"]
