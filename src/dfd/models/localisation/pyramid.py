"""What lies between a backbone and segments: the points of a pyramid, necks, and heads for scores and boundaries.

Parameters keep the names of ActionFormer and TriDet (both MIT). Sequences are (N, T, C).
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.models.localisation.layers import ChannelNorm, Depthwise, MaskedConv, Scale, Steps, neighbours

FAR = 10_000.0


class Points(NamedTuple):
    """The points of all levels, (P,): where they lie and their stride in steps, and which distances are theirs.

    A point is responsible for a stretch whose farther end is between `near` and `far` steps away.
    """

    place: Tensor
    stride: Tensor
    near: Tensor
    far: Tensor


def ranges(levels: int, first: float = 4.0) -> list[tuple[float, float]]:
    """Return the distances that each level is responsible for: doubling from `first` steps, the last without end."""
    edges = [0.0, *(first * 2**level for level in range(levels - 1)), FAR]
    return list(pairwise(edges))


def points(length: int, reach: Sequence[tuple[float, float]], device: torch.device | None = None) -> Points:
    """Lay points over a grid of `length` steps: every step on the first level, every second on the next, and so on."""
    parts = []
    for level, (near, far) in enumerate(reach):
        place = torch.arange(0, length, 2**level, device=device, dtype=torch.float32)
        parts.append([place, *(torch.full_like(place, value) for value in (2.0**level, near, far))])
    return Points(*(torch.cat(column) for column in zip(*parts)))


def levels_of(mask: Tensor, levels: int) -> list[Steps]:
    """Return the steps of every level; the length must be divisible by the stride of the last."""
    if mask.shape[1] % 2 ** (levels - 1):
        raise DfdError(
            f"a sequence of {mask.shape[1]} steps cannot be halved {levels - 1} times: "
            f"choose a length that is a multiple of {2 ** (levels - 1)}"
        )
    found = [Steps(mask)]
    for _ in range(levels - 1):
        found.append(found[-1].halved())
    return found


class Identity(nn.Module):
    """A neck that only normalises."""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.fpn_norms = nn.ModuleList(ChannelNorm(channels) for _ in range(levels))

    def forward(self, features: Sequence[Tensor], steps: Sequence[Steps]) -> list[Tensor]:
        """Normalise every level."""
        return [norm(level) for norm, level in zip(self.fpn_norms, features)]


class FeaturePyramid(nn.Module):
    """A neck that adds coarse levels to finer ones."""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(MaskedConv(channels, channels, 1, bias=False) for _ in range(levels))
        self.fpn_convs = nn.ModuleList(Depthwise(channels) for _ in range(levels))
        self.fpn_norms = nn.ModuleList(ChannelNorm(channels) for _ in range(levels))

    def forward(self, features: Sequence[Tensor], steps: Sequence[Steps]) -> list[Tensor]:
        """Add from the top down, then smooth and normalise every level."""
        found = [conv(level, s) for conv, level, s in zip(self.lateral_convs, features, steps)]
        for level in range(len(found) - 1, 0, -1):
            found[level - 1] = found[level - 1] + found[level].repeat_interleave(2, 1)
        parts = zip(found, steps, self.fpn_convs, self.fpn_norms)
        return [norm(conv(neighbours(level, 1)) * s.weight) for level, s, conv, norm in parts]


Neck = Literal["identity", "fpn"]


def neck(kind: Neck, channels: int, levels: int) -> nn.Module:
    """Build a neck by name."""
    kinds = {"identity": Identity, "fpn": FeaturePyramid}
    if kind not in kinds:
        raise DfdError(f"neck={kind!r} is not known: choose one of {', '.join(kinds)}")
    return kinds[kind](channels, levels)


class _Head(nn.Module):
    """Convolutions with norms and ReLUs, shared over levels, in front of what a head predicts."""

    def __init__(self, channels: int, width: int, layers: int, kernel: int) -> None:
        super().__init__()
        widths = [channels] + [width] * (layers - 1)
        self.head = nn.ModuleList(MaskedConv(a, b, kernel, bias=False) for a, b in pairwise(widths))
        self.norm = nn.ModuleList(ChannelNorm(width) for _ in range(layers - 1))

    def features(self, x: Tensor, steps: Steps) -> Tensor:
        for conv, norm in zip(self.head, self.norm):
            x = F.relu(norm(conv(x, steps)))
        return x


class ClassHead(_Head):
    """Scores of points; the bias begins where a point is forged with probability `prior`."""

    def __init__(
        self, channels: int, width: int, classes: int = 1, layers: int = 3, kernel: int = 3, prior: float = 0.01
    ) -> None:
        super().__init__(channels, width, layers, kernel)
        self.cls_head = MaskedConv(width, classes, kernel)
        nn.init.constant_(self.cls_head.conv.bias, -math.log((1 - prior) / prior))  # type: ignore[arg-type]

    def forward(self, x: Tensor, steps: Steps) -> tuple[Tensor, Tensor]:
        """Return logits (N, T, classes) and the features (N, T, width) that they are made of."""
        x = self.features(x, steps)
        return self.cls_head(x, steps), x


class OffsetHead(_Head):
    """Distances to both boundaries; with `bins`, their distributions over 0 to `bins` strides."""

    def __init__(self, channels: int, width: int, levels: int, layers: int = 3, kernel: int = 3, bins: int = 0) -> None:
        super().__init__(channels, width, layers, kernel)
        self.scale = nn.ModuleList(Scale() for _ in range(levels))
        self.offset_head = MaskedConv(width, 2 * (bins + 1), kernel)

    def forward(self, x: Tensor, steps: Steps, level: int) -> tuple[Tensor, Tensor]:
        """Return what is predicted (N, T, 2 (bins + 1)), not negative, and the features that it is made of."""
        x = self.features(x, steps)
        return F.relu(self.scale[level](self.offset_head(x, steps))), x


class DistributionHead(OffsetHead):
    """Boundaries as logits over 0 to `bins` strides (Li et al., Generalized Focal Loss, NeurIPS 2020)."""

    def forward(self, x: Tensor, steps: Steps, level: int) -> tuple[Tensor, Tensor]:
        """Return logits (N, T, 2 (bins + 1)) and the features that they are made of."""
        x = self.features(x, steps)
        return self.scale[level](self.offset_head(x, steps)), x


def expectation(logits: Tensor) -> Tensor:
    """Return the mean place (..., 2) of distributions (..., 2, bins + 1)."""
    place = torch.arange(logits.shape[-1], device=logits.device, dtype=logits.dtype)
    return logits.softmax(-1) @ place
