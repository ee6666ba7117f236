"""Published weights of Vision Mamba (hustvl/Vim, Apache-2.0), loaded strictly; nothing in the file is run."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dfd.core.errors import DfdError
from dfd.models.backbones import read_weights

MIDDLE = "pos_embed"


def load_vim(network: Any, path: Path) -> None:
    """Load everything but a head of another number of classes; another grid's position embedding is resized."""
    state = read_weights(path)
    own = {name: value for name, value in network.state_dict().items() if name != "frame_embedding"}
    missing, extra = own.keys() - state.keys(), state.keys() - own.keys()
    if any("_b" in name and "A_b" in name for name in missing):
        raise DfdError(f"{path} holds a network that reads in one direction: dfd has the bidirectional one (v2)")
    if missing or extra:
        what = f"lacks {min(missing)}" if missing else f"also holds {min(extra)}"
        raise DfdError(f"{path} does not hold the weights of this Vim: it {what} ({len(state)} tensors)")
    state[MIDDLE] = resized(state[MIDDLE], own[MIDDLE].shape[1] - 1)
    if state["head.weight"].shape != own["head.weight"].shape:
        state["head.weight"], state["head.bias"] = own["head.weight"], own["head.bias"]
    unfit = [name for name, value in own.items() if state[name].shape != value.shape]
    if unfit:
        raise DfdError(
            f"{path}: {unfit[0]} is {tuple(state[unfit[0]].shape)}, this variant has {tuple(own[unfit[0]].shape)}; "
            "take another model.network.variant"
        )
    network.load_state_dict(state, strict=False)


def resized(positions: Tensor, tokens: int) -> Tensor:
    """Return a position embedding (1, 1 + M, D) for another square grid; the class token's row lies in the middle."""
    count = positions.shape[1] - 1
    if count == tokens:
        return positions
    middle, side, new = count // 2, round(count**0.5), round(tokens**0.5)
    own = positions[:, middle, None]
    grid = torch.cat([positions[:, :middle], positions[:, middle + 1 :]], 1).transpose(1, 2).unflatten(2, (side, side))
    flat = F.interpolate(grid, (new, new), mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
    return torch.cat([flat[:, : tokens // 2], own, flat[:, tokens // 2 :]], 1)
