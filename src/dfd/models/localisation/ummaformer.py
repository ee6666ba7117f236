"""UMMAFormer: what a model of real clips cannot rebuild is suspicious.

Zhang, Wang, Du, Hu, Liu, Qian: UMMAFormer, A Universal Multimodal-adaptive Transformer Framework for Temporal Forgery
Localization, ACM MM 2023. Original code: ymhzyj/UMMAFormer (MIT), whose parameter names are kept; written here from the
paper and the behaviour of that code.

An autoencoder rebuilds the features of real clips; cross-attention compares a clip with its reconstruction (temporal
feature abnormal attention); every level of the pyramid attends to a stream at full resolution and back (parallel
cross-attention feature pyramid).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.core.records import FeatureStream
from dfd.models.localisation.actionformer import ConvTransformer
from dfd.models.localisation.layers import ChannelNorm, CrossBlock, MaskedConv, Pointwise, Steps
from dfd.models.localisation.localiser import Encoded, PyramidLocaliser, instance_norm, l1
from dfd.models.localisation.pyramid import Neck
from dfd.models.localisation.pyramid import neck as make_neck

SLOPE = 0.2
HALVINGS = 5


class MaskedConvTranspose(nn.Module):
    """A transposed convolution that doubles the steps, then zeros outside the video."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(inputs, outputs, 3, 2, 1, output_padding=1)

    def forward(self, x: Tensor, steps: Steps) -> Tensor:
        """Turn (N, T, inputs) into (N, 2 T, outputs); `steps` are those of the result."""
        return self.conv(x.transpose(1, 2)).transpose(1, 2) * steps.weight


def normalised(x: Tensor, steps: Steps | None) -> Tensor:
    """Standardise every channel of every sample over time, (N, T, C); over the steps within the video if given."""
    return F.instance_norm(x.transpose(1, 2)).transpose(1, 2) if steps is None else instance_norm(x, steps)


class Down(nn.Module):
    """Halve the steps."""

    def __init__(self, inputs: int, outputs: int, masked: bool) -> None:
        super().__init__()
        self.conv_block = MaskedConv(inputs, outputs, 3, 2)
        self.masked = masked

    def forward(self, x: Tensor, steps: Steps) -> Tensor:
        """Convolve, standardise, activate."""
        return F.leaky_relu(normalised(self.conv_block(x, steps), steps if self.masked else None), SLOPE)


class Up(nn.Module):
    """Double the steps; the last one may stay linear, so that it can rebuild features of any sign and scale."""

    def __init__(self, inputs: int, outputs: int, masked: bool, linear: bool = False) -> None:
        super().__init__()
        self.conv_transpose = MaskedConvTranspose(inputs, outputs)
        self.masked, self.linear = masked, linear

    def forward(self, x: Tensor, steps: Steps) -> Tensor:
        """Convolve, and unless linear standardise and activate."""
        x = self.conv_transpose(x, steps)
        return x if self.linear else F.leaky_relu(normalised(x, steps if self.masked else None), SLOPE)


class DeepInterpolator(nn.Module):
    """An autoencoder of five halvings with a classifier of the whole clip on its narrowest part."""

    def __init__(self, inputs: int, channels: int, width: int, paper_compat: bool) -> None:
        super().__init__()
        masked = not paper_compat
        widths = [inputs, width, 2 * width, 4 * width, 8 * width, channels]
        downs = [Down(a, b, masked) for a, b in pairwise(widths)]
        back = [channels, 8 * width, 4 * width, 2 * width, width, inputs]
        linear = [False] * (HALVINGS - 1) + [masked]
        ups = [Up(a, b, masked, last) for (a, b), last in zip(pairwise(back), linear)]
        self.masked = masked
        self.contraction = nn.ModuleDict({f"down_{place + 1}": down for place, down in enumerate(downs)})
        self.expansion = nn.ModuleDict({f"up_{place + 1}": up for place, up in enumerate(ups)})
        self.conv0 = nn.Sequential(Pointwise(channels, channels, bias=False))
        self.conv1 = nn.Linear(2 * channels, channels, bias=False)
        self.conv2 = nn.Linear(channels, 1)
        self.bn1 = ChannelNorm(channels)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor, steps: Sequence[Steps]) -> tuple[Tensor, Tensor]:
        """Return the reconstruction (N, T, inputs) and a logit of every clip (N,)."""
        for down, at in zip(self.contraction.values(), steps[1:]):
            x = down(x, at)
        logit = self.classify(x, steps[HALVINGS])
        for up, at in zip(self.expansion.values(), self.back(steps)):
            x = up(x, at)
        return x, logit

    def back(self, steps: Sequence[Steps]) -> list[Steps]:
        """Return the steps of every doubling; the original's reach beyond a video of odd length."""
        if self.masked:
            return list(reversed(steps[:HALVINGS]))
        found = [steps[HALVINGS]]
        for _ in range(HALVINGS):
            found.append(Steps(found[-1].valid.repeat_interleave(2, 1)))
        return found[1:]

    def classify(self, x: Tensor, steps: Steps) -> Tensor:
        """Return the logit of every clip (N,) from the narrowest features (N, T / 32, C)."""
        x = self.conv0(x)
        x = F.leaky_relu(normalised(x, steps if self.masked else None), SLOPE)
        if self.masked:
            most = x.masked_fill(~steps.valid.unsqueeze(-1), -torch.inf).amax(1)
            most = most.masked_fill(~steps.valid.any(1, keepdim=True), 0)
            mean = (x * steps.weight).sum(1) / steps.weight.sum(1).clamp(min=1)
        else:
            most, mean = x.amax(1), x.mean(1)
        x = F.relu(self.bn1(self.conv1(torch.cat([most, mean], 1)).unsqueeze(1))).squeeze(1)
        return self.conv2(self.dropout(x)).squeeze(1)


class CrossPyramid(ConvTransformer):
    """ActionFormer's pyramid whose every level attends to a stream at full resolution and is attended by it.

    The last `hh_branch` has no way to the output; it is there, frozen, for the original's checkpoints.
    """

    def __init__(
        self, inputs: int, channels: int, heads: int, window: int, windows: Sequence[int], **options: Any
    ) -> None:
        super().__init__(inputs, channels, heads, windows=windows, **options)
        cross = {"drop_path": options["drop_path"], "dropout": options["dropout"]}
        count = options["arch"][2]

        def blocks(number: int) -> nn.ModuleList:
            return nn.ModuleList(CrossBlock(channels, heads, window, **cross) for _ in range(number))

        self.resselfattention = CrossBlock(channels, heads, window, **cross)
        self.lh_branch, self.hh_branch = blocks(count), blocks(count)
        self.hh_branch[-1].requires_grad_(False)

    def compare(self, x: Tensor, rebuilt: Tensor, steps: Sequence[Steps]) -> list[Tensor]:
        """Turn a sequence and its reconstruction, (N, T, inputs) each, into the features of every level."""
        x, rebuilt = self.placed(x, steps[0]), self.placed(rebuilt, steps[0])
        x = self.resselfattention(x, rebuilt, x, steps[0])
        for block in self.stem:
            x = block(x, steps[0])
        fine, found = x, []
        for level, (branch, across, back) in enumerate(zip(self.branch, self.lh_branch, self.hh_branch)):
            x = branch(x, steps[level + 1])
            found.append(x)
            fine = across(fine, x, x, steps[0], repeat=2 ** (level + 1))
            if level + 1 < len(self.branch):
                coarse = fine[:, :: 2 ** (level + 1)]
                x = back(x, coarse, coarse, steps[level + 1])
        return [fine, *found]


class UMMAFormer(PyramidLocaliser):
    """UMMAFormer over all streams side by side.

    `paper_compat` keeps what the original computes where it is better done otherwise: the autoencoder's last layer
    standardises and activates, so that it cannot rebuild most features, and its statistics run over padding too.

    Args:
        streams: what it reads: name, width and rate in Hz of every stream of features.
        length: steps of the grid, a multiple of 32.
        rate: steps of the grid per second.
        channels: width of the backbone and the neck.
        head_channels: width of the heads.
        heads: of attention.
        arch: numbers of embedding layers, stem blocks and branch blocks; the last is at least 5 or the autoencoder's.
        window: steps that a query sees.
        window_last: window of the last level; -1 for all.
        rebuild_channels: width of the autoencoder's first layer; its widest has eight times as many.
        neck: `fpn` or `identity`.
        positions: whether sinusoidal positions are added.
        drop_path: rate at which residual branches are dropped.
        dropout: rate in the MLPs.
        paper_compat: compute the reconstruction exactly as the original does.
        options: of every localiser: first_range, classes, standardise, quality, bins, attribute.
    """

    def __init__(
        self,
        streams: Sequence[FeatureStream | Sequence] | None = None,
        length: int = 768,
        rate: float = 25.0,
        channels: int = 256,
        head_channels: int = 256,
        heads: int = 4,
        arch: Sequence[int] = (2, 2, 5),
        window: int = 7,
        window_last: int = -1,
        rebuild_channels: int = 256,
        neck: Neck = "fpn",
        positions: bool = True,
        drop_path: float = 0.1,
        dropout: float = 0.0,
        paper_compat: bool = False,
        **options: Any,
    ) -> None:
        levels = arch[2] + 1
        super().__init__(streams, length, rate, levels, channels, head_channels, **options)
        if length % 2**HALVINGS:
            raise DfdError(f"length={length}: UMMAFormer's autoencoder halves {HALVINGS} times; take a multiple of 32")
        self.backbone = CrossPyramid(
            self.channels,
            channels,
            heads,
            window,
            [window] * (levels - 1) + [window_last],
            arch=arch,
            length=length,
            positions=positions,
            drop_path=drop_path,
            dropout=dropout,
        )
        self.neck = make_neck(neck, channels, levels)
        self.interpolator = DeepInterpolator(self.channels, channels, rebuild_channels, paper_compat)

    def encode(self, x: Tensor, steps: Sequence[Steps]) -> Encoded:
        """Rebuild a sequence (N, T, C), compare, and return the features of every level."""
        deep = list(steps)
        while len(deep) <= HALVINGS:
            deep.append(deep[-1].halved())
        rebuilt, logit = self.interpolator(x, deep)
        levels = self.neck(self.backbone.compare(x, rebuilt, steps), steps)
        # how far it is off only matters in training, and is not cheap
        return Encoded(levels, l1(rebuilt, x, steps[0]) if self.training else None, logit)
