"""Train a restorer on pairs of pictures: L1 and a little of the squared error."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from dfd.core.tensors import PairBatch
from dfd.training.pair_scoring import PairScoring


class Restoration(PairScoring):
    """The published objective, L1 and a tenth of MSE.

    The arguments of `Trained`, and

    Args:
        l1: weight of the mean absolute error.
        mse: weight of the mean squared error.
        edges: weight of the mean absolute error of gradients.
        augment: of pixels, which degradation stands in for: left alone.
    """

    def __init__(
        self, *args: Any, l1: float = 1.0, mse: float = 0.1, edges: float = 0.0, augment: object = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.l1, self.mse, self.edges = l1, mse, edges

    def loss(self, output: Tensor, batch: PairBatch) -> Tensor:
        """Return the weighted sum of distances to the clean pictures."""
        restored, clean = output.float(), batch["clean"].float()
        loss = self.l1 * F.l1_loss(restored, clean) + self.mse * F.mse_loss(restored, clean)
        if self.edges:
            slopes = [(each.diff(dim=-1), each.diff(dim=-2)) for each in (restored, clean)]
            loss = loss + self.edges * sum(F.l1_loss(a, b) for a, b in zip(*slopes, strict=True))
        return loss
