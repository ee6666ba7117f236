"""Views of several videos to one flat batch."""

from collections.abc import Sequence

import numpy as np
import torch

from dfd.core.tensors import Batch
from dfd.data.views import Views


def collate(items: Sequence[Views]) -> Batch:
    """Concatenate views; `label` and `video` are repeated so that every row stands alone. Pixels stay uint8."""
    counts = [len(item["t"]) for item in items]
    return Batch(
        pixels=torch.from_numpy(np.concatenate([item["pixels"] for item in items])),
        label=torch.from_numpy(np.repeat([item["label"] for item in items], counts)),
        video=torch.from_numpy(np.repeat([item["video"] for item in items], counts)),
        t=torch.from_numpy(np.concatenate([item["t"] for item in items]).astype(np.float64)),
        draw=torch.from_numpy(np.concatenate([item["draw"] for item in items])),
    )
