"""Evidence maps: what in its frames drives a detector's score.

All are made of the last part whose output keeps the picture's spatial layout, its activations A (C channels) and the
gradient G of the score to them; what speaks against "fake" is cut off.

* HiResCAM (Draelos & Carin 2020): the sum over channels of G times A, at every position. Of a network that averages
  over positions, or has one linear layer, it is exactly what each position added to the score.
* Grad-CAM (Selvaraju et al., ICCV 2017): G is averaged over positions first, so a map can show what the score does not
  depend on.
* Grad-CAM++ (Chattopadhyay et al., WACV 2018): a weighted mean of the positive part of G, with the weights of its
  closed form for the exponential of the score.
"""

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from dfd.core.errors import DfdError, did_you_mean
from dfd.models.base import Detector, Network

Method = Literal["hirescam", "gradcam", "gradcam++"]


def method_of(explain: bool | str) -> Method | None:
    """Return the method that explain=true, false or a name asks for."""
    if isinstance(explain, bool):
        return "hirescam" if explain else None
    if explain not in get_args(Method):
        known = get_args(Method)
        raise DfdError(f"explain={explain}{did_you_mean(explain, known)}: take true, false, {', '.join(known)}")
    return explain  # type: ignore[return-value]


def can_be_explained(network: Network) -> bool:
    """Whether a network names the part that its explanations are drawn from; only detectors of pictures do."""
    try:
        return isinstance(network, Detector) and network.evidence is not None
    except DfdError:
        return False


def evidence_maps(network: Detector, pixels: Tensor, method: Method = "hirescam") -> Tensor:
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
    gradient, active = (_spatial(part, network.channels_last) for part in (gradient, kept[0].detach()))
    maps = network.on_frames((_weights(gradient, active, method) * active).sum(1).relu())
    strongest = maps.flatten(1).amax(1).clamp(min=1e-12)
    return maps.detach() / strongest[:, None, None, None]


def _weights(gradient: Tensor, active: Tensor, method: Method) -> Tensor:
    """Return by what activations (N, C, H, W) are multiplied before they are summed over channels."""
    if method == "hirescam":
        return gradient
    if method == "gradcam":
        return gradient.mean((2, 3), keepdim=True)
    bottom = 2 * gradient.square() + active.sum((2, 3), keepdim=True) * gradient**3
    share = torch.where(bottom == 0, 0.0, gradient.square() / bottom)
    return (share * gradient.relu()).sum((2, 3), keepdim=True)


def _spatial(values: Tensor, channels_last: bool) -> Tensor:
    """Return maps (N, C, H, W); tokens (N, L, C) lose their prefix and become a square."""
    if values.ndim == 4:
        return values.permute(0, 3, 1, 2) if channels_last else values
    side = math.isqrt(values.shape[1])
    return values[:, -side * side :].unflatten(1, (side, side)).permute(0, 3, 1, 2)
