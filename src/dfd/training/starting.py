"""Initialisation of a network: pretrained weights, the weights of another run, or a run as its frozen base."""

import logging
from pathlib import Path
from typing import Any

from dfd.core.build import Allowed, build
from dfd.core.card import Card
from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.run_folder import find_checkpoint
from dfd.models.base import Detector
from dfd.models.checkpoint import CARD, asks, load_network, network_tree, read_checkpoint

log = logging.getLogger("dfd")


def with_base(tree: dict[str, Any], base: str | None, known: Manifest, allow: Allowed, networks: Allowed) -> Detector:
    """Build a network; `model.base` is its frozen base if its class asks for one, else its initial weights."""
    looks_at_base = asks(tree, "looks_at_base", networks)
    if base is None:
        if looks_at_base:
            raise DfdError(f"{tree['_target_']} needs a trained run as its base: model.base=outputs/...")
        return build(tree, allow, "network")
    loaded = load_network(Path(base), networks)
    if loaded.card.manifest != known.hash:
        log.warning("%s was trained on other data than what this run calls known", base)
    if looks_at_base:
        built = build(tree, allow, "network", base=loaded.network)
        built.base_manifest = loaded.card.manifest  # for objectives that need people whom the base has not seen
        return built
    built = build(without_weights(tree), allow, "network")
    try:
        built.load_state_dict(loaded.network.state_dict())
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise DfdError(f"model.base={base} holds another network than model.network describes: {reason}") from error
    built.initialised_from = f"run: {loaded.path}"
    return built


def without_weights(tree: dict[str, Any]) -> dict[str, Any]:
    """Return a network's configuration that asks for no pretrained weights."""
    return tree | {"pretrained": False} if "pretrained" in tree else tree


def base_tree(tree: dict[str, Any], base: str | None, allow: Allowed) -> dict[str, Any]:
    """Return the constructor tree that a checkpoint keeps, with the tree of its frozen base if it has one."""
    kept = network_tree(tree, allow)
    if base is not None and asks(tree, "looks_at_base", allow):
        kept["base"] = Card.of(read_checkpoint(find_checkpoint(Path(base)))[CARD]).network
    return kept
