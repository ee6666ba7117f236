"""Augmentation on the device: torchvision's transforms on whole batches."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from dfd.data.jpeg import jpeg


class OnDevice:
    """A chain of named torchvision transforms, drawn once per view or once per video like those of the workers."""

    def __init__(self, transforms: Mapping[str, v2.Transform | None]) -> None:
        self.transforms = [transform for transform in transforms.values() if transform is not None]

    def __call__(self, pixels: Tensor, draw: Tensor) -> Tensor:
        """Transform RGB in [0, 1], (N, ..., 3, H, W); rows that share a `draw` (N,) alike. Reseeds torch."""
        runs, counts = torch.unique_consecutive(draw.cpu(), return_counts=True)
        parts = [
            self._one_draw(part, int(seed)) for part, seed in zip(pixels.split(counts.tolist()), runs, strict=True)
        ]
        return torch.cat(parts)

    def _one_draw(self, pixels: Tensor, seed: int) -> Tensor:
        torch.manual_seed(seed)
        for transform in self.transforms:
            pixels = transform(pixels)
        return pixels


class Jpeg(v2.Transform):
    """Compress pictures as JPEG of a random quality does."""

    def __init__(self, quality_range: tuple[int, int] = (40, 100)) -> None:
        super().__init__()
        self.quality_range = tuple(quality_range)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the quality once for all pictures of the call."""
        low, high = self.quality_range
        return {"quality": int(torch.randint(low, high + 1, ()))}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Compress."""
        return jpeg(inpt, params["quality"])


class Downscale(v2.Transform):
    """Downscale pictures by a random factor and upscale them again."""

    def __init__(self, scale_range: tuple[float, float] = (0.5, 0.9)) -> None:
        super().__init__()
        self.scale_range = tuple(scale_range)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the factor once for all pictures of the call."""
        return {"scale": torch.empty(1).uniform_(*self.scale_range).item()}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Downscale and upscale."""
        height, width = inpt.shape[-2:]
        small = [max(1, round(side * params["scale"])) for side in (height, width)]
        return F.resize(F.resize(inpt, small, antialias=True), [height, width], antialias=True)
