"""Weights of TALL from other code: the official container and DeepfakeBench's, read safely and loaded strictly."""

import math
import re
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfd.core.errors import DfdError
from dfd.core.records import IMAGENET_MEAN, IMAGENET_STD
from dfd.models.foreign import load_whole, some
from dfd.models.tall import Tall

BUFFERS = ("relative_position_index", "attn_mask")
VARIANTS = {(96, 6): "tiny", (96, 18): "small", (128, 18): "base", (192, 18): "large"}  # by width and third depth

TOLD = {
    "thumbnail_rows": "rows",
    "duration": "frames",
    "frames_per_group": "stride",
    "num_clips": "clips",
    "input_size": "frame_size",
}  # names on the official command line, and ours
SUPPORTED = {"modality": "rgb", "dense_sampling": True, "threed_data": False, "num_crops": 1}

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Foreign:
    """Weights under the official names, the arguments of the `Tall` that they fit, and whose file it was."""

    state: State
    arguments: dict[str, Any]
    source: str


def read_foreign(path: Path, ema: bool = False) -> Foreign:
    """Read an official checkpoint, or a bare state dict of DeepfakeBench, without running code from it."""
    if not path.is_file():
        raise DfdError(f"no file at {path}: give a checkpoint of TALL4Deepfake or DeepfakeBench")
    try:
        with torch.serialization.safe_globals([Namespace]):  # the official container keeps its command line in one
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # truncated zip, foreign pickle, plain text: torch raises a different type for each
        raise DfdError(f"{path} cannot be read as weights: {' '.join(str(error).split())[:200]}") from error
    key = "model_ema" if ema else "model"
    if ema and key not in content:
        raise DfdError(f"{path} holds no averaged weights ({key}): import it without ema=true")
    state = content.get(key, content)
    state = {name.removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)}
    if any(name.startswith("model.") for name in state):
        state = {name.removeprefix("model."): value for name, value in state.items()}
        # its configuration of TALL says ImageNet's mean and std, unlike that of most of its detectors
        bench = {"frame_size": 224, "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
        return Foreign(state, arguments_of(state, path) | bench, f"DeepfakeBench: {path.name}")
    arguments = arguments_of(state, path) | typed_arguments(content.get("args"), state, path)
    return Foreign(state, arguments, f"TALL4Deepfake: {path.name}")


def typed_arguments(typed: Namespace | None, state: State, path: Path) -> dict[str, Any]:
    """Return the arguments that only the command line in an official container knows, or refuse what we lack.

    A container without them is read as the published command, 2 x 2 frames.
    """
    options = vars(typed) if isinstance(typed, Namespace) else {}
    for name, supported in SUPPORTED.items():
        if options.get(name, supported) != supported:
            raise DfdError(
                f"{path} was trained with {name}={options[name]!r}, which cannot be reproduced here: only "
                f"{name}={supported!r} can"
            )
    given = {ours: int(options[theirs]) for theirs, ours in TOLD.items() if options.get(theirs) is not None}
    rows, embedding = given.get("rows", 2), state.get("frame_pos_embed")
    frames = given.get("frames", 4 if embedding is None else embedding.shape[1])
    places = -(-frames // rows) * rows
    if embedding is not None and embedding.shape[1] != places:
        raise DfdError(
            f"{path} embeds {embedding.shape[1]} frames, its command line says duration={frames} in "
            f"thumbnail_rows={rows}: it is damaged, or of another code"
        )
    square = rows * rows == places
    layout = {} if square and rows == 2 else {"layout": "paper_compat"}
    return given | layout | ({"padding": True} if places != frames else {})


def arguments_of(state: State, path: Path) -> dict[str, Any]:
    """Return the arguments of the `Tall` that official weights were trained in, from their shapes."""
    try:
        width = state["patch_embed.proj.weight"].shape[0]
        depth = len({name.split(".")[3] for name in state if name.startswith("layers.2.blocks.")})
        table = state["layers.0.blocks.0.attn.relative_position_bias_table"]
        logits = state["head.weight"].shape[0]
    except KeyError as error:
        raise DfdError(f"{path} does not hold a TALL on Swin: it has no {error}, but {some(state)}") from None
    if (width, depth) not in VARIANTS:
        raise DfdError(f"{path} holds a Swin of width {width} and depth {depth} in its third stage: TALL has none such")
    embedding = state.get("frame_pos_embed")
    return {
        "variant": VARIANTS[width, depth],
        "pretrained": False,
        "window": (math.isqrt(table.shape[0]) + 1) // 2,
        "frames": 4 if embedding is None else embedding.shape[1],
        "frame_embedding": embedding is not None,
        "logits": logits,
    }


def load_foreign(network: Tall, foreign: Foreign) -> None:
    """Put foreign weights into a network; every weight fits or it is an error that lists those that do not."""
    load_whole(network, from_official(foreign.state), foreign.source)


def from_official(state: State) -> dict[str, Tensor]:
    """Return official weights under our names: timm downsamples at the start of a stage, and makes its own buffers."""
    return {_our_name(name): value for name, value in state.items() if not name.endswith(BUFFERS)}


def to_official(network: Tall) -> dict[str, Tensor]:
    """Return a network's weights under the official names, with the buffers that the official code expects."""
    state = {_official_name(name): value for name, value in network.state_dict().items()}
    for name, buffer in network.swin.named_buffers():
        if name.endswith(BUFFERS) and buffer is not None:
            state[name] = buffer
    return state


def _our_name(name: str) -> str:
    if name == "frame_pos_embed":
        return "frame_embedding"
    if name.startswith("head."):
        return name
    return "swin." + re.sub(r"layers\.(\d+)\.downsample", lambda match: f"layers.{int(match[1]) + 1}.downsample", name)


def _official_name(name: str) -> str:
    if name == "frame_embedding":
        return "frame_pos_embed"
    name = name.removeprefix("swin.")
    return re.sub(r"layers\.(\d+)\.downsample", lambda match: f"layers.{int(match[1]) - 1}.downsample", name)
