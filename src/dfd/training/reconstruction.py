"""Joint classification and reconstruction, with an optional confidence branch."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dfd.core.errors import DfdError
from dfd.core.tensors import Batch, Output, Reconstructed
from dfd.training.classification import Classification
from dfd.training.losses import classification_loss

Part = Literal["joint", "classifier", "autoencoder"]
Distance = Literal["l1", "mse"]


class Reconstruction(Classification):
    """`1 - weight` times the classification loss plus `weight` times the reconstruction loss, with KL and hint terms.

    `part` trains everything together, the classifier alone, or the autoencoder alone on a frozen classifier (for a
    network whose `autoencoder` is a part of its own; start it from a run by `model.base`). With a confidence branch
    (DeVries and Taylor 2018) half the views are given hints, and the price of a hint follows a budget.
    """

    hint_price: Tensor

    def __init__(
        self,
        *args: Any,
        weight: float = 0.1,
        distance: Distance = "l1",
        kl_weight: float = 1.0,
        part: Part = "joint",
        hint_price: float = 0.1,
        hint_budget: float = 0.3,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if distance not in ("l1", "mse"):
            raise DfdError(f"distance={distance}: choose l1 or mse")
        if part != "joint" and not hasattr(self.network, "autoencoder"):
            raise DfdError(f"part={part} needs a network with an autoencoder of its own: train this one jointly")
        self.weight, self.distance, self.kl_weight = weight, distance, kl_weight
        self.part, self.hint_budget = part, hint_budget
        self.register_buffer("hint_price", torch.tensor(float(hint_price)))
        if part != "joint":
            for name, parameter in self.network.named_parameters():
                parameter.requires_grad_(name.startswith("autoencoder.") == (part == "autoencoder"))

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the weighted sum of the loss terms."""
        if not isinstance(output, Reconstructed):
            raise DfdError(f"objective=reconstruction: {type(self.network).__name__} reconstructs nothing")
        painted = reconstruction_loss(output.target, output.reconstruction, self.distance)
        if output.mean is not None and output.log_variance is not None:
            painted = painted + self.kl_weight * kl_to_standard(output.mean, output.log_variance, output.target[0])
        name = f"{'train' if self.training else 'val'}/reconstruction"
        self.log(name, painted, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch["label"]))
        if self.part == "autoencoder":
            return painted
        judged = self._classification(output, batch)
        return judged if self.part == "classifier" else (1 - self.weight) * judged + self.weight * painted

    def on_train_epoch_start(self) -> None:
        """Put the frozen part into evaluation mode: no dropout, no update of statistics."""
        if self.part != "joint":
            self.network.train(self.part == "classifier")
            self.network.autoencoder.train(self.part == "autoencoder")

    def _classification(self, output: Reconstructed, batch: Batch) -> Tensor:
        if output.confidence is None:
            return super().loss(output, batch)  # type: ignore[arg-type]
        if not self.training:
            return classification_loss(output.logits, batch["label"], self.kind, 0.0, self.class_weights)
        hints = torch.rand_like(output.confidence) < 0.5
        judged, price = hinted_loss(output.logits, output.confidence, batch["label"], hints, self.class_weights)
        loss = judged + self.hint_price * price
        cheaper = price.detach() < self.hint_budget
        self.hint_price = self.hint_price * torch.where(cheaper, 1 / 1.01, 1 / 0.99)
        return loss


def reconstruction_loss(target: Tensor, reconstruction: Tensor, distance: Distance = "l1") -> Tensor:
    """Return the mean error per pixel, in single precision."""
    difference = reconstruction.float() - target.float()
    return difference.abs().mean() if distance == "l1" else difference.square().mean()


def kl_to_standard(mean: Tensor, log_variance: Tensor, target: Tensor) -> Tensor:
    """Return the divergence of N(mean, exp(log_variance)) from N(0, 1), per pixel of a target, as the error is."""
    divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1)
    return divergence.mean() / target.numel()


def hinted_loss(
    logits: Tensor, confidence: Tensor, label: Tensor, hints: Tensor, class_weights: Sequence[float] | None = None
) -> tuple[Tensor, Tensor]:
    """Return the loss of probabilities moved towards the truth by 1 - confidence where hints are given, and the price.

    The price is the mean of -log confidence over all views.
    """
    logits = torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits
    confidence = confidence.clamp(1e-6, 1 - 1e-6)
    trusted = torch.where(hints, confidence, torch.ones_like(confidence))[:, None]
    truth = F.one_hot(label, logits.shape[1]).float()
    probability = trusted * logits.float().softmax(1) + (1 - trusted) * truth
    weights = None if class_weights is None else torch.tensor(class_weights, device=logits.device)
    return F.nll_loss(probability.clamp_min(1e-12).log(), label, weights), -confidence.log().mean()
