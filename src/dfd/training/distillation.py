"""Learn from the labels and from a frozen teacher: any student, any teacher.

After DeiT (Touvron et al. 2021) and, as the default, the balanced form of Heo et al. (arXiv 2104.01353). A student with
a head of its own for the teacher (`distill_logits`) learns the labels with one and the teacher with the other.
"""

from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

from dfd.core.errors import DfdError
from dfd.core.tensors import Batch, Output
from dfd.models.base import Detector
from dfd.training.classification import Classification
from dfd.training.losses import by_class, log_odds, mean_by_video, smoothed
from dfd.training.teaching import CachedOdds, Teacher

Kind = Literal["soft_bce", "soft_kl", "hard"]


class Distillation(Classification):
    """`alpha` times the loss by labels plus (1 - alpha) times the loss by the teacher, per class as asked.

    The teacher is not a part of this module: it is not trained, averaged or saved, and stays in evaluation mode
    (`mode: train` lets its statistics drift, as the published code does). `odds` are log-odds
    of the teacher on clean views, computed before; otherwise the teacher is run on the same pixels as the student.
    """

    def __init__(
        self,
        *args: Any,
        teacher: Detector | None = None,
        odds: CachedOdds | None = None,
        kind: Kind = "soft_bce",
        alpha: float = 0.5,
        tau: float = 1.0,
        mode: Literal["eval", "train"] = "eval",
        precision: Literal["auto", "bf16", "fp32"] = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if kind not in DISTILLED:
            raise DfdError(f"teacher.kind={kind}: allowed are {', '.join(DISTILLED)}")
        if not 0 <= alpha <= 1 or tau <= 0:
            raise DfdError(f"teacher.alpha={alpha} must lie in [0, 1] and teacher.tau={tau} above 0")
        if teacher is None and odds is None:
            raise DfdError("distillation needs a teacher: teacher.run=outputs/...")
        self.teacher: CachedOdds | Teacher = odds or Teacher(teacher, mode, precision)  # type: ignore[arg-type]
        self.distilled, self.alpha, self.tau = kind, alpha, tau

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the weighted loss by labels and by teacher in training; the loss by labels alone in evaluation."""
        if not self.training:
            return super().loss(output, batch)
        student = getattr(output, "class_logits", output.logits), getattr(output, "distill_logits", output.logits)
        odds = [log_odds(logits) for logits in student] + [self.teacher(batch)]
        label = batch["label"]
        if self.level == "video":
            means = [mean_by_video(values[:, None], batch["video"]) for values in odds]
            odds, label = [values[:, 0] for values, _ in means], label[means[0][1]]
        class_odds, distill_odds, teacher_odds = odds
        by_label = F.binary_cross_entropy_with_logits(
            class_odds, smoothed(label, self.label_smoothing), reduction="none"
        )
        by_teacher = distilled(distill_odds, teacher_odds, self.distilled, self.tau)
        each = self.alpha * by_label + (1 - self.alpha) * by_teacher
        self.log_dict(
            {"train/by_label": by_label.mean(), "train/by_teacher": by_teacher.mean()},
            on_step=False, on_epoch=True, batch_size=len(label),
        )  # fmt: skip
        return by_class(each, label, self.per_class, self.class_weights)


def distilled(student: Tensor, teacher: Tensor, kind: Kind = "soft_bce", tau: float = 1.0) -> Tensor:
    """Return how far the student's log-odds (N,) are from the teacher's, (N,).

    soft_bce is cross-entropy with the teacher's probability at temperature `tau`, times its square; soft_kl is that
    less the teacher's entropy, so that agreement costs nothing (for two classes their gradients are the same); hard
    takes the teacher's decision for the label.
    """
    return DISTILLED[kind](student, teacher, tau)


def _soft_bce(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    return tau**2 * F.binary_cross_entropy_with_logits(student / tau, (teacher / tau).sigmoid(), reduction="none")


def _soft_kl(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    return _soft_bce(student, teacher, tau) - _soft_bce(teacher, teacher, tau)


def _hard(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(student, (teacher > 0).to(student.dtype), reduction="none")


DISTILLED = {"soft_bce": _soft_bce, "soft_kl": _soft_kl, "hard": _hard}
