"""Classification losses as pure functions of logits and labels."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dfd.core.errors import DfdError

Loss = Literal["auto", "cross_entropy", "bce"]


def classification_loss(
    logits: Tensor,
    label: Tensor,
    loss: Loss = "auto",
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
) -> Tensor:
    """Return the mean loss: cross-entropy for two logits, binary cross-entropy for one ("auto" looks at the network).

    `class_weights` are the weights of real and fake; smoothing moves a target of 1 to 1 - s/2 and of 0 to s/2.
    """
    columns = logits.shape[1]
    if loss == "auto":
        loss = "bce" if columns == 1 else "cross_entropy"
    if columns != (1 if loss == "bce" else 2):
        raise DfdError(f"loss={loss} needs {1 if loss == 'bce' else 2} logit(s), the network gives {columns}")
    weights = None if class_weights is None else torch.tensor(class_weights, device=logits.device)
    if loss == "cross_entropy":
        return F.cross_entropy(logits.float(), label, weights, label_smoothing=label_smoothing)
    target = label.float() * (1 - label_smoothing) + label_smoothing / 2
    each = F.binary_cross_entropy_with_logits(logits[:, 0].float(), target, reduction="none")
    return each.mean() if weights is None else (each * weights[label]).sum() / weights[label].sum()


def mean_by_video(values: Tensor, video: Tensor) -> tuple[Tensor, Tensor]:
    """Average the rows (N, C) of each video; return (V, C) and, for each of the V, the row of its first view."""
    unique, inverse = torch.unique(video, return_inverse=True)
    sums = values.new_zeros(len(unique), values.shape[1]).index_add_(0, inverse, values)
    counts = torch.bincount(inverse, minlength=len(unique)).to(values.dtype)
    rows = torch.arange(len(video) - 1, -1, -1, device=video.device)
    first = rows.new_empty(len(unique)).scatter_(0, inverse.flip(0), rows)
    return sums / counts[:, None], first
