"""Evidence maps: what in its frames drives a detector's score.

HiResCAM (Draelos & Carin 2020): the gradient of the score times the activations, at every position, of the last part
whose output keeps the picture's spatial layout. Unlike Grad-CAM it does not average the gradient over positions.
"""

import math
from typing import Any

import torch
from torch import Tensor

from dfd.core.errors import DfdError
from dfd.models.base import Detector


def can_be_explained(network: Detector) -> bool:
    """Whether a network names the part that its explanations are drawn from."""
    try:
        return network.evidence is not None
    except DfdError:
        return False


def evidence_maps(network: Detector, pixels: Tensor) -> Tensor:
    """Return how much each position of each frame contributes to "fake", (N, T, h, w); an image has one frame.

    The maps of a view share a scale, with a maximum of 1, so that its frames can be compared.
    """
    kept: list[Tensor] = []

    def keep(module: Any, inputs: Any, output: Tensor) -> Tensor:
        kept.append(output)
        return output

    handle = network.evidence.register_forward_hook(keep)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            logits = network(pixels.clone().requires_grad_()).logits.float()
            margin = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
            (gradient,) = torch.autograd.grad(margin.sum(), kept[0])
    finally:
        handle.remove()
    maps = network.on_frames(_spatial(gradient * kept[0].detach(), network.channels_last).relu())
    strongest = maps.flatten(1).amax(1).clamp(min=1e-12)
    return maps.detach() / strongest[:, None, None, None]


def _spatial(values: Tensor, channels_last: bool) -> Tensor:
    """Sum over channels; tokens (N, L, C) lose their prefix and become a square."""
    if values.ndim == 4:
        return values.sum(-1 if channels_last else 1)
    side = math.isqrt(values.shape[1])
    return values[:, -side * side :].sum(-1).view(-1, side, side)
