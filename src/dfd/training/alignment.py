"""Cross-entropy, and features of one class drawn together while all are spread over the sphere.

Alignment and uniformity: Wang and Isola, ICML 2020; for deepfakes Yermakov et al. (GenD), WACV 2026.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dfd.core.tensors import Batch, Output
from dfd.training.classification import Classification


class AlignedClassification(Classification):
    """`Classification` plus `align` times the alignment and `uniform` times the uniformity of normalised features."""

    def __init__(self, *args: Any, align: float = 0.1, uniform: float = 0.5, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.align, self.uniform = align, uniform

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the classification loss plus both terms."""
        together, spread = alignment_and_uniformity(output.features, batch["label"])
        return super().loss(output, batch) + self.align * together + self.uniform * spread


class RegularisedClassification(Classification):
    """`Classification` plus `weight` times the penalty that a network puts on what it learns (`network.penalty()`)."""

    def __init__(self, *args: Any, weight: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.weight = weight

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the classification loss plus the weighted penalty."""
        loss = super().loss(output, batch)
        return loss + self.weight * self.network.penalty() if self.weight else loss


def alignment_and_uniformity(features: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean squared distance of pairs of one class, and the log of the mean Gaussian potential of all pairs.

    Features are taken to length 1. Without a pair the terms are 0.
    """
    z = F.normalize(features.float(), dim=1)
    first, second = torch.triu_indices(len(z), len(z), 1, device=z.device)
    squared = 2 - 2 * (z @ z.T)[first, second]
    same = label[first] == label[second]
    together = (squared * same).sum() / same.sum().clamp(min=1)
    if not len(squared):
        return together, squared.sum()
    return together, (-2 * squared).exp().mean().clamp(min=1e-6).log()
