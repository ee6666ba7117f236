"""TriDet: scalable-granularity perception instead of attention, and boundaries from the points around them.

Shi, Zhong, Cao, Ma, Li, Tao: TriDet, Temporal Action Detection with Relative Boundary Modeling, CVPR 2023. Original
code: dingfengshi/TriDet (MIT), whose parameter names are kept; written here from the paper and the behaviour of that
code.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.core.records import FeatureStream
from dfd.models.localisation.layers import AffineDropPath, ChannelNorm, Embedding, Pointwise, Positions, Steps, pooled
from dfd.models.localisation.localiser import Encoded, PyramidLocaliser
from dfd.models.localisation.pyramid import ClassHead, Neck, OffsetHead
from dfd.models.localisation.pyramid import neck as make_neck

GROUPS = 16


class SgpBlock(nn.Module):
    """A scalable-granularity perception block: an instant branch, a window branch of two sizes, and an MLP.

    Means over time and group norms run over the steps within the video; with `paper_compat` over the padding too.
    """

    def __init__(
        self,
        channels: int,
        kernel: int,
        ratio: float,
        hidden: int,
        stride: int = 1,
        drop_path: float = 0.0,
        spread: float = 0.2,
        paper_compat: bool = False,
    ) -> None:
        super().__init__()
        self.stride, self.masked = stride, not paper_compat
        self.ln = ChannelNorm(channels)
        self.gn = nn.GroupNorm(GROUPS, channels)
        wide = round((kernel + 1) * ratio)
        wide += wide % 2 == 0

        def conv(size: int) -> nn.Conv1d:
            made = nn.Conv1d(channels, channels, size, padding=size // 2, groups=channels)
            nn.init.normal_(made.weight, 0, spread)
            nn.init.zeros_(made.bias)  # type: ignore[arg-type]
            return made

        self.psi, self.fc, self.convw, self.convkw, self.global_fc = map(conv, (kernel, 1, kernel, wide, 1))
        self.mlp = nn.Sequential(Pointwise(channels, hidden), nn.GELU(), Pointwise(hidden, channels))
        self.drop_path_out = AffineDropPath(channels, drop_path) if drop_path else nn.Identity()
        self.drop_path_mlp = AffineDropPath(channels, drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor, steps: Steps) -> Tensor:
        """Turn (N, T, C) into (N, T / stride, C); `steps` are those of the result."""
        x = x if self.stride == 1 else pooled(x, self.stride)
        x = x * steps.weight if self.masked else x
        h = self.ln(x).transpose(1, 2)
        if self.masked:
            h = h * steps.weight.transpose(1, 2)
        window = (self.convw(h) + self.convkw(h)) * self.psi(h)
        instant = self.fc(h) * F.relu(self.global_fc(self._mean(h, steps)))
        out = x * steps.weight + self.drop_path_out((instant + window + h).transpose(1, 2))
        if self.masked:
            out = out * steps.weight
        out = out + self.drop_path_mlp(self.mlp(self._group_norm(out, steps)))
        return out * steps.weight if self.masked else out

    def _mean(self, h: Tensor, steps: Steps) -> Tensor:
        if not self.masked:
            return h.mean(-1, keepdim=True)
        weight = steps.weight.transpose(1, 2)
        return (h * weight).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True).clamp(min=1)

    def _group_norm(self, x: Tensor, steps: Steps) -> Tensor:
        if not self.masked:
            return self.gn(x.transpose(1, 2)).transpose(1, 2)
        grouped, weight = x.unflatten(-1, (GROUPS, -1)), steps.weight.unsqueeze(-1)
        count = weight.sum((1, 3), keepdim=True).clamp(min=1) * grouped.shape[-1]
        mean = (grouped * weight).sum((1, 3), keepdim=True) / count
        variance = ((grouped - mean).square() * weight).sum((1, 3), keepdim=True) / count
        normal = ((grouped - mean) * (variance + self.gn.eps).rsqrt()).flatten(-2)
        return normal * self.gn.weight + self.gn.bias


class SgpPyramid(Embedding):
    """Embedding, a stem of kernel 1 at full resolution, and branches that each halve it; all levels are returned."""

    def __init__(
        self,
        inputs: int,
        channels: int,
        arch: Sequence[int],
        window: int,
        length: int,
        positions: bool,
        drop_path: float,
        **block: Any,
    ) -> None:
        super().__init__(inputs, channels, arch[0])
        self.positions = Positions(length, channels) if positions else None
        self.stem = nn.ModuleList(SgpBlock(channels, 1, **block) for _ in range(arch[1]))
        self.branch = nn.ModuleList(
            SgpBlock(channels, window, stride=2, drop_path=drop_path, **block) for _ in range(arch[2])
        )

    def forward(self, x: Tensor, steps: Sequence[Steps]) -> list[Tensor]:
        """Turn (N, T, inputs) into the features of every level."""
        x = self.embed(x, steps[0])
        if self.positions is not None:
            x = self.positions(x, steps[0])
        for block in self.stem:
            x = block(x, steps[0])
        found = [x]
        for block, at in zip(self.branch, steps[1:]):
            found.append(block(found[-1], at))
        return found


class TriDet(PyramidLocaliser):
    """TriDet over all streams side by side.

    Args:
        streams: what it reads: name, width and rate in Hz of every stream of features.
        length: steps of the grid, a multiple of the last level's stride.
        rate: steps of the grid per second.
        channels: width of the backbone and the neck, a multiple of 16.
        head_channels: width of the heads.
        arch: numbers of embedding layers, stem blocks and branch blocks.
        window: kernel of the branches.
        ratio: by how much their larger kernel is larger.
        mlp_channels: width inside the MLPs.
        boundary_bins: how many strides a boundary can lie away from its point.
        boundary_kernel: kernel of the heads of starts and ends.
        spread: standard deviation of the convolutions at the start; 0 begins as the identity.
        neck: `identity` or `fpn`.
        positions: whether sinusoidal positions are added.
        drop_path: rate at which residual branches are dropped.
        paper_compat: let means and norms run over padding, as the original's do.
        options: of every localiser: first_range, standardise, quality, attribute.
    """

    def __init__(
        self,
        streams: Sequence[FeatureStream | Sequence] | None = None,
        length: int = 768,
        rate: float = 25.0,
        channels: int = 256,
        head_channels: int = 256,
        arch: Sequence[int] = (2, 2, 5),
        window: int = 15,
        ratio: float = 1.3,
        mlp_channels: int = 1024,
        boundary_bins: int = 12,
        boundary_kernel: int = 3,
        spread: float = 0.2,
        neck: Neck = "identity",
        positions: bool = True,
        drop_path: float = 0.1,
        paper_compat: bool = False,
        **options: Any,
    ) -> None:
        if channels % GROUPS:
            raise DfdError(
                f"channels={channels}: TriDet normalises {GROUPS} groups of them; take a multiple of {GROUPS}"
            )
        levels = arch[2] + 1
        super().__init__(streams, length, rate, levels, channels, head_channels, **options)
        block = {"ratio": ratio, "hidden": mlp_channels, "spread": spread, "paper_compat": paper_compat}
        self.backbone = SgpPyramid(self.channels, channels, arch, window, length, positions, drop_path, **block)
        self.neck = make_neck(neck, channels, levels)
        self.reg_head = OffsetHead(channels, head_channels, levels, bins=boundary_bins)
        self.start_head = ClassHead(channels, head_channels, kernel=boundary_kernel)
        self.end_head = ClassHead(channels, head_channels, kernel=boundary_kernel)
        self.boundary_bins = boundary_bins

    def encode(self, x: Tensor, steps: Sequence[Steps]) -> Encoded:
        """Turn a sequence (N, T, C) into features of every level."""
        return Encoded(self.neck(self.backbone(x, steps), steps))

    def decoded(self, offset: Tensor, x: Tensor, steps: Steps) -> Tensor:
        """Return the expected distances (N, T, 2): a boundary may lie at any of the points around.

        Points beyond the ends of the grid have a logit of 0.
        """
        bins = self.boundary_bins
        start, end = (head(x.detach(), steps)[0].squeeze(-1) for head in (self.start_head, self.end_head))
        before = F.pad(start, (bins, 0)).unfold(1, bins + 1, 1)  # the farthest first
        after = F.pad(end, (0, bins)).unfold(1, bins + 1, 1)
        left, right = offset.unflatten(-1, (2, -1)).unbind(-2)
        distance = torch.arange(bins + 1, device=x.device, dtype=x.dtype)
        return torch.stack([(before + left).softmax(-1) @ distance.flip(0), (after + right).softmax(-1) @ distance], -1)
