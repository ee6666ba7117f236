"""A linear probe: one trained layer on a frozen timm network, the baseline that every detector should beat."""

import functools
from typing import Any, Self

import torch
from torch import Tensor

from dfd.models.image import ImageDetector


class LinearProbe(ImageDetector):
    """A timm network that stays as it was pretrained, norms included, and a linear layer that learns."""

    is_baseline = True

    # the same arguments as its base has by name, so that a misspelt one is still found early
    @functools.wraps(ImageDetector.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.backbone.requires_grad_(False)
        self.backbone.eval()

    def train(self, mode: bool = True) -> Self:
        """Let only the head train."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Return pooled features (N, D), without a graph unless what they rest on is asked for."""
        with torch.set_grad_enabled(pixels.requires_grad):
            return super().forward_features(pixels)
