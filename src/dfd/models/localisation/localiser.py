"""The base of the networks with a pyramid of points: streams in, scores and boundaries of every point out."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.core.records import FeatureStream, SequenceInput
from dfd.core.tensors import Localised
from dfd.models.base import Localiser
from dfd.models.localisation.layers import MaskedConv, Steps
from dfd.models.localisation.pyramid import (
    ClassHead,
    DistributionHead,
    OffsetHead,
    Points,
    expectation,
    levels_of,
    points,
    ranges,
)

STILL = 0.1  # of a channel's variance in the training set: what is added to that in a clip
Standard = Literal["none", "train", "clip"]


class Encoded(NamedTuple):
    """What a backbone and its neck make of a sequence: features (N, T_l, C) of every level.

    `error` (N,) is how far the sequence is from its reconstruction, `video` (N,) a logit of the whole clip.
    """

    levels: list[Tensor]
    error: Tensor | None = None
    video: Tensor | None = None


class Standardise(nn.Module):
    """Centres and scales every channel by statistics of the training set, which `fit` is given; as it is before.

    With `per_clip`, then by the clip's own over time: a forged stretch differs from the rest of its clip, whoever is
    shown. Channels that hardly change in a clip are not blown up.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, channels: int, per_clip: bool) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.per_clip = per_clip

    def fit(self, mean: Tensor, deviation: Tensor) -> None:
        """Take the mean and the standard deviation of every channel, (C,)."""
        self.mean.copy_(mean)
        self.scale.copy_(1 / deviation.clamp(min=1e-4))

    def forward(self, x: Tensor, steps: Steps) -> Tensor:
        """Standardise (N, T, C); steps outside the video are zero."""
        x = (x - self.mean) * self.scale * steps.weight
        return instance_norm(x, steps, STILL) if self.per_clip else x


def instance_norm(x: Tensor, steps: Steps, eps: float = 1e-5) -> Tensor:
    """Standardise every channel of every sample over the steps within its video, (N, T, C)."""
    count = steps.weight.sum(1, keepdim=True).clamp(min=1)
    mean = (x * steps.weight).sum(1, keepdim=True) / count
    variance = ((x - mean).square() * steps.weight).sum(1, keepdim=True) / count
    return (x - mean) * (variance + eps).rsqrt() * steps.weight


class PyramidLocaliser(Localiser):
    """Streams of features on one grid to scores and boundaries of the points of a pyramid.

    A subclass gives `encode`. With `standardise`, features are centred and scaled first, by the training set, or then
    also by their clip. `input_dropout` blanks whole channels in training. `quality` adds a head that foretells the IoU
    of a point's segment, `bins` > 0 makes boundaries distributions over that many strides, `attribute` adds a head that
    says which stream was forged.
    """

    def __init__(
        self,
        streams: Sequence[FeatureStream | Sequence] | None,
        length: int,
        rate: float,
        levels: int,
        width: int,
        head_width: int,
        first_range: float = 4.0,
        head_layers: int = 3,
        head_kernel: int = 3,
        classes: int = 1,
        prior: float = 0.01,
        standardise: Standard = "none",
        input_dropout: float = 0.0,
        quality: bool = False,
        bins: int = 0,
        attribute: bool = False,
        initialised_from: str = "random weights",
    ) -> None:
        super().__init__(SequenceInput(named(streams), length, rate), initialised_from)
        self.levels, self.bins = levels, bins
        self.reach = ranges(levels, first_range)
        if standardise not in get_args(Standard):
            raise DfdError(f"standardise={standardise!r}: choose one of {', '.join(get_args(Standard))}")
        self.standardise = None if standardise == "none" else Standardise(self.channels, standardise == "clip")
        self.input_dropout = nn.Dropout1d(input_dropout)
        self.cls_head = ClassHead(width, head_width, classes, head_layers, head_kernel, prior)
        make = DistributionHead if bins else OffsetHead
        self.reg_head = make(width, head_width, levels, head_layers, head_kernel, bins)
        self.quality_head = MaskedConv(head_width, 1) if quality else None
        self.stream_head = MaskedConv(head_width, 2) if attribute else None

    @property
    def channels(self) -> int:
        """How many numbers a step has, over all streams."""
        return sum(stream.width for stream in self.input.streams)

    @property
    def pyramid(self) -> Points:
        """Where the P points lie, in the order of the outputs, and which distances are theirs."""
        return points(self.input.length, self.reach, self.device)

    def points(self) -> Tensor:
        """Return position and stride of the P points in steps of the grid, (P, 2); step i is in its middle, i + 1/2."""
        pyramid = self.pyramid
        return torch.stack([pyramid.place + 0.5, pyramid.stride], 1)

    def fit_input(self, statistics: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """Take mean and standard deviation (width,) of every stream over the training set."""
        if self.standardise is None:
            return
        chosen = [statistics[stream.name] for stream in self.input.streams]
        mean, deviation = (torch.from_numpy(np.concatenate(side)).float() for side in zip(*chosen))
        self.standardise.fit(mean, deviation)

    def encode(self, x: Tensor, steps: Sequence[Steps]) -> Encoded:
        """Turn a sequence (N, T, C) into features of every level."""
        raise NotImplementedError

    def forward(self, streams: Mapping[str, Tensor], mask: Tensor) -> Localised:
        """Turn streams (N, width, T) and which of their steps lie within the video, (N, T), into points."""
        steps = levels_of(mask, self.levels)
        x = self.joined(streams) * steps[0].weight
        if self.standardise is not None:
            x = self.standardise(x, steps[0])
        x = self.input_dropout(x.transpose(1, 2)).transpose(1, 2)
        return self.heads(self.encode(x, steps), steps)

    def joined(self, streams: Mapping[str, Tensor]) -> Tensor:
        """Lay the streams side by side in the order of the input, (N, T, C)."""
        return torch.cat([streams[stream.name] for stream in self.input.streams], 1).transpose(1, 2)

    def heads(self, encoded: Encoded, steps: Sequence[Steps]) -> Localised:
        """Predict at every point of every level."""
        logits, offsets, features = [], [], []
        scores, quality, forged = [], [], []
        for level, (x, at) in enumerate(zip(encoded.levels, steps)):
            score, by = self.cls_head(x, at)
            offset, boundary = self.reg_head(x, at, level)
            scores.append(score)
            features.append(by)
            logits.append(offset)
            offsets.append(self.decoded(offset, x, at))
            if self.quality_head is not None:
                quality.append(self.quality_head(boundary, at))
            if self.stream_head is not None:
                forged.append(self.stream_head(by, at))
        return Localised(
            logits=torch.cat(scores, 1),
            features=torch.cat(features, 1),
            offsets=torch.cat(offsets, 1),
            valid=torch.cat([at.valid for at in steps], 1),
            bins=torch.cat(logits, 1).unflatten(-1, (2, -1)) if self.bins else None,
            quality=torch.cat(quality, 1).squeeze(-1) if quality else None,
            streams=torch.cat(forged, 1) if forged else None,
            error=encoded.error,
            video=encoded.video,
        )

    def decoded(self, offset: Tensor, x: Tensor, steps: Steps) -> Tensor:
        """Turn what the head of the boundaries predicts into distances (N, T, 2) in strides."""
        return expectation(offset.unflatten(-1, (2, -1))) if self.bins else offset


def named(streams: Sequence[FeatureStream | Sequence] | None) -> tuple[FeatureStream, ...]:
    """Return streams that a configuration lists as [name, width, rate]."""
    if not streams:
        raise DfdError(
            "a localiser reads streams of features: take a dataset that has them, data=lavdf, tvil, psynd, ..."
        )
    found = tuple(FeatureStream(str(name), int(width), float(rate)) for name, width, rate in streams)
    if len({stream.name for stream in found}) < len(found):
        raise DfdError(f"streams of features must have different names, got {', '.join(s.name for s in found)}")
    return found


def masked_mean(x: Tensor, steps: Steps) -> Tensor:
    """Return the mean over the steps and channels within each video, (N,)."""
    count = steps.weight.sum((1, 2)).clamp(min=1) * x.shape[-1]
    return (x * steps.weight).sum((1, 2)) / count


def l1(first: Tensor, second: Tensor, steps: Steps) -> Tensor:
    """Return the mean absolute difference of two sequences within each video, (N,)."""
    return masked_mean(F.l1_loss(first, second, reduction="none"), steps)
