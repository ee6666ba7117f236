"""An abnormality module: a small network that scores how abnormal a view is from a frozen detector's outputs.

After Hendrycks and Gimpel, A baseline for detecting misclassified and out-of-distribution examples, ICLR 2017, and
Casadei, Enhancing abnormality identification, 2024 (FabrCas/master_thesis, MIT; written here from its description).
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from dfd.core.errors import DfdError, did_you_mean
from dfd.core.tensors import Output, Reconstructed
from dfd.models.base import Detector

FinalActivation = Literal["none", "original"]


class Variant(NamedTuple):
    """How the residual is encoded, down to about `side` pixels, and how the parts are fused."""

    block: Literal["flat", "pooled", "strided"]
    width: int
    levels: int
    side: int
    trunk: tuple[int, ...]
    compact: bool = False
    branch: tuple[int, ...] | None = None  # late fusion: a trunk each for residual and encoding


TRUNK = (2048, 1024, 512, 128)
VARIANTS = {
    "basic": Variant("flat", 0, 0, 0, (1024, 512, 128)),  # after a first layer that grows with its input
    "v1": Variant("pooled", 16, 4, 14, TRUNK),
    "v2": Variant("strided", 16, 4, 14, (4096, *TRUNK)),
    "v3": Variant("strided", 4, 5, 7, (1024, 512, 128), compact=True),
    "v4": Variant("strided", 16, 4, 14, (4096, *TRUNK, 10), branch=(4096, *TRUNK, 10)),
    "v4_small": Variant("strided", 4, 5, 7, (512, 128, 10), compact=True, branch=(128, 10)),
}


class AbnormalityDetector(Detector):
    """Turns a frozen detector's (probabilities, encoding, residual) into one logit: up = more abnormal.

    The base stays in evaluation mode whatever `train()` says, gets no gradient and travels with the checkpoint. The
    residual is the squared error of its reconstruction, in single precision and standardised; a base that reconstructs
    nothing is judged by the other two. `final_activation: original` puts the original's normalisation and GELU behind
    the logit, which keeps every risk above 0.457.
    """

    looks_at_base = True

    def __init__(
        self,
        base: Detector,
        variant: str = "v3",
        final_activation: FinalActivation = "none",
    ) -> None:
        if not isinstance(base, Detector):
            raise DfdError(
                f"an abnormality module needs a trained run as its base: model.base=outputs/..., got {base!r}"
            )
        if variant not in VARIANTS:
            raise DfdError(f"variant={variant}: choose from {', '.join(VARIANTS)}{did_you_mean(variant, VARIANTS)}")
        super().__init__(base.input, f"random weights, over a base from {base.initialised_from}")
        self.base = base.requires_grad_(False).eval()
        shape = VARIANTS[variant]
        self.compact = shape.compact
        seen = self._look(torch.zeros(2, *input_shape(base), device=base.mean.device))
        self.residual = Residual(seen.residual.shape[1:], shape) if seen.residual is not None else None
        widths = [part.shape[1] for part in (seen.probabilities, seen.encoding)]
        self.trunk = (
            LateFusion(widths, self.residual, shape) if shape.branch else EarlyFusion(widths, self.residual, shape)
        )
        self.head = nn.Linear(self.trunk.width, 1)
        for part in (self.residual, self.trunk, self.head):
            if part is not None:
                part.apply(_initialise)
        self.final = nn.Sequential(nn.BatchNorm1d(1), nn.GELU()) if final_activation == "original" else nn.Identity()

    def train(self, mode: bool = True) -> "AbnormalityDetector":
        """Train everything but the base."""
        super().train(mode)
        self.base.eval()
        return self

    def answering(self) -> Detector:
        """Return the base, whose logits say real or fake."""
        return self.base

    def forward(self, pixels: Tensor) -> Output:
        """Run the base on views, and score its outputs."""
        features = self._judge(self._look(pixels))
        return Output(self.forward_head(features), features)

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Return the input (N, D) of the last linear layer; the base normalises pixels itself."""
        return self._judge(self._look(pixels * self.std + self.mean))

    def forward_head(self, features: Tensor) -> Tensor:
        """Return one logit, (N, 1)."""
        return self.final(self.head(features))

    def _look(self, pixels: Tensor) -> "Seen":
        with torch.no_grad(), torch.autocast(pixels.device.type, enabled=False):  # half precision drowns residuals
            answer: Any = self.base(pixels.float())
            logits = answer.logits
            probability = logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)
            probabilities = torch.cat([1 - probability, probability], 1) if logits.shape[1] == 1 else probability
            if not isinstance(answer, Reconstructed):
                return Seen(probabilities, answer.features, None)
            if answer.confidence is not None:
                probabilities = torch.cat([probabilities, answer.confidence[:, None]], 1)
            encoding = answer.compact if self.compact else answer.encoding
            return Seen(probabilities, encoding, (answer.reconstruction - answer.target).square())

    def _judge(self, seen: "Seen") -> Tensor:
        residual = None if self.residual is None else self.residual(seen.residual)
        return self.trunk(seen.probabilities, seen.encoding, residual)


class Seen(NamedTuple):
    """Outputs of the base for a batch of views: (N, C), (N, D), (N, 1 or 3, H, W)."""

    probabilities: Tensor
    encoding: Tensor
    residual: Tensor | None


class Residual(nn.Module):
    """Standardise a residual map in single precision, encode and flatten it."""

    def __init__(self, shape: Sequence[int], variant: Variant) -> None:
        super().__init__()
        channels, size = shape[0], shape[-1]
        # squared errors are tiny: the usual 1e-5 beside their variance would flatten them
        self.standardise = nn.BatchNorm2d(channels, eps=1e-16)
        levels = levels_for(size, variant)
        widths = [channels, *(variant.width << level for level in range(levels))]
        build = pooled if variant.block == "pooled" else strided
        self.levels = nn.Sequential(*(build(a, b) for a, b in pairwise(widths)), nn.Flatten())
        for _ in range(levels):
            size = size // 2 if variant.block == "pooled" else (size + 1) // 2
        self.width = widths[-1] * size * size

    def forward(self, residual: Tensor) -> Tensor:
        return self.levels(self.standardise(residual))  # autocast leaves batch normalisation in single precision


class EarlyFusion(nn.Module):
    """One trunk over the concatenation of all parts."""

    def __init__(self, widths: Sequence[int], residual: Residual | None, variant: Variant) -> None:
        super().__init__()
        total = sum(widths) + (0 if residual is None else residual.width)
        first = (max(4096, total // 1000),) if variant.block == "flat" else ()
        self.layers = trunk(total, (*first, *variant.trunk))
        self.width = variant.trunk[-1]

    def forward(self, probabilities: Tensor, encoding: Tensor, residual: Tensor | None) -> Tensor:
        parts = [probabilities, encoding] if residual is None else [probabilities, encoding, residual]
        return self.layers(torch.cat(parts, 1))


class LateFusion(nn.Module):
    """A trunk each for residual and encoding, joined with the probabilities before the last layer."""

    def __init__(self, widths: Sequence[int], residual: Residual | None, variant: Variant) -> None:
        super().__init__()
        assert variant.branch is not None
        self.encoding = trunk(widths[1], variant.branch)
        self.residual = None if residual is None else trunk(residual.width, variant.trunk)
        self.width = widths[0] + variant.branch[-1] + (0 if residual is None else variant.trunk[-1])

    def forward(self, probabilities: Tensor, encoding: Tensor, residual: Tensor | None) -> Tensor:
        parts = [probabilities, self.encoding(encoding)]
        if self.residual is not None:
            parts.append(self.residual(residual))
        return torch.cat(parts, 1)


def levels_for(size: int, variant: Variant) -> int:
    """Return how many halvings bring a map of this size nearest to the variant's side."""
    return 0 if variant.block == "flat" else max(1, min(variant.levels, round(math.log2(size / variant.side))))


def input_shape(network: Detector) -> tuple[int, ...]:
    """Return the shape of one view as a network wants it."""
    spec = network.input
    return (3, spec.size, spec.size) if spec.kind == "image" else (spec.frames, 3, spec.size, spec.size)


def trunk(inputs: int, widths: Sequence[int]) -> nn.Sequential:
    """Linear layers, each with batch normalisation and GELU."""
    sizes = [inputs, *widths]
    return nn.Sequential(*(nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.GELU()) for a, b in pairwise(sizes)))


def pooled(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions and a pooling."""
    return nn.Sequential(convolution(inputs, outputs), convolution(outputs, outputs), nn.MaxPool2d(2))


def strided(inputs: int, outputs: int) -> nn.Sequential:
    """Three convolutions, the middle one strided."""
    return nn.Sequential(convolution(inputs, outputs), convolution(outputs, outputs, 2), convolution(outputs, outputs))


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution with batch normalisation and GELU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.GELU())


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.normal_(module.weight, std=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
