"""Checkpoints that say what they hold: a constructor tree, an input, weights; read without Hydra and pickle."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dfd.core.build import build
from dfd.core.card import Card
from dfd.core.errors import DfdError
from dfd.core.run_folder import find_checkpoint
from dfd.models.base import Detector

CARD = "dfd"
NETWORKS = ("dfd.models.",)


@dataclass(frozen=True)
class Loaded:
    """A network with its weights, the description saved beside them, and the file they came from."""

    network: Detector
    card: Card
    path: Path


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of ours without running code from it."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DfdError(f"no checkpoint at {path}") from None
    except Exception as error:  # truncated zip, foreign pickle, plain text: torch raises a different type for each
        reason = " ".join(str(error).split())[:160]
        raise DfdError(
            f"{path} is damaged or not a checkpoint of dfd ({reason}); copy it again or train anew"
        ) from error
    if not isinstance(checkpoint, dict) or CARD not in checkpoint:
        raise DfdError(f"{path} is a checkpoint, but not one of dfd: it does not say which network it holds")
    return checkpoint


def load_network(run: Path, allow: Sequence[str] = NETWORKS) -> Loaded:
    """Rebuild a run's network from its checkpoint alone, strictly: every weight fits or it is an error."""
    path = find_checkpoint(run)
    checkpoint = read_checkpoint(path)
    card = Card.of(checkpoint[CARD])
    prefix = "network."
    state = {key[len(prefix) :]: value for key, value in checkpoint["state_dict"].items() if key.startswith(prefix)}
    network: Detector = build(card.network, allow)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise DfdError(f"the weights in {path} do not fit {card.network['_target_']}: {reason}") from error
    if plain(asdict(network.input)) != plain(card.input):
        raise DfdError(f"{path}: the network was trained on {card.input} but is now built for {network.input}")
    network.initialised_from = card.initialised_from
    return Loaded(network.eval(), card, path)


def save_network(path: Path, network: Detector, tree: Mapping[str, Any], **facts: Any) -> None:
    """Write a network that was trained elsewhere as a checkpoint of ours; `facts` are what is known of its training."""
    known = {"model": type(network).__name__, "initialised_from": network.initialised_from} | facts
    card = Card(network_tree(tree), asdict(network.input), **known)
    state = {f"network.{key}": value for key, value in network.state_dict().items()}
    torch.save({CARD: card.to_plain(), "state_dict": state}, path)


def network_tree(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the constructor tree as a checkpoint keeps it: its weights come with it, so it fetches none."""
    return {key: (False if key == "pretrained" else value) for key, value in tree.items()}


def plain(value: Any) -> Any:
    """Return a value with its tuples as lists, as it is after a trip through YAML or JSON."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value
