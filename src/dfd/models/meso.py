"""MesoInception-4 and Meso-4: a few small convolutions and two linear layers; 28 thousand parameters.

Afchar, Nozick, Yamagishi, Echizen: MesoNet, a compact facial video forgery detection network, WIFS 2018.
Original code: DariusAf/MesoNet (Apache-2.0, Keras); written here from the paper.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.core.records import InputSpec
from dfd.models.base import Detector


class MesoInception4(Detector):
    """Two dilated inception blocks and two convolutions; `size` must be a multiple of 32 (256 in the paper).

    `linear_branches` leaves out what is between and after the convolutions of a block, as DeepfakeBench does.
    """

    def __init__(self, size: int = 256, logits: int = 1, dropout: float = 0.5, linear_branches: bool = False) -> None:
        super().__init__(_input(size))
        self.stages = nn.Sequential(
            Inception(3, (1, 4, 4, 2), linear_branches),
            nn.MaxPool2d(2),
            Inception(11, (2, 4, 4, 2), linear_branches),
            nn.MaxPool2d(2),
            *convolution(12, 16),
            nn.MaxPool2d(2),
            *convolution(16, 16),
            nn.MaxPool2d(4),
            nn.Flatten(),
        )
        self.hidden = _hidden(size, dropout)
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


class Meso4(Detector):
    """Four convolutions, of which two each share their normalisation, as in DeepfakeBench's code.

    The same paper's network. `size` must be a multiple of 32 (256 in the paper).
    """

    def __init__(self, size: int = 256, logits: int = 1, dropout: float = 0.5) -> None:
        super().__init__(_input(size))
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(8, 8, 5, padding=2, bias=False)
        self.conv3 = nn.Conv2d(8, 16, 5, padding=2, bias=False)
        self.conv4 = nn.Conv2d(16, 16, 5, padding=2, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(8), nn.BatchNorm2d(16)
        self.hidden = _hidden(size, dropout)
        self.head = nn.Linear(16, logits)

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Return the hidden layer's activations (N, 16)."""
        maps = F.max_pool2d(self.norm1(self.conv1(pixels).relu()), 2)
        maps = F.max_pool2d(self.norm1(self.conv2(maps).relu()), 2)
        maps = F.max_pool2d(self.norm2(self.conv3(maps).relu()), 2)
        maps = F.max_pool2d(self.norm2(self.conv4(maps).relu()), 4)
        return self.hidden(maps.flatten(1))

    @property
    def evidence(self) -> nn.Module:
        """The last convolution."""
        return self.conv4

    def forward_head(self, features: Tensor) -> Tensor:
        """Return logits (N, 1 or 2)."""
        return self.head(features)


def _input(size: int) -> InputSpec:
    if size % 32:
        raise DfdError(f"this network pools five times by two: size must be a multiple of 32, got {size}")
    return InputSpec("image", size, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def _hidden(size: int, dropout: float) -> nn.Sequential:
    hidden = nn.Linear(16 * (size // 32) ** 2, 16)
    return nn.Sequential(nn.Dropout(dropout), hidden, nn.LeakyReLU(0.1), nn.Dropout(dropout))


class Inception(nn.Module):
    """Four parallel branches: 1x1; 1x1 then 3x3; and the same with dilation 2 and 3; concatenated and normalised."""

    def __init__(self, inputs: int, widths: tuple[int, int, int, int], linear: bool = False) -> None:
        super().__init__()
        a, b, c, d = widths
        between = nn.Identity if linear else nn.ReLU
        self.branches = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(inputs, a, 1), between()),
                *(dilated(inputs, width, dilation, between) for dilation, width in enumerate((b, c, d), start=1)),
            ]
        )
        self.norm = nn.BatchNorm2d(sum(widths))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.norm(torch.cat([branch(pixels) for branch in self.branches], 1))


def dilated(inputs: int, width: int, dilation: int, between: Callable[[], nn.Module]) -> nn.Sequential:
    """A 1x1 convolution, then a 3x3 one of the given dilation."""
    spatial = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
    return nn.Sequential(nn.Conv2d(inputs, width, 1), between(), spatial, between())


def convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    """A 5x5 convolution with ReLU and batch normalisation."""
    return nn.Conv2d(inputs, outputs, 5, padding=2), nn.ReLU(), nn.BatchNorm2d(outputs)
