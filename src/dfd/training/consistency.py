"""Classification with a penalty on semantic regions that change from frame to frame."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from dfd.core.errors import DfdError
from dfd.core.records import REAL
from dfd.core.tensors import Batch, Output
from dfd.training.classification import Classification
from dfd.training.losses import per_process


class ConsistentClassification(Classification):
    """`Classification` plus `consistency` times the drift of semantic nodes; for TALL with `reasoning`.

    Inspired by the semantic consistency loss of TALL++, of which no code is public. Only real clips are
    penalised, unless `fakes` is set: drift is what gives a forgery away.
    """

    def __init__(self, *args: Any, consistency: float = 0.1, fakes: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.consistency = consistency
        self.fakes = fakes

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the classification loss plus the weighted drift."""
        nodes = getattr(output, "nodes", None)
        if nodes is None:
            raise DfdError(
                f"{type(self.network).__name__} gives no semantic nodes: set model.network.reasoning=8, "
                "or train with dfd.training.classification.Classification"
            )
        asked = nodes if self.fakes else nodes[batch["label"] == REAL]
        return super().loss(output, batch) + self.consistency * drift(asked)


def drift(nodes: Tensor) -> Tensor:
    """Return how far nodes (N, T, K, D) turn from one frame to the next, mean of 1 - cosine; 0 without any clip."""
    turns = 1 - F.cosine_similarity(nodes[:, 1:].float(), nodes[:, :-1].float(), dim=-1)
    return turns.sum() / per_process(turns.new_tensor(turns.numel())).clamp(min=1)
