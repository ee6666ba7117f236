"""The views of several records to one flat batch, whatever their kind."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch


def collate(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join the views of records, so that every row of the batch stands alone.

    Arrays (one row per view) are concatenated, in nested mappings too; numbers (one per record, as `label` and
    `video`) are repeated for every view; lists (one array per view, of any length) are appended. `t` counts the views.
    """
    counts = [len(item["t"]) for item in items]
    batch = {name: _join([item[name] for item in items], counts) for name in items[0]}
    return batch | {"t": batch["t"].double()}


def _join(values: Sequence[Any], counts: Sequence[int]) -> Any:
    first = values[0]
    if isinstance(first, Mapping):
        return {name: _join([value[name] for value in values], counts) for name in first}
    if isinstance(first, list):
        return [torch.from_numpy(array) for value in values for array in value]
    if isinstance(first, np.ndarray):
        return torch.from_numpy(np.concatenate(values))
    return torch.from_numpy(np.repeat(values, counts))
