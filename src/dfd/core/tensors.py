"""Batches, and the outputs of networks."""

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


class TalkBatch(TypedDict):
    """Views of talking faces: pixels (N, T, 3, H, W) as in `Batch`, and mono sound (N, samples) in [-1, 1].

    length: (N,) int64, frames that are the clip's own; where it is shorter than a view, its last frame is repeated.
    """

    pixels: Tensor
    sound: Tensor
    length: Tensor
    label: Tensor
    video: Tensor
    t: Tensor
    draw: Tensor


class SequenceBatch(TypedDict):
    """Features over time: streams of (N, width, L) by name, and which steps lie within the video, mask (N, L).

    t: (N,) float64, the second at which a row begins. segments: per row the forged stretches (K, 2) in seconds of the
    video, and in `forged` (K,) the positions of their streams in `core.records.STREAMS`.
    """

    streams: dict[str, Tensor]
    mask: Tensor
    label: Tensor
    video: Tensor
    t: Tensor
    draw: Tensor
    segments: list[Tensor]
    forged: list[Tensor]


class PairBatch(TypedDict):
    """Degraded pictures and the clean ones under them, (N, 3, H, W) each; uint8 until the device."""

    degraded: Tensor
    clean: Tensor
    video: Tensor
    t: Tensor
    draw: Tensor


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


class Localised(NamedTuple):
    """What a localiser answers for P points in time, those of all levels of its pyramid one after another.

    `logits` (N, P, C) say how forged it is around a point, `offsets` (N, P, 2) how far the stretch reaches back and
    forth from it, in strides of the point's level, `valid` (N, P) which points lie within the video. Some networks also
    give the logits of distributions `bins` (N, P, 2, K) that offsets are the means of, logits of the IoU that a point's
    stretch will have, `quality` (N, P), logits of which stream was forged, `streams` (N, P, 2) for video and audio; and
    of the whole sequence its distance from what was rebuilt of it, `error` (N,), and a logit, `video` (N,).
    """

    logits: Tensor
    features: Tensor
    offsets: Tensor
    valid: Tensor
    bins: Tensor | None = None
    quality: Tensor | None = None
    streams: Tensor | None = None
    error: Tensor | None = None
    video: Tensor | None = None


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
