"""Log-odds of a teacher for a batch: computed on the batch, or looked up in a cache."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dfd.core.errors import DfdError
from dfd.core.tensors import Batch
from dfd.models.base import Detector
from dfd.training.losses import log_odds

TICKS = 1e4  # to the second: two views of a video are never closer


class Teacher:
    """A frozen detector that returns log-odds of the student's pixels, resized to its own input.

    It is not an nn.Module, so that optimiser, checkpoint and `train()` of the student do not reach it; a deep copy of
    the student (averaged weights) shares it. An image teacher judges a clip by the mean over its frames.
    """

    def __init__(
        self,
        network: Detector,
        mode: Literal["eval", "train"] = "eval",
        precision: Literal["auto", "bf16", "fp32"] = "auto",
    ) -> None:
        self.network = network.requires_grad_(False).train(mode == "train")
        self.precision = precision

    def __deepcopy__(self, memo: Mapping[int, Any]) -> "Teacher":
        return self

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Return log-odds (N,)."""
        pixels = batch["pixels"]
        network = self.network.to(pixels.device)
        # bf16 is slower than fp32 on most CPUs
        half = self.precision == "bf16" or (self.precision == "auto" and pixels.is_cuda)
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=half):
            shown = _shown(pixels, network)
            odds = log_odds(network(shown).logits)
        return odds.view(len(pixels), -1).mean(1)


class CachedOdds:
    """Log-odds of clean training views, by video and time."""

    def __init__(self, video: np.ndarray, t: np.ndarray, odds: np.ndarray) -> None:
        keys = _keys(torch.as_tensor(video), torch.as_tensor(t))
        order = keys.argsort()
        self.keys, self.odds = keys[order], torch.as_tensor(odds, dtype=torch.float32)[order]

    def __deepcopy__(self, memo: Mapping[int, Any]) -> "CachedOdds":
        return self

    def __call__(self, batch: Batch) -> Tensor:
        """Return log-odds (N,)."""
        asked = _keys(batch["video"].cpu(), batch["t"].cpu())
        place = torch.searchsorted(self.keys, asked).clamp(max=len(self.keys) - 1)
        unknown = self.keys[place] != asked
        if unknown.any():
            raise DfdError(
                f"the teacher's cache knows nothing of {int(unknown.sum())} of {len(asked)} views: "
                "the student draws views that are not cached; go without with teacher.cache=false"
            )
        return self.odds[place].to(batch["pixels"].device)


def _shown(pixels: Tensor, teacher: Detector) -> Tensor:
    """Return the student's views as the teacher takes them."""
    spec = teacher.input
    if spec.kind == "clip" and (pixels.ndim != 5 or pixels.shape[1] != spec.frames):
        seen = f"clips of {pixels.shape[1]} frames" if pixels.ndim == 5 else "single images"
        raise DfdError(f"the teacher takes clips of {spec.frames} frames, the student {seen}: choose another run")
    frames = pixels.flatten(0, -4)
    if frames.shape[-1] != spec.size:
        frames = F.interpolate(frames, (spec.size, spec.size), mode="bilinear", antialias=True).clamp(0, 1)
    return frames.view(*pixels.shape[:-2], *frames.shape[-2:]) if spec.kind == "clip" else frames


def _keys(video: Tensor, t: Tensor) -> Tensor:
    return video.long() * (1 << 32) + (t.double() * TICKS).round().long()
