"""Real or fake by cross-entropy: the objective of every plain detector."""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from dfd.core.tensors import Batch, Output
from dfd.training.losses import Loss, PerClass, classification_loss, mean_by_video
from dfd.training.scoring import ViewScoring


class Classification(ViewScoring):
    """Binary classification of views, or of videos by the mean of their views' logits (`level: video`)."""

    def __init__(
        self,
        *args: Any,
        loss: Loss = "auto",
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        per_class: PerClass = "none",
        level: Literal["view", "video"] = "view",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.kind: Loss = loss
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights
        self.per_class: PerClass = per_class
        self.level = level

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the mean loss over views or videos."""
        logits, label = output.logits, batch["label"]
        if self.level == "video":
            logits, first = mean_by_video(logits, batch["video"])
            label = label[first]
        return classification_loss(logits, label, self.kind, self.label_smoothing, self.class_weights, self.per_class)
