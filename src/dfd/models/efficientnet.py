"""The classifier that won the DFDC: an EfficientNet-B7, pooled, one logit.

Seferbekov 2020 (selimsef/dfdc_deepfake_challenge, MIT; written here from its description), on EfficientNet (Tan & Le
2019) with noisy-student weights (Xie et al. 2020).
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.models.backbones import Fallback, backbone, rgb
from dfd.models.base import Detector

Pooling = Literal["mean", "weighted"]
Padding = Literal["own", "nominal", "deepfakebench"]
NOMINAL = dict(enumerate((224, 240, 260, 300, 380, 456, 528, 600)))  # sizes of B0 to B7


class EfficientNet(Detector):
    """Features of an EfficientNet, averaged over places, and one linear layer.

    `pooling: weighted` learns how much each place counts; `srm` shows the network noise residuals instead of pixels.
    The classifier of ImageNet, which his checkpoints still carry, is left out: nothing uses it. `mean` and `std` are
    those that the weights were trained with, where they are not the architecture's own. Nor do weights tell how maps
    were padded where they are halved: as the input's size asks (`padding: own`), as the architecture's nominal size
    asks whatever the input's (`nominal`, efficientnet_pytorch 0.7), or so but in the first layer not at all
    (`deepfakebench`).
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
        padding: Padding = "own",
    ) -> None:
        network, spec, origin = backbone(architecture, pretrained, size, on_missing, drop_path_rate=drop_path)
        if not hasattr(network, "conv_head"):
            raise DfdError(f"{architecture} is not an EfficientNet; other networks of timm: model=efficientnet")
        super().__init__(replace(spec, mean=rgb(mean or spec.mean), std=rgb(std or spec.std)), origin)
        if padding != "own":
            pad_for(network, nominal_size(architecture), stem=padding == "nominal")
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


class PaddedConv(nn.Conv2d):
    """A convolution whose padding (left, right, top, bottom) is the same for inputs of every size."""

    def __init__(self, conv: nn.Conv2d, pad: tuple[int, int, int, int]) -> None:
        side, stride = (size[0] for size in (conv.kernel_size, conv.stride))
        biased = conv.bias is not None
        super().__init__(
            conv.in_channels, conv.out_channels, side, stride, groups=conv.groups, bias=biased, device="meta"
        )
        self.weight, self.bias, self.pad = conv.weight, conv.bias, pad

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(F.pad(maps, self.pad))


def pad_for(network: nn.Module, size: int, stem: bool = True) -> None:
    """Fix the padding of every convolution with a stride as an input of this size asks; `stem=False` spares the first.

    An even sum is split, of an odd one the end gets more (TensorFlow's rule).
    """
    for name, conv in list(network.named_modules()):
        if not isinstance(conv, nn.Conv2d) or conv.stride == (1, 1):
            continue
        short = max((-(-size // 2) - 1) * 2 + conv.kernel_size[0] - size, 0)
        first, last = (short // 2, short - short // 2) if stem or name != "conv_stem" else (0, 0)
        network.set_submodule(name, PaddedConv(conv, (first, last, first, last)))
        size = -(-size // 2)


def nominal_size(architecture: str) -> int:
    """Return the input size that an EfficientNet of this name was designed for."""
    found = re.match(r"tf_efficientnet_b(\d)(?!\d)", architecture)
    if found is None or int(found[1]) not in NOMINAL:
        raise DfdError(f"padding: {architecture} is none of tf_efficientnet_b0 to tf_efficientnet_b7")
    return NOMINAL[int(found[1])]


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
        return F.conv2d(pixels, self.kernels, padding=2)
