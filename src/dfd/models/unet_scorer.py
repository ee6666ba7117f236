"""A U-Net that classifies from its bottleneck and reconstructs its input: 4 to 6 levels, plain or residual.

Casadei, Enhancing abnormality identification: robust out-of-distribution strategies for deepfake detection, 2024.
Original code: FabrCas/master_thesis (MIT); written here from its description. The confidence branch is that of DeVries
and Taylor, Learning confidence for out-of-distribution detection in neural networks, 2018.
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.core.records import InputSpec
from dfd.core.tensors import Reconstructed
from dfd.models.base import Detector

Head = Literal["flatten", "pool"]
Skips = Literal["all", "deep", "none"]
NARROWER = (8, 32, 64, 128)  # the classifier's hidden layers, as fractions of the flattened bottleneck


class UnetScorer(Detector):
    """U-Net scorer; `features` are the input of its last linear layer.

    `head` flattens the bottleneck into four hidden layers, as the original, or pools it into one linear layer, which
    saves nine parameters in ten. `skips` says which levels hand their details to the decoder: with all of them it can
    copy its input, and what it fails to reconstruct says little.
    """

    def __init__(
        self,
        size: int = 224,
        depth: int = 5,
        width: int = 16,
        residual: bool = False,
        confidence: bool = False,
        head: Head = "flatten",
        skips: Skips = "all",
        logits: int = 2,
        dropout: float = 0.3,
    ) -> None:
        if size >> depth < 1:
            raise DfdError(
                f"a U-Net of depth {depth} halves {depth} times: size must be at least {2**depth}, got {size}"
            )
        if skips not in ("all", "deep", "none"):
            raise DfdError(f"skips={skips}: choose all, deep or none")
        super().__init__(InputSpec("image", size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
        sizes = [size >> level for level in range(depth + 1)]
        widths = [width << level for level in range(depth + 1)]
        first = {"all": 0, "deep": depth // 2, "none": depth}[skips]
        inputs = [3, *widths]
        self.down = nn.ModuleList(Down(inputs[i], widths[i], sizes[i], residual, i) for i in range(depth))
        self.bottleneck = block(widths[depth - 1], widths[depth])
        self.up = nn.ModuleList(
            Up(widths[i + 1], widths[i], sizes[i] - 2 * sizes[i + 1], i >= first) for i in reversed(range(depth))
        )
        self.paint = nn.Conv2d(width, 3, 1)
        self.scorer = Scorer(widths[depth], sizes[depth], head, dropout)
        self.confidence = nn.Linear(self.scorer.width, 1) if confidence else None
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.scorer.width, logits))
        self.apply(_initialise)

    def forward(self, pixels: Tensor) -> Reconstructed:  # type: ignore[override]  # begins as Output does
        """Classify and reconstruct; the target is the image itself, in [0, 1]."""
        code, details = self._encode((pixels - self.mean) / self.std)
        features, compact = self.scorer(code)
        confidence = None if self.confidence is None else self.confidence(features)[:, 0].float().sigmoid()
        painted = self._decode(code, details)
        return Reconstructed(self.head(features), features, code.flatten(1), compact, pixels, painted, confidence)

    def logits(self, pixels: Tensor) -> Tensor:
        """Return the logits without reconstructing."""
        return super().forward(pixels).logits

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Return the activations (N, D) that the last linear layer sees."""
        return self.scorer(self._encode(pixels)[0])[0]

    @property
    def evidence(self) -> nn.Module:
        """The bottleneck."""
        return self.bottleneck

    def forward_head(self, features: Tensor) -> Tensor:
        """Return logits (N, 1 or 2)."""
        return self.head(features)

    def _encode(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        details = []
        for level in self.down:
            pixels, detail = level(pixels)
            details.append(detail)
        return self.bottleneck(pixels), details

    def _decode(self, code: Tensor, details: list[Tensor]) -> Tensor:
        for level, detail in zip(self.up, reversed(details), strict=True):
            code = level(code, detail)
        return self.paint(code).float().sigmoid()


class Scorer(nn.Module):
    """From the bottleneck to (features, compact encoding)."""

    def __init__(self, channels: int, size: int, head: Head, dropout: float) -> None:
        super().__init__()
        if head == "pool":
            self.flatten: nn.Module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            widths = [channels]
        else:
            self.flatten = nn.Flatten()
            flat = channels * size * size
            widths = [flat, *(max(2, flat // part) for part in NARROWER)]
        self.first = nn.Identity() if len(widths) == 1 else dense(widths[0], widths[1])
        self.rest = nn.Sequential(*(nn.Sequential(nn.Dropout(dropout), dense(a, b)) for a, b in pairwise(widths[1:])))
        self.width = widths[-1]

    def forward(self, code: Tensor) -> tuple[Tensor, Tensor]:
        compact = self.first(self.flatten(code))
        return self.rest(compact), compact


class Down(nn.Module):
    """Two convolutions, then half the size; a residual level adds its strided input after pooling."""

    def __init__(self, inputs: int, outputs: int, size: int, residual: bool, level: int) -> None:
        super().__init__()
        self.block = block(inputs, outputs)
        self.pool = nn.MaxPool2d(2)
        kernel = 2 if level >= 4 or size % 2 else 1  # of 1 it would round an odd size up, where pooling rounds down
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, kernel, 2), nn.BatchNorm2d(outputs))
        self.shortcut = shortcut if residual else None

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        detail = self.block(pixels)
        half = self.pool(detail)
        return (half if self.shortcut is None else half + self.shortcut(pixels)), detail


class Up(nn.Module):
    """Twice the size, joined with the details of that level where it may see them, two convolutions."""

    def __init__(self, inputs: int, outputs: int, odd: int, skip: bool) -> None:
        super().__init__()
        self.grow = nn.ConvTranspose2d(inputs, outputs, 2, 2, output_padding=odd)
        self.skip = skip
        self.block = block(2 * outputs if skip else outputs, outputs)

    def forward(self, code: Tensor, detail: Tensor) -> Tensor:
        grown = self.grow(code)
        return self.block(torch.cat([grown, detail], 1) if self.skip else grown)


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with batch normalisation and ReLU."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def dense(inputs: int, outputs: int) -> nn.Sequential:
    """A linear layer with batch normalisation and ReLU."""
    return nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU())


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)
