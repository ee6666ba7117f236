"""The classifier that won the DFDC: an EfficientNet-B7, pooled, one logit.

Seferbekov 2020 (selimsef/dfdc_deepfake_challenge, MIT; written here from its description), on EfficientNet (Tan & Le
2019) with noisy-student weights (Xie et al. 2020).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.models.backbones import Fallback, backbone, rgb
from dfd.models.base import Detector

Pooling = Literal["mean", "weighted"]


class EfficientNet(Detector):
    """Features of an EfficientNet, averaged over places, and one linear layer.

    `pooling: weighted` learns how much each place counts; `srm` shows the network noise residuals instead of pixels.
    The classifier of ImageNet, which his checkpoints still carry, is left out: nothing uses it. `mean` and `std` are
    those that the weights were trained with, where they are not the architecture's own.
    """

    def __init__(
        self,
        architecture: str = "tf_efficientnet_b7.ns_jft_in1k",
        pretrained: bool | str = True,
        on_missing: Fallback = "error",
        size: int = 380,
        logits: int = 1,
        dropout: float = 0.0,
        drop_path: float = 0.2,
        pooling: Pooling = "mean",
        srm: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        network, spec, origin = backbone(architecture, pretrained, size, on_missing, drop_path_rate=drop_path)
        if not hasattr(network, "conv_head"):
            raise DfdError(f"{architecture} is not an EfficientNet; other networks of timm: model=efficientnet")
        super().__init__(replace(spec, mean=rgb(mean or spec.mean), std=rgb(std or spec.std)), origin)
        width: int = network.num_features  # type: ignore[assignment]
        self.srm = NoiseResiduals() if srm else nn.Identity()
        self.backbone = network
        self.pool = WeightedPool(width) if pooling == "weighted" else MeanPool()
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, logits))

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Return pooled features (N, D)."""
        return self.pool(self.backbone.forward_features(self.srm(pixels)))  # type: ignore[operator]

    @property
    def evidence(self) -> nn.Module:
        """The last map: with pooling by the mean its evidence plus the bias is the logit, exactly."""
        return self.backbone.bn2  # type: ignore[return-value]

    def forward_head(self, features: Tensor) -> Tensor:
        """Return logits (N, 1 or 2)."""
        return self.head(features)


class MeanPool(nn.Module):
    """The mean over all places of a map (N, C, H, W)."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean((2, 3))


class WeightedPool(nn.Module):
    """A mean over places of a map (N, C, H, W) that weighs each by exp(sigmoid) of a learned projection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(width, 1, 1)

    def forward(self, maps: Tensor) -> Tensor:
        weights = self.weigh(maps).sigmoid().exp()
        return (maps * (weights / weights.sum((2, 3), keepdim=True))).sum((2, 3))


class NoiseResiduals(nn.Module):
    """Three fixed high-pass filters of steganalysis (Fridrich & Kodovsky 2012), each over the sum of all colours."""

    kernels: Tensor

    def __init__(self) -> None:
        super().__init__()
        second = [[0, 0, 0, 0, 0], [0, -1, 2, -1, 0], [0, 2, -4, 2, 0], [0, -1, 2, -1, 0], [0, 0, 0, 0, 0]]
        square = [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]]
        line = [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, -2, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
        scaled = [torch.tensor(kernel) / scale for kernel, scale in ((second, 4), (square, 12), (line, 2))]
        self.register_buffer("kernels", torch.stack(scaled)[:, None].repeat(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return nn.functional.conv2d(pixels, self.kernels, padding=2)
