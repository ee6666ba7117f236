"""How unlike real speech the delays of a talking face go on: the detector over a frozen synchroniser.

Paper: Feng, Chen and Owens, CVPR 2023, section 3.2. Original code: cfeng16/audio-visual-forensics (MIT). Its score is
the mean divergence between the distribution of delays that is found in a step and the one that was expected from the
steps before it. It has no upper bound and is not a probability. A constant offset is surprising to it, though it is
common and innocent: with `align_offset` it is estimated and taken out first.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dfd.core.errors import DfdError
from dfd.core.records import TalkInput
from dfd.models.avsync import HOP, AVSync
from dfd.models.base import TalkDetector
from dfd.models.delays import STEPS, DistributionModel, Divergence, FeatureModel, Quirks, divergence


class Judged(NamedTuple):
    """What a view says: its score (N, 1), and step by step what was found and what was expected.

    `delays` (N, W, 31) are probabilities, `expected` (N, W - 1, 31) those predicted for steps 1 to W - 1, `kl` and
    `feature_error` (N, W - 1) the surprise in each step, `valid` (N, W - 1) which steps lie within the clip, `offset`
    (N,) the common delay in frames that was taken out, or would be.
    """

    logits: Tensor
    features: Tensor
    delays: Tensor
    expected: Tensor
    kl: Tensor
    feature_error: Tensor
    valid: Tensor
    offset: Tensor


class AVAnomaly(TalkDetector):
    """A frozen synchroniser and models of what its delays, and its features, do next.

    Args:
        base: the synchroniser.
        steps: that are predicted at once; a view has `steps + 1` windows.
        stride: windows from one view of a clip to the next, in evaluation.
        feature_weight: of the squared error of features beside the surprise in delays; 0 as in the paper.
        divergence: of distributions, "kl" as in the published code, "soft_ce" as in the paper's loss.
        align_offset: take a common offset of the whole view out before delays are judged.
        quiet: dB of full scale below which a window has nothing to be compared with, and does not count; null: all do.
        dropout: of both models.
        quirks: what the published models do otherwise than is common; all of it by default.
    """

    looks_at_base = True
    base_manifest: str | None = None  # hash of the records that the base was trained on, where it is known

    def __init__(
        self,
        base: AVSync,
        steps: int = STEPS,
        stride: int = 25,
        feature_weight: float = 0.0,
        divergence: Divergence = "kl",
        align_offset: bool = True,
        quiet: float | None = -50.0,
        dropout: float = 0.1,
        quirks: dict[str, bool] | None = None,
    ) -> None:
        spec = base.input
        if not isinstance(base, AVSync):
            raise DfdError(f"model.base holds a {type(base).__name__}: train a synchroniser first, model=avsync")
        frames = steps + base.window
        margin = 2 * base.reach
        input = TalkInput(
            spec.size, frames, stride=stride, mean=spec.mean, std=spec.std, margin=margin, window=base.window
        )
        super().__init__(input)
        self.base = base.eval().requires_grad_(False)
        self.feature_weight, self.align_offset, self.quiet = feature_weight, align_offset, quiet
        self.divergence: Divergence = divergence
        odd = Quirks(**(quirks or {}))
        self.distribution = DistributionModel(steps, dropout, odd)
        self.feature = FeatureModel(steps, dropout, odd, base.features)

    def train(self, mode: bool = True) -> "AVAnomaly":
        """Leave the base as it is."""
        super().train(mode)
        self.base.eval()
        return self

    @torch.no_grad()
    def watch(self, pixels: Tensor, sound: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (N, W, 31), features (N, W, 2 D) and the common offset (N,), taken out where that is wanted."""
        visual, audio = self.base.see(pixels), self.base.hear(sound)
        logits = self.base.fuse(visual, audio)
        weight = torch.ones_like(logits[..., :1]) if valid is None else valid[..., None].to(logits)
        offset = (logits.softmax(2) * weight).sum(1).argmax(1) - self.base.reach
        shift = offset if self.align_offset else torch.zeros_like(offset)
        moved = shift != 0
        if moved.any():
            logits[moved] = self.base.fuse(visual[moved], audio[moved], shift[moved])
        return logits, self.base.describe(visual, audio, shift), offset

    def heard(self, sound: Tensor, windows: int) -> Tensor:
        """Return which windows (N, W) have sound under them."""
        if self.quiet is None:
            return torch.ones(len(sound), windows, dtype=torch.bool, device=sound.device)
        own = sound[:, self.input.margin * HOP :].unfold(1, self.base.window * HOP, HOP)[:, :windows]
        return 10 * own.square().mean(2).clamp(min=1e-10).log10() > self.quiet

    def surprise(self, logits: Tensor, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the expected log-probabilities, and the surprise in delays and in features, of steps 1 to W - 1."""
        expected = self.distribution(logits, valid)
        kl = divergence(expected, logits[:, 1:].softmax(-1), self.divergence)
        error = (self.feature(features, valid) - self.feature.targets(features)[:, 1:]).square().sum(-1)
        return expected, kl, error

    def forward(  # type: ignore[override]
        self, pixels: Tensor, sound: Tensor, length: Tensor | None = None
    ) -> Judged:
        """Judge views: pixels (N, T, 3, H, W) in [0, 1], of which `length` (N,) are the clip's own, and their sound."""
        windows = pixels.shape[1] - self.base.window + 1
        places = torch.arange(windows, device=pixels.device)[None]
        own = torch.full((len(pixels),), pixels.shape[1], device=pixels.device) if length is None else length
        valid = (places + self.base.window <= own[:, None]) & self.heard(sound, windows)
        logits, features, offset = self.watch(pixels, sound, valid)
        expected, kl, error = self.surprise(logits, features, valid)
        counted = valid[:, 1:]
        step = (kl + self.feature_weight * error) * counted
        score = step.sum(1, keepdim=True) / counted.sum(1, keepdim=True).clamp(min=1)
        found = logits.softmax(-1)
        return Judged(score, found.mean(1), found, expected.exp(), kl, error, counted, offset)
