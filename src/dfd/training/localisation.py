"""Train a localiser: points are assigned to forged stretches; a focal loss for scores, a DIoU loss for boundaries."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dfd.core.errors import DfdError
from dfd.core.records import STREAMS
from dfd.core.tensors import Localised, SequenceBatch
from dfd.models.localisation.pyramid import Points
from dfd.training.sequence_scoring import SequenceScoring

EPS = 1e-8
CLOSE = 1e-3  # steps by which stretches may differ and still be equally short


class Targets(NamedTuple):
    """What the points of a batch should answer.

    `positive` (N, P), `offsets` (N, P, 2) in strides, `streams` (N, P, 2): whether video and sound were forged there.
    """

    positive: Tensor
    offsets: Tensor
    streams: Tensor


class Localisation(SequenceScoring):
    """ActionFormer's objective with UMMAFormer's, AuViRe's and TriDet's terms; finite for every batch.

    Real clips are negatives, too; with `real_negatives=False` they are left out of the scores' loss, as UMMAFormer's
    code does. Sums are divided by a running mean of the number of positive points, which is kept in checkpoints.

    Args:
        args: those of `SequenceScoring`.
        alpha: weight of positive points in the focal loss.
        gamma: its exponent.
        label_smoothing: of the scores' targets.
        center_radius: strides from a stretch's middle within which its points are positive; None: all within it.
        boundary_weight: of the DIoU loss.
        rebuild_weight: of the distance between real clips and what a network rebuilt of them.
        video_weight: of the focal loss of whole clips.
        quality_weight: of the loss of the predicted IoU.
        stream_weight: of the loss of which stream was forged.
        bins_weight: of the loss of boundaries as distributions.
        iou_power: positives weigh as much as their IoU to this power (TriDet); 0: all the same.
        normaliser: positive points per batch at the start.
        momentum: of their running mean.
        real_negatives: whether real clips count as negatives.
    """

    positives: Tensor

    def __init__(
        self,
        *args: Any,
        alpha: float = 0.25,
        gamma: float = 2.0,
        label_smoothing: float = 0.1,
        center_radius: float | None = 1.5,
        boundary_weight: float = 2.0,
        rebuild_weight: float = 1.0,
        video_weight: float = 0.1,
        quality_weight: float = 1.0,
        stream_weight: float = 0.5,
        bins_weight: float = 0.25,
        iou_power: float = 0.0,
        normaliser: float = 200.0,
        momentum: float = 0.9,
        real_negatives: bool = True,
        augment: object = None,  # of pixels, which there are none of here
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if not 0 <= label_smoothing < 1 or normaliser <= 0:
            raise DfdError(f"label_smoothing={label_smoothing} must lie in [0, 1), normaliser={normaliser} above 0")
        self.alpha, self.gamma, self.label_smoothing = alpha, gamma, label_smoothing
        self.center_radius, self.iou_power = center_radius, iou_power
        self.weights = {
            "boundary": boundary_weight,
            "rebuild": rebuild_weight,
            "video": video_weight,
            "quality": quality_weight,
            "streams": stream_weight,
            "bins": bins_weight,
        }
        self.momentum, self.real_negatives = momentum, real_negatives
        self.register_buffer("positives", torch.tensor(float(normaliser)))

    def on_fit_start(self) -> None:
        """Let the network standardise its input by statistics of the training set."""
        super().on_fit_start()
        data: Any = getattr(self.trainer, "datamodule", None)
        if getattr(self.network, "standardise", None) is not None and hasattr(data, "statistics"):
            self.network.fit_input(data.statistics())

    def loss(self, output: Localised, batch: SequenceBatch) -> Tensor:
        """Return the weighted sum of the terms that the network gives cause for."""
        terms = self.terms(output, batch)
        stage = "train" if self.training else "val"
        if self._trainer is not None:
            named = {f"{stage}/{name}": value.detach() for name, value in terms.items()}
            self.log_dict(named, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch["label"]))
        return torch.stack([self.weights.get(name, 1.0) * value for name, value in terms.items()]).sum()

    def terms(self, output: Localised, batch: SequenceBatch) -> dict[str, Tensor]:
        """Return every term of the loss, without its weight."""
        targets = self.targets(batch)
        hit = targets.positive & output.valid
        total = self._count(hit)
        offsets, wanted = output.offsets.float()[hit], targets.offsets[hit]
        terms = {
            "score": self._score_loss(output, batch, targets, hit, offsets, wanted) / total,
            "boundary": diou_loss(offsets, wanted).sum() / total,
        }
        if output.quality is not None:
            reached = iou_of(offsets.detach(), wanted)
            terms["quality"] = _binary(output.quality.float()[hit], reached) / total
        if output.streams is not None:
            terms["streams"] = _binary(output.streams.float()[hit], targets.streams[hit]) / total
        if output.bins is not None:
            terms["bins"] = distribution_loss(output.bins.float()[hit], wanted) / total
        real = batch["label"].to(output.logits.device) == 0
        if output.error is not None:
            terms["rebuild"] = (output.error.float() * real).sum() / real.sum().clamp(min=1)
        if output.video is not None:
            terms["video"] = focal_loss(output.video.float(), (~real).float(), self.alpha, self.gamma).sum()
        return terms

    def targets(self, batch: SequenceBatch) -> Targets:
        """Assign the points of the pyramid to the forged stretches of a batch."""
        pyramid: Points = self.network.pyramid
        device, rate = pyramid.place.device, self.network.input.rate
        count, most = len(batch["segments"]), max([1, *map(len, batch["segments"])])
        stretches, forged = torch.zeros(count, most, 2), torch.full((count, most), -1)
        for row, (segments, streams) in enumerate(zip(batch["segments"], batch["forged"])):
            seconds = segments.double().cpu() - batch["t"][row].double().cpu()
            stretches[row, : len(segments)] = (seconds * rate - 0.5).float()
            forged[row, : len(streams)] = streams.cpu()
        return assign(pyramid, stretches.to(device), forged.to(device), self.center_radius)

    def _score_loss(
        self,
        output: Localised,
        batch: SequenceBatch,
        targets: Targets,
        hit: Tensor,
        offsets: Tensor,
        wanted: Tensor,
    ) -> Tensor:
        logits = output.logits.float()
        smooth = self.label_smoothing
        target = targets.positive.unsqueeze(-1).float() * (1 - smooth) + smooth / (logits.shape[-1] + 1)
        each = focal_loss(logits, target.expand_as(logits), self.alpha, self.gamma)
        counted = output.valid.float()
        if not self.real_negatives:
            counted = counted * batch["label"].to(counted.device).float().unsqueeze(1)
        if self.iou_power:
            weight = torch.ones_like(counted)
            weight[hit] = iou_of(offsets, wanted).clamp(min=0).pow(self.iou_power).to(weight.dtype)
            counted = counted * weight
        return (each * counted.unsqueeze(-1)).sum()

    def _count(self, hit: Tensor) -> Tensor:
        """Return what sums are divided by; in training, the number of positives moves it."""
        if self.training:
            number = hit.sum().float()
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.all_reduce(number)
                number = number / torch.distributed.get_world_size()
            self.positives.mul_(self.momentum).add_((1 - self.momentum) * number.clamp(min=1))
        return self.positives.clone()


def assign(points: Points, stretches: Tensor, forged: Tensor, radius: float | None) -> Targets:
    """Assign points to stretches (N, K, 2) in steps of the grid whose stream (N, K) is not negative.

    A point is positive strictly within a stretch, at most `radius` strides from its middle, if the farther end lies at
    a distance that its level is responsible for; the shortest of several stretches counts.
    """
    start, end = stretches[:, None].unbind(-1)  # (N, 1, K)
    place, stride = points.place[None, :, None], points.stride[None, :, None]
    left, right = place - start, end - place  # (N, P, K)
    inside = torch.minimum(left, right) > 0
    if radius is not None:
        middle = (start + end) / 2
        inside &= (place - middle).abs() < radius * stride
    farther = torch.maximum(left, right)
    inside &= (farther >= points.near[None, :, None]) & (farther <= points.far[None, :, None])
    length = (end - start).expand_as(inside).masked_fill(~(inside & (forged >= 0)[:, None]), torch.inf)
    shortest, which = length.min(2)
    positive = shortest.isfinite()
    chosen = torch.stack([left, right], -1).gather(2, which[..., None, None].expand(-1, -1, 1, 2)).squeeze(2)
    tied = (length <= shortest.unsqueeze(2) + CLOSE) & length.isfinite()
    both = STREAMS.index("both")
    each = [(forged == STREAMS.index(name)) | (forged == both) for name in ("video", "audio")]
    streams = torch.stack([(tied & stream[:, None]).any(2) for stream in each], -1)
    return Targets(positive, chosen / points.stride[None, :, None], streams.float())


def focal_loss(logits: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Return the focal loss of every logit (Lin et al., ICCV 2017); targets may be soft, alpha < 0 weighs nothing."""
    probability = logits.sigmoid()
    right = probability * target + (1 - probability) * (1 - target)
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * (1 - right) ** gamma
    return loss if alpha < 0 else loss * (alpha * target + (1 - alpha) * (1 - target))


def iou_of(offsets: Tensor, wanted: Tensor) -> Tensor:
    """Return the IoU (M,) of stretches around one point, given by their distances (M, 2) to both ends."""
    shared = torch.minimum(offsets, wanted).sum(-1)
    return shared / (offsets.sum(-1) + wanted.sum(-1) - shared).clamp(min=EPS)


def diou_loss(offsets: Tensor, wanted: Tensor) -> Tensor:
    """Return 1 - IoU plus the squared distance of the middles over the hull's (Zheng et al., AAAI 2020), (M,)."""
    apart = (offsets[..., 1] - offsets[..., 0] - wanted[..., 1] + wanted[..., 0]) / 2
    hull = torch.maximum(offsets, wanted).sum(-1).clamp(min=EPS)
    return 1 - iou_of(offsets, wanted) + (apart / hull).square()


def distribution_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the summed cross-entropy of distributions (M, 2, K) to the two bins around each boundary (M, 2)."""
    most = logits.shape[-1] - 1
    wanted = wanted.clamp(0, most - 1e-3)
    low = wanted.floor().long()
    share = wanted - low
    chance = logits.log_softmax(-1)
    near, far = (chance.gather(-1, (low + step).unsqueeze(-1)).squeeze(-1) for step in (0, 1))
    return -((1 - share) * near + share * far).sum()


def _binary(logits: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction="sum")
