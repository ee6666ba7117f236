"""What flows between data, networks and objectives as tensors."""

from typing import NamedTuple, NotRequired, TypedDict

from torch import Tensor


class Batch(TypedDict):
    """Views of one or more videos, flat: every row is one view, and `video` says whose.

    pixels: (N, 3, H, W) for images, (N, T, 3, H, W) for clips; uint8 until the device, RGB in [0, 1] after.
    label: (N,) int64. video: (N,) int64, position of the video in its split. t: (N,) float64, seconds.
    draw: (N,) int64, seed of what is random about a view on the device; one for all rows that share it.
    """

    pixels: Tensor
    label: Tensor
    video: Tensor
    t: Tensor
    draw: Tensor
    extra: NotRequired[dict[str, Tensor]]


class Output(NamedTuple):
    """What a detector answers: `features` is the exact input of its last linear layer."""

    logits: Tensor
    features: Tensor


class Distilled(NamedTuple):
    """What a detector with a head for the labels and one for a teacher answers; `logits` is what it makes of both."""

    logits: Tensor
    features: Tensor
    class_logits: Tensor
    distill_logits: Tensor


class Reconstructed(NamedTuple):
    """What a detector that also reconstructs answers: pixels (N, 3, H, W) or an attention map (N, 1, H, W).

    `encoding` and `compact` are (N, D) descriptions of the view for an abnormality module, large and small. `mean` and
    `log_variance` are those of a variational code, `confidence` (N,) is the network's own belief in its answer.
    """

    logits: Tensor
    features: Tensor
    encoding: Tensor
    compact: Tensor
    target: Tensor
    reconstruction: Tensor
    confidence: Tensor | None = None
    mean: Tensor | None = None
    log_variance: Tensor | None = None
