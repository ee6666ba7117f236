"""MesoInception-4: two dilated inception blocks, two convolutions, two linear layers; 28 thousand parameters.

Afchar, Nozick, Yamagishi, Echizen: MesoNet, a compact facial video forgery detection network, WIFS 2018.
Original code: DariusAf/MesoNet (Apache-2.0, Keras); written here from the paper.
"""

import torch
from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.core.records import InputSpec
from dfd.models.base import Detector


class MesoInception4(Detector):
    """Small enough to train anywhere; `size` must be a multiple of 32 (256 in the paper)."""

    def __init__(self, size: int = 256, logits: int = 1, dropout: float = 0.5) -> None:
        if size % 32:
            raise DfdError(f"MesoInception4 pools five times by two: size must be a multiple of 32, got {size}")
        super().__init__(InputSpec("image", size, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)))
        self.stages = nn.Sequential(
            Inception(3, (1, 4, 4, 2)),
            nn.MaxPool2d(2),
            Inception(11, (2, 4, 4, 2)),
            nn.MaxPool2d(2),
            *convolution(12, 16),
            nn.MaxPool2d(2),
            *convolution(16, 16),
            nn.MaxPool2d(4),
            nn.Flatten(),
        )
        self.hidden = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(16 * (size // 32) ** 2, 16), nn.LeakyReLU(0.1), nn.Dropout(dropout)
        )
        self.head = nn.Linear(16, logits)

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Return the hidden layer's activations (N, 16)."""
        return self.hidden(self.stages(pixels))

    @property
    def evidence(self) -> nn.Module:
        """The last convolution."""
        return self.stages[-3]

    def forward_head(self, features: Tensor) -> Tensor:
        """Return logits (N, 1 or 2)."""
        return self.head(features)


class Inception(nn.Module):
    """Four parallel branches: 1x1; 1x1 then 3x3; and the same with dilation 2 and 3; concatenated and normalised."""

    def __init__(self, inputs: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        a, b, c, d = widths
        self.branches = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(inputs, a, 1), nn.ReLU()),
                *(dilated(inputs, width, dilation) for dilation, width in enumerate((b, c, d), start=1)),
            ]
        )
        self.norm = nn.BatchNorm2d(sum(widths))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.norm(torch.cat([branch(pixels) for branch in self.branches], 1))


def dilated(inputs: int, width: int, dilation: int) -> nn.Sequential:
    """A 1x1 convolution, then a 3x3 one of the given dilation."""
    spatial = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
    return nn.Sequential(nn.Conv2d(inputs, width, 1), nn.ReLU(), spatial, nn.ReLU())


def convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    """A 5x5 convolution with ReLU and batch normalisation."""
    return nn.Conv2d(inputs, outputs, 5, padding=2), nn.ReLU(), nn.BatchNorm2d(outputs)
