"""Checkpoints of the DFDC winner: read without running code from them, loaded strictly or not at all."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfd.core.errors import DfdError
from dfd.models.efficientnet import EfficientNet
from dfd.models.foreign import LISTED, load_whole, some

ARCHITECTURES = {2560: ("b7", 380), 2304: ("b6", 380), 2048: ("b5", 380), 1792: ("b4", 380), 1280: ("b0", 224)}
UNUSED = ("encoder.classifier.weight", "encoder.classifier.bias")  # that of ImageNet

# what his ensemble of seven says of the first ten of Kaggle's test videos (the author, 2021)
PUBLISHED = {
    "aassnaulhq": 0.978, "aayfryxljh": 0.00798, "acazlolrpz": 0.7793, "adohdulfwb": 0.01239, "ahjnxtiamx": 0.9907,
    "ajiyrjfyzp": 0.3713, "aktnlyqpah": 0.989, "alrtntfxtd": 0.775, "aomqqjipcp": 0.9907, "apedduehoy": 0.03763,
}  # fmt: skip


@dataclass(frozen=True)
class Winner:
    """Weights under his names, and the arguments of the `EfficientNet` that they fit."""

    state: Mapping[str, Tensor]
    arguments: dict[str, Any]
    source: str


def read_winner(path: Path) -> Winner:
    """Read a checkpoint `{epoch, state_dict, bce_best}`, or a bare state dict, without running code from it."""
    if not path.is_file():
        raise DfdError(f"no file at {path}: give a checkpoint of the DFDC winner")
    try:
        with torch.serialization.safe_globals(_numbers()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # truncated zip, foreign pickle, plain text: torch raises a different type for each
        raise DfdError(f"{path} cannot be read as weights: {' '.join(str(error).split())[:200]}") from error
    state = content.get("state_dict", content)
    state = {re.sub(r"^module\.", "", name): value for name, value in state.items() if isinstance(value, Tensor)}
    head = state.get("fc.weight")
    if head is None or not any(name.startswith("encoder.") for name in state):
        names = ", ".join(list(state)[:LISTED]) or "no tensors"
        raise DfdError(f"{path} does not hold the DFDC winner's classifier (encoder.* and fc.*), but {names}")
    if head.ndim != 2 or head.shape[1] not in ARCHITECTURES:
        raise DfdError(f"{path}: fc.weight {tuple(head.shape)} belongs to none of his EfficientNets")
    if not state["fc.weight"].count_nonzero():
        raise DfdError(f"{path}: its last layer is zero; it was never trained")
    name, size = ARCHITECTURES[head.shape[1]]
    arguments = {"architecture": f"tf_efficientnet_{name}.ns_jft_in1k", "pretrained": False, "size": size}
    return Winner(state, arguments, f"DFDC winner: {path.name}")


def load_winner(network: EfficientNet, winner: Winner) -> None:
    """Put his weights into a network: of everything he saved only the unused classifier is left out."""
    missing = [name for name in UNUSED if name not in winner.state]
    theirs = {_our_name(name): value for name, value in winner.state.items() if name not in UNUSED}
    load_whole(network, theirs, winner.source, winner.arguments["architecture"], missing)


def off_published(scores: Mapping[str, float], tolerance: float = 0.05) -> dict[str, tuple[float, float]]:
    """Return (ours, published) of the ten published videos where they differ by more; a video that lacks is an error.

    The tolerance leaves room for another face detector: what must not happen is that a fake turns real.
    """
    missing = sorted(PUBLISHED.keys() - scores.keys())
    if missing:
        raise DfdError(f"{len(missing)} of the ten published videos have no score: {some(missing)}")
    return {
        name: (scores[name], published)
        for name, published in PUBLISHED.items()
        if abs(scores[name] - published) > tolerance
    }


def _our_name(name: str) -> str:
    return re.sub(r"^fc\.", "head.1.", re.sub(r"^encoder\.", "backbone.", name))


def _numbers() -> list[Any]:
    """Return what his pickles hold besides tensors: the best loss, as a scalar of NumPy."""
    # named as old and new versions of NumPy do; such a scalar is bytes and a type, no code
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    return [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType]
