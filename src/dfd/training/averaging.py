"""The mean of several checkpoints of one network, in place of one picked by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfd.core.errors import DfdError
from dfd.models.checkpoint import CARD, read_checkpoint


def average_checkpoints(paths: Sequence[Path], output: Path) -> None:
    """Write a checkpoint whose weights and running statistics are the mean of several; counters are the last one's."""
    if len(paths) < 2:
        raise DfdError(f"averaging needs two checkpoints or more, got {len(paths)}: train with callbacks=every")
    checkpoints = [read_checkpoint(path) for path in paths]
    cards: list[dict[str, Any]] = [checkpoint[CARD] for checkpoint in checkpoints]
    for path, card in zip(paths, cards, strict=True):
        if card["network"] != cards[0]["network"]:
            raise DfdError(f"{path} holds another network than {paths[0]}: only weights of one can be averaged")
    states = [_weights(checkpoint) for checkpoint in checkpoints]
    mean = {name: _mean([state[name] for state in states]) for name in states[-1]}
    origin = f"{cards[-1]['initialised_from']}; mean of {', '.join(path.stem for path in paths)}"
    output.parent.mkdir(parents=True, exist_ok=True)
    torch.save({CARD: cards[-1] | {"initialised_from": origin}, "state_dict": mean}, output)


def _weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in checkpoint["state_dict"].items() if name.startswith("network.")}


def _mean(values: list[Tensor]) -> Tensor:
    if not values[0].is_floating_point():
        return values[-1]
    total = values[0].double()
    for value in values[1:]:
        total = total + value
    return (total / len(values)).to(values[0].dtype)
