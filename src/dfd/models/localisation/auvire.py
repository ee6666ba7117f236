"""AuViRe: a face and a voice that do not follow from each other are suspicious.

Koutlis, Papadopoulos: AuViRe, Audio-visual Speech Representation Reconstruction for Deepfake Temporal Localization,
2025. Original code: mever-team/auvire (Apache-2.0), whose parameter names are kept; written here from the paper and the
behaviour of that code.

One small network rebuilds the features of the video from those of the audio, and each from itself; what it misses goes
through a convolutional pyramid to the heads.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.core.records import FeatureStream
from dfd.core.tensors import Localised
from dfd.models.localisation.layers import ChannelNorm, Pointwise, Steps
from dfd.models.localisation.localiser import Encoded, PyramidLocaliser, l1
from dfd.models.localisation.pyramid import FAR, Points

KERNEL = 15


class GridNorm(nn.LayerNorm):
    """Layer norm over channels and time together, with parameters for every step: the original's; (N, T, C)."""

    def __init__(self, channels: int, length: int) -> None:
        super().__init__([channels, length])

    def forward(self, input: Tensor) -> Tensor:
        """Normalise whole sequences."""
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


class ConvBlock(nn.Module):
    """Convolution, norm, ReLU; it may halve the steps (stride 2), double them (`up`), or end in the convolution."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        length: int | None,
        stride: int = 1,
        up: bool = False,
        linear: bool = False,
    ) -> None:
        super().__init__()
        padding = kernel // 2
        self.name = "deconv" if up else "conv"
        made = (
            nn.ConvTranspose1d(inputs, outputs, kernel, 2, padding, output_padding=1)
            if up
            else nn.Conv1d(inputs, outputs, kernel, stride, padding)
        )
        self.add_module(self.name, made)
        # with a length, the original's norm, which knows every step; it masks nothing either
        self.norm = None if linear else GridNorm(outputs, length) if length else ChannelNorm(outputs)
        self.masked = length is None

    def forward(self, x: Tensor, steps: Steps) -> Tensor:
        """Turn (N, T, inputs) into (N, T', outputs); `steps` are those of the result."""
        x = getattr(self, self.name)(x.transpose(1, 2)).transpose(1, 2)
        if self.norm is not None:
            x = F.relu(self.norm(x))
        return x * steps.weight if self.masked else x


class Chain(nn.Module):
    """Blocks one after another, under the original's name."""

    def __init__(self, name: str, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, nn.ModuleList(blocks))

    def forward(self, x: Tensor, steps: Steps) -> Tensor:
        """Apply all of them."""
        for block in getattr(self, self.name):
            x = block(x, steps)
        return x


class Reconstructor(nn.Module):
    """The shared network that rebuilds one modality from one: down and up again over time."""

    def __init__(self, inputs: int, channels: int, halvings: int, length: int | None) -> None:
        super().__init__()

        def at(level: int) -> int | None:
            return length // 2**level if length else None

        wide = [(inputs, channels), (channels, channels)], [(channels, channels), (channels, inputs)]
        pre, post = ([ConvBlock(a, b, 3, length) for a, b in pairs] for pairs in wide)
        if length is None:
            post[-1] = ConvBlock(channels, inputs, 3, None, linear=True)  # else only what is positive can be rebuilt
        down = [ConvBlock(channels, channels, KERNEL, at(level + 1), 2) for level in range(halvings)]
        up = [ConvBlock(channels, channels, KERNEL, at(level), up=True) for level in reversed(range(halvings))]
        self.projection_pre, self.projection_post = Chain("projection", pre), Chain("projection", post)
        self.encoder, self.decoder = nn.ModuleList(down), nn.ModuleList(up)

    def forward(self, x: Tensor, steps: Sequence[Steps]) -> Tensor:
        """Turn (N, T, inputs) into a reconstruction of the same shape."""
        x = self.projection_pre(x, steps[0])
        for level, block in enumerate(self.encoder):
            x = block(x, steps[level + 1])
        for level, block in zip(reversed(range(len(self.decoder))), self.decoder):
            x = block(x, steps[level])
        return self.projection_post(x, steps[0])


class PlaneConv(nn.Conv2d):
    """A 3 x 3 convolution of a plane one column wide, whose outer columns never count: the original's pyramid."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (N, C, T)."""
        return F.conv1d(input, self.weight[..., self.kernel_size[1] // 2], self.bias, padding=self.kernel_size[0] // 2)


class Discrepancy(nn.Module):
    """What was not rebuilt, through `retain` convolutions at full resolution and `halvings` below, to a pyramid."""

    def __init__(self, inputs: int, channels: int, retain: int, halvings: int, length: int | None) -> None:
        super().__init__()
        self.masked = length is None
        levels = [0] * retain + list(range(1, halvings + 1))
        widths = [inputs] + [channels] * len(levels)
        strides = [1] * retain + [2] * halvings
        parts = zip(widths, levels, strides)
        made = [ConvBlock(w, channels, KERNEL, length // 2**level if length else None, s) for w, level, s in parts]
        self.model = nn.ModuleList(made)
        laterals = [nn.Sequential(PlaneConv(channels, channels, 1)) for _ in levels]
        smooth = [nn.Sequential(PlaneConv(channels, channels, (3, 3 if length else 1), padding=1)) for _ in levels]
        self.pyramid = nn.Module()
        self.pyramid.inner_blocks, self.pyramid.layer_blocks = nn.ModuleList(laterals), nn.ModuleList(smooth)

    def forward(self, x: Tensor, steps: Sequence[Steps]) -> list[Tensor]:
        """Turn (N, T, inputs) into (N, T_l, channels) of every level."""
        found = []
        for block, at in zip(self.model, steps):
            x = block(x, at)
            found.append(x)
        laterals = cast(nn.ModuleList, self.pyramid.inner_blocks)
        found = [self._planar(lateral, level, at) for lateral, level, at in zip(laterals, found, steps)]
        for level in range(len(found) - 1, 0, -1):
            times = found[level - 1].shape[1] // found[level].shape[1]
            found[level - 1] = found[level - 1] + found[level].repeat_interleave(times, 1)
        smooth = cast(nn.ModuleList, self.pyramid.layer_blocks)
        return [self._planar(conv, level, at) for conv, level, at in zip(smooth, found, steps)]

    def _planar(self, conv: nn.Module, x: Tensor, steps: Steps) -> Tensor:
        x = conv(x.transpose(1, 2)).transpose(1, 2)
        return x * steps.weight if self.masked else x


class LevelHeads(nn.Module):
    """A head of its own for every level, as in the original."""

    def __init__(self, channels: int, outputs: int, lengths: Sequence[int]) -> None:
        super().__init__()
        self.model = nn.ModuleList()
        for length in lengths:
            blocks = [ConvBlock(channels, channels, 3, length) for _ in range(2)]
            self.model.append(
                nn.ModuleDict({"module": nn.ModuleList([*blocks, nn.Conv1d(channels, outputs, 3, 1, 1)])})
            )

    def forward(self, x: Tensor, steps: Steps, level: int) -> Tensor:
        """Turn (N, T, channels) into (N, T, outputs)."""
        first, second, last = self.model[level]["module"]  # type: ignore[index]
        return last(second(first(x, steps), steps).transpose(1, 2)).transpose(1, 2)


class AuViRe(PyramidLocaliser):
    """AuViRe on streams of video and of audio.

    By default norms run over channels, padding is masked, the reconstruction is linear and levels share their heads, so
    that any length will do. With `paper_compat` it is the original to the parameter: one length, no masks, every level
    responsible for every distance.

    Args:
        streams: what it reads: name, width and rate in Hz of every stream of features.
        length: steps of the grid, a multiple of the deepest stride.
        rate: steps of the grid per second.
        audio: names of the streams of audio; the last stream if null.
        width: of both modalities; where theirs differ from it, they are projected. The video's width if null.
        channels: of the reconstruction, the pyramid and the heads.
        rebuild: how often the reconstruction halves the steps.
        retain: convolutions of the pyramid at full resolution; with `paper_compat`, each is a level.
        halvings: levels below.
        paper_compat: the original's norms, heads and levels.
        options: of every localiser: first_range, standardise, quality, bins, attribute.
    """

    def __init__(
        self,
        streams: Sequence[FeatureStream | Sequence] | None = None,
        length: int = 512,
        rate: float = 25.0,
        audio: Sequence[str] | None = None,
        width: int | None = None,
        channels: int = 128,
        rebuild: int = 3,
        retain: int = 2,
        halvings: int = 2,
        paper_compat: bool = False,
        **options: Any,
    ) -> None:
        levels = retain + halvings if paper_compat else 1 + halvings
        super().__init__(streams, length, rate, levels, channels, channels, **options)
        if length % 2 ** max(rebuild, halvings):
            raise DfdError(f"length={length} cannot be halved {max(rebuild, halvings)} times: choose a multiple")
        self.halvings, self.retain, self.rebuild, self.paper_compat = halvings, retain, rebuild, paper_compat
        self.audio = self._audio(audio)
        widths = [sum(s.width for s in self.input.streams if (s.name in self.audio) == side) for side in (False, True)]
        common = width or widths[0]
        self.projections = nn.ModuleList(nn.Identity() if w == common else Pointwise(w, common) for w in widths)
        fixed = length if paper_compat else None
        self.reconstruction_model = nn.ModuleDict({"model": Reconstructor(common, channels, rebuild, fixed)})
        made = Discrepancy(3 * common, channels, retain, halvings, fixed)
        self.encoder_model = nn.ModuleDict({"model": made})
        if paper_compat:
            lengths = [length // factor for factor in self.factors]
            self.classification, self.regression = LevelHeads(channels, 1, lengths), LevelHeads(channels, 2, lengths)
            del self.cls_head, self.reg_head

    @property
    def factors(self) -> list[int]:
        """By how much every level is coarser than the grid."""
        first = [1] * self.retain if self.paper_compat else [1]
        return first + [2 ** (level + 1) for level in range(self.halvings)]

    @property
    def pyramid(self) -> Points:
        """The points; the original's offsets are in steps, and every level is asked for every stretch."""
        if not self.paper_compat:
            return super().pyramid
        length, device = self.input.length, self.device
        place = torch.cat([torch.arange(0, length, factor, device=device).float() for factor in self.factors])
        return Points(place, torch.ones_like(place), torch.zeros_like(place), torch.full_like(place, FAR))

    def forward(self, streams: Mapping[str, Tensor], mask: Tensor) -> Localised:
        """Turn streams (N, width, T) and which of their steps lie within the video, (N, T), into points."""
        if not self.paper_compat:
            return super().forward(streams, mask)
        steps = self._levels(mask)
        encoded = self.encode(self.joined(streams), steps)
        at = [steps[factor.bit_length() - 1] for factor in self.factors]
        parts = list(zip(encoded.levels, at))
        logits = [self.classification(x, s, level) for level, (x, s) in enumerate(parts)]
        offsets = [F.relu(self.regression(x, s, level)) for level, (x, s) in enumerate(parts)]
        return Localised(
            logits=torch.cat(logits, 1),
            features=torch.cat(encoded.levels, 1),
            offsets=torch.cat(offsets, 1),
            valid=torch.cat([s.valid for s in at], 1),
            error=encoded.error,
        )

    def encode(self, x: Tensor, steps: Sequence[Steps]) -> Encoded:
        """Rebuild each modality, and return the features of every level of what was missed."""
        deep = list(steps)
        while len(deep) <= max(self.rebuild, self.halvings):
            deep.append(deep[-1].halved())
        video, audio = self._sides(x)
        model = self.reconstruction_model["model"]
        from_audio, from_video = model(audio, deep), model(video, deep)
        pairs = [(from_audio, video), (from_audio, audio), (from_video, video)]
        missed = torch.cat([rebuilt - target for rebuilt, target in pairs], -1)
        error = None
        if self.training:
            whole = Steps(torch.ones_like(steps[0].valid)) if self.paper_compat else steps[0]
            error = torch.stack([l1(rebuilt, target, whole) for rebuilt, target in pairs]).sum(0)
        at = [deep[0]] * self.retain + deep[1 : self.halvings + 1]
        levels = self.encoder_model["model"](missed, at)
        return Encoded(levels if self.paper_compat else levels[self.retain - 1 :], error)

    def _sides(self, x: Tensor) -> list[Tensor]:
        """Split (N, T, C) into video and audio, brought to one width."""
        parts = x.split([stream.width for stream in self.input.streams], -1)
        named = list(zip(self.input.streams, parts))
        sides = [torch.cat([part for s, part in named if (s.name in self.audio) == side], -1) for side in (False, True)]
        return [projection(side) for projection, side in zip(self.projections, sides)]

    def _levels(self, mask: Tensor) -> list[Steps]:
        found = [Steps(mask)]
        for _ in range(max(self.rebuild, self.halvings)):
            found.append(found[-1].halved())
        return found

    def _audio(self, audio: Sequence[str] | None) -> frozenset[str]:
        known = [stream.name for stream in self.input.streams]
        chosen = frozenset(audio if audio is not None else known[-1:])
        if not chosen < frozenset(known) or not chosen:
            raise DfdError(
                f"AuViRe needs streams of video and of audio: audio={sorted(chosen)} of {', '.join(known)} is no pair"
            )
        return chosen
