"""A run as it is published: weights in safetensors, card and operating point beside them; nothing in it is code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from dfd.core.digest import sha256
from dfd.core.errors import DfdError
from dfd.core.hub import DESCRIPTION, WEIGHTS

FORMAT = 1


def write_published(folder: Path, card: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Write weights and card of a network; `state` is what its checkpoints hold."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in state.items()}, folder / WEIGHTS)
    described = {"format": FORMAT, "card": dict(card), "sha256": sha256(folder / WEIGHTS)}
    (folder / DESCRIPTION).write_text(json.dumps(described, indent=2), encoding="utf-8")


def read_published(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return card and weights from a description; weights that were changed since are refused."""
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        number, card, wanted = described["format"], described["card"], described["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise DfdError(f"{path} does not describe a published run of dfd ({type(error).__name__}: {error})") from error
    if number != FORMAT:
        raise DfdError(f"{path} has format {number}, this version of dfd reads {FORMAT}: update dfd")
    weights = path.parent / WEIGHTS
    if not weights.is_file():
        raise DfdError(f"{path.parent} lacks {WEIGHTS}: fetch the whole repository")
    found = sha256(weights)
    if found != wanted:
        raise DfdError(f"{weights} is not what was published (sha256 {found[:12]}, expected {str(wanted)[:12]})")
    return card, load_file(weights)
