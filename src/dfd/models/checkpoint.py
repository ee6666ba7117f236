"""Checkpoints that say what they hold: a constructor tree, an input, weights; read without Hydra and pickle."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfd.core.build import TARGET, Allowed, allowed_networks, build, locate
from dfd.core.card import Card
from dfd.core.errors import DfdError
from dfd.core.hub import DESCRIPTION
from dfd.core.records import input_from_dict, input_to_dict
from dfd.core.run_folder import BUNDLE, find_checkpoint
from dfd.models.base import Network
from dfd.models.bundle import read_bundle, read_description
from dfd.models.published import read_published
from dfd.models.tuning import loading
from dfd.models.untrusted import (
    LEFT_OUT,
    Budget,
    network_weights,
    offline,
    plain_values,
    read_archive,
    uninitialised,
)

CARD = "dfd"
BASE = "base_hash"  # in a card: the hash of the frozen weights that a checkpoint leaves out
PREFIX = "network."  # of a network's weights among those of an objective
AVERAGED_FROM = "current_model_state"  # Lightning's name for the weights that a moving average follows
NETWORKS = allowed_networks(())


@dataclass(frozen=True)
class Loaded:
    """A network with its weights, the description saved beside them, and the file they came from."""

    network: Any
    card: Card
    path: Path


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of ours without running code from it; any other file is named in the error."""
    if path.name == DESCRIPTION:
        card, state = read_published(path)
        return {CARD: plain_values(card, path), "state_dict": {f"{PREFIX}{key}": value for key, value in state.items()}}
    checkpoint = read_archive(path)
    if CARD not in checkpoint:
        names = ", ".join(str(name)[:40] for name in list(checkpoint)[:3]) or "nothing"
        raise DfdError(f"{path} is a checkpoint, but not one of dfd: it holds {names} and does not name its network")
    return checkpoint | {CARD: plain_values(checkpoint[CARD], path)}


def read_card(run: Path) -> Card:
    """Return the card of a run, a checkpoint or a bundle, without building its network."""
    path = find_checkpoint(run)
    return read_description(path).card if path.name == BUNDLE else Card.of(read_checkpoint(path)[CARD])


def load_network(run: Path, allow: Allowed = NETWORKS) -> Loaded:
    """Rebuild a run's network from its checkpoint alone, strictly: every weight fits or it is an error.

    The file may be a stranger's: it builds networks only, none larger than its weights, and fetches nothing.
    """
    path = find_checkpoint(run)
    if path.name == BUNDLE:
        return Loaded(*read_bundle(path), path)
    checkpoint = read_checkpoint(path)
    with _understood(path):
        card = Card.of(checkpoint[CARD])
        state = network_weights(checkpoint, path)
        tree = uninitialised(card.network, allow, path)
        more = LEFT_OUT if leaves_base_out(tree, allow) else 0
        with loading(), offline(), Budget(state.values(), f"{path}: the network that it names", more):
            network: Network = build(tree, allow, "network")
        expected = input_from_dict(card.input)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise DfdError(f"the weights in {path} do not fit {card.network['_target_']}: {reason}") from error
    check_base(card.base_hash, network, path)
    if network.input != expected:
        raise DfdError(f"{path}: the network was trained on {card.input} but is now built for {network.input}")
    network.initialised_from = card.initialised_from
    return Loaded(network.eval(), card, path)


@contextmanager
def _understood(path: Path) -> Iterator[None]:
    """Turn whatever a malformed description upsets into one line."""
    try:
        yield
    except DfdError as error:
        raise DfdError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except MemoryError as error:
        raise DfdError(f"{path}: the network that it names needs more memory than there is") from error
    except Exception as error:  # a constructor's, on arguments that nobody would give it
        reason = " ".join(str(error).split())[:200]
        raise DfdError(f"{path}: no network can be built as it describes ({type(error).__name__}: {reason})") from error


def save_network(path: Path, network: Network, tree: Mapping[str, Any], **facts: Any) -> None:
    """Write a network that was trained elsewhere as a checkpoint of ours; `facts` are what is known of its training."""
    known = {"model": type(network).__name__, "initialised_from": network.initialised_from} | facts
    kept = dict(tree) if network.base_left_out else network_tree(tree)
    card = Card(kept, input_to_dict(network.input), **known)
    state = {f"{PREFIX}{key}": value for key, value in network.state_dict().items()}
    checkpoint = {CARD: card.to_plain(), "state_dict": state}
    drop_base(checkpoint, network)
    torch.save(checkpoint, path)


def drop_base(checkpoint: dict[str, Any], network: Network) -> None:
    """Leave a frozen base out of a checkpoint that is about to be written, and name it by its hash in the card."""
    if not network.base_left_out:
        return
    state = checkpoint["state_dict"]
    base = {name: state[f"{PREFIX}{name}"] for name in _left_out(network)}
    checkpoint[CARD] = checkpoint[CARD] | {BASE: hash_weights(base)}
    for key in {"state_dict", AVERAGED_FROM} & checkpoint.keys():
        checkpoint[key] = {k: v for k, v in checkpoint[key].items() if k.removeprefix(PREFIX) not in base}


def check_base(expected: str | None, network: Network, path: Path) -> None:
    """Refuse a base that is not the one that the weights of a checkpoint were trained over."""
    if not network.base_left_out:
        return
    state = network.state_dict()
    found = hash_weights({name: state[name] for name in _left_out(network)})
    if found != expected:
        raise DfdError(
            f"{path} was trained over a pretrained base of hash {expected}, the one found here "
            f"({network.initialised_from}) has {found}: fetch the same weights"
        )


def hash_weights(state: Mapping[str, Tensor]) -> str:
    """Return twelve hex digits over names and values of weights, wherever they lie."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


def _left_out(network: Network) -> set[str]:
    return network.state_dict().keys() - network.saved_parts()


def network_tree(tree: Mapping[str, Any], allow: Allowed = NETWORKS) -> dict[str, Any]:
    """Return the constructor tree as a checkpoint keeps it: weights that come with it are not fetched again."""
    if leaves_base_out(tree, allow):
        return dict(tree)
    return {key: (False if key == "pretrained" else value) for key, value in tree.items()}


def asks(tree: Mapping[str, Any], question: str, allow: Allowed = NETWORKS) -> bool:
    """Return what the class of a constructor tree answers to a question (`looks_at_base`), without building it."""
    return bool(getattr(locate(tree[TARGET], allow, "network"), question, False))


def leaves_base_out(tree: Mapping[str, Any], allow: Allowed = NETWORKS) -> bool:
    """Return whether checkpoints of what a constructor tree builds leave its frozen base out."""
    made = locate(tree[TARGET], allow, "network")
    return isinstance(made, type) and issubclass(made, Network) and made.leaves_base_out(tree)


def plain(value: Any) -> Any:
    """Return a value with its tuples as lists, as it is after a trip through YAML or JSON."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value
