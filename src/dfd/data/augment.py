"""Training augmentation: named albumentations transforms, drawn once per view or once per video."""

import os
from collections.abc import Mapping

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import asks a server for newer versions otherwise
import albumentations as A


class Augment:
    """A chain of named transforms; the same seed gives the same result in any process."""

    def __init__(self, transforms: Mapping[str, A.BasicTransform | None] | None = None) -> None:
        self.compose = A.Compose([transform for transform in (transforms or {}).values() if transform is not None])

    def __call__(self, images: np.ndarray, seed: int) -> np.ndarray:
        """Transform uint8 images (N, H, W, 3), every one by the same draw."""
        self.compose.set_random_seed(seed)
        return self.compose(images=images)["images"]
