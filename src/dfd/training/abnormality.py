"""In or out of distribution by binary cross-entropy over a frozen detector: label 1 is an outlier."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dfd.core.tensors import Batch, Output
from dfd.training.scoring import ViewScoring


class Abnormality(ViewScoring):
    """Train an abnormality module; with `balance=natural` outliers weigh as much in total as in-distribution views.

    `outlier_weight` is n_in / n_out; null takes it from the training records, or 1 where the sampler balances them.
    """

    def __init__(self, *args: Any, outlier_weight: float | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outlier_weight = outlier_weight

    def on_fit_start(self) -> None:
        """Set the weight of outliers from their number, unless it is given."""
        super().on_fit_start()
        if self.outlier_weight is not None:
            return
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        labels = torch.tensor([record.label for record in data.records("train")])
        balanced = data.balance == "balanced"
        self.outlier_weight = 1.0 if balanced else float((labels == 0).sum() / (labels == 1).sum())

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the weighted binary cross-entropy of one logit."""
        weight = torch.tensor(self.outlier_weight or 1.0, device=output.logits.device)
        return F.binary_cross_entropy_with_logits(
            output.logits[:, 0].float(), batch["label"].float(), pos_weight=weight
        )
