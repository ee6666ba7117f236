"""Classification losses as pure functions of logits and labels."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dfd.core.errors import DfdError

Loss = Literal["auto", "cross_entropy", "bce"]
PerClass = Literal["none", "rank", "global"]


def classification_loss(
    logits: Tensor,
    label: Tensor,
    loss: Loss = "auto",
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
    per_class: PerClass = "none",
) -> Tensor:
    """Return the mean loss: cross-entropy for two logits, binary cross-entropy for one ("auto" takes whichever fits).

    `class_weights` are the weights of real and fake; smoothing moves a target of 1 to 1 - s/2 and of 0 to s/2, which
    for two classes is clipping; `per_class` weighs both classes alike within a batch (`by_class`).
    """
    columns = logits.shape[1]
    if loss == "auto":
        loss = "bce" if columns == 1 else "cross_entropy"
    if columns != (1 if loss == "bce" else 2):
        raise DfdError(f"loss={loss} needs {1 if loss == 'bce' else 2} logit(s), the network gives {columns}")
    if loss == "cross_entropy" and per_class == "none" and class_weights is None:
        return F.cross_entropy(logits.float(), label, label_smoothing=label_smoothing)
    # for two classes cross-entropy is the binary one of the difference, smoothed or not
    target = smoothed(label, label_smoothing)
    each = F.binary_cross_entropy_with_logits(log_odds(logits), target, reduction="none")
    return by_class(each, label, per_class, class_weights)


def by_class(
    each: Tensor, label: Tensor, scope: PerClass = "none", class_weights: Sequence[float] | None = None
) -> Tensor:
    """Return the mean of losses (N,): over all, or half the sum of the means of reals and of fakes.

    "rank" takes the means within a process, and a class that is absent adds 0, as the DFDC winner's code does;
    "global" within the batches of all processes together: averaged gradients are then those of one big batch. So are
    those of weighted losses, whatever the classes of each process.
    """
    if scope == "none":
        if class_weights is None:
            return each.mean()
        weights = torch.tensor(class_weights, device=each.device)[label]
        return (each * weights).sum() / per_process(weights.sum())
    if class_weights is not None:
        raise DfdError("per_class and class_weights both weigh the classes: give one of them")
    sums = each.new_zeros(2).index_add(0, label, each)
    counts = torch.bincount(label, minlength=2).to(each.dtype)
    if scope == "global":
        counts = per_process(counts)
    return (sums / counts.clamp(min=1e-6)).sum() / 2  # where there are none, their sum is 0


def per_process(count: Tensor) -> Tensor:
    """Return the mean of a count over all processes.

    A sum over the rows of a process, divided by it, has gradients whose average is that of one mean over all rows.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return count
    total = count.detach().clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()


def log_odds(logits: Tensor) -> Tensor:
    """Return the log-odds (N,) of fake, in single precision: the one logit, or the difference of two."""
    logits = logits.float()
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


def smoothed(label: Tensor, smoothing: float) -> Tensor:
    """Return targets: s/2 for real and 1 - s/2 for fake."""
    return label.float() * (1 - smoothing) + smoothing / 2


def mean_by_video(values: Tensor, video: Tensor) -> tuple[Tensor, Tensor]:
    """Average the rows (N, C) of each video; return (V, C) and, for each of the V, the row of its first view."""
    unique, inverse = torch.unique(video, return_inverse=True)
    sums = values.new_zeros(len(unique), values.shape[1]).index_add_(0, inverse, values)
    counts = torch.bincount(inverse, minlength=len(unique)).to(values.dtype)
    rows = torch.arange(len(video) - 1, -1, -1, device=video.device)
    first = rows.new_empty(len(unique)).scatter_(0, inverse.flip(0), rows)
    return sums / counts[:, None], first
