"""Multi-class classification: digits, CIFAR-10, or which generator made a picture; for OOD benchmarks."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dfd.core.errors import DfdError
from dfd.core.tensors import Batch, Output
from dfd.training.classification import Classification


class Categories(Classification):
    """Cross-entropy over the classes of a loader with `classes=method`; checkpoints are chosen by `val/accuracy`."""

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the mean cross-entropy."""
        classes, wanted = output.logits.shape[1], int(batch["label"].max()) + 1
        if wanted > classes:
            raise DfdError(f"the data has at least {wanted} classes: set model.network.logits={wanted}, not {classes}")
        weights = None if self.class_weights is None else torch.tensor(self.class_weights, device=self.device)
        return F.cross_entropy(output.logits.float(), batch["label"], weights, label_smoothing=self.label_smoothing)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log loss and accuracy of a batch."""
        output, count = self(batch["pixels"]), len(batch["label"])
        right = (output.logits.argmax(1) == batch["label"]).float().mean()
        self.log("val/loss", self.loss(output, batch), sync_dist=True, batch_size=count)
        self.log("val/accuracy", right, prog_bar=True, sync_dist=True, batch_size=count)

    def on_validation_epoch_end(self) -> None:
        """Compute neither AUC nor AP, which need two classes."""
