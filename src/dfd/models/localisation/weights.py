"""Weights of UMMAFormer, ActionFormer, TriDet and AuViRe as their authors publish them, loaded strictly.

The first three keep `{epoch, state_dict, state_dict_ema, ...}` with names that begin `module.`, and evaluate the moving
average; AuViRe keeps `{model, optimizer}`. Names inside are those of our networks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfd.core.errors import DfdError
from dfd.models.base import Localiser
from dfd.models.foreign import load_whole

HOME = "dfd.models.localisation."
FEATURES = {  # what UMMAFormer's checkpoints were trained on, by the number of values
    6144: (("tsn_rgb", 2048, 25.0), ("tsn_flow", 2048, 25.0), ("byola", 2048, 12.5)),
    4096: (("tsn_rgb", 2048, 25.0), ("tsn_flow", 2048, 25.0)),
}
LENGTHS = {"ummaformer": 768, "tridet": 768, "actionformer": 768}


@dataclass(frozen=True)
class Official:
    """Published weights under their names, and the tree of the network that they fit."""

    state: Mapping[str, Tensor]
    tree: dict[str, Any]
    name: str


def read_official(
    path: Path, streams: Sequence[Sequence[Any]] | None = None, length: int | None = None, ema: bool = True
) -> Official:
    """Read a checkpoint without running code from it.

    Args:
        path: the file.
        streams: the features that it was trained on, as [name, width, rate]; None: by the number of values.
        length: steps of its grid; None: the one its authors used.
        ema: take the moving average, which the authors evaluate; without one, the weights themselves.
    """
    if not path.is_file():
        raise DfdError(f"no file at {path}: give a checkpoint of UMMAFormer, ActionFormer, TriDet or AuViRe")
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # truncated, a foreign pickle, plain text: torch raises a different type for each
        raise DfdError(f"{path} cannot be read as weights: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(held, Mapping):
        raise DfdError(f"{path} holds {type(held).__name__}, expected a checkpoint's dictionary")
    keys = ("state_dict_ema", "state_dict", "model") if ema else ("state_dict", "model")
    inner = next((held[key] for key in keys if isinstance(held.get(key), Mapping)), held)
    state = {str(k).removeprefix("module."): v for k, v in inner.items() if isinstance(v, Tensor)}
    kind = _kind(state, path)
    arguments = _of_auvire(state) if kind == "auvire" else _of_pyramid(state, kind)
    width = arguments.pop("width")
    chosen = [list(stream) for stream in streams or _streams(kind, width)]
    if sum(int(stream[1]) for stream in chosen) != width:
        raise DfdError(f"{path} was trained on {width} values a step, streams {chosen} have another number")
    names = {"actionformer": "ActionFormer", "tridet": "TriDet", "ummaformer": "UMMAFormer", "auvire": "AuViRe"}
    more = {"streams": chosen, "length": arguments.pop("length", length or LENGTHS.get(kind, 512))}
    return Official(state, {"_target_": f"{HOME}{kind}.{names[kind]}", **arguments, **more}, f"{kind}: {path.name}")


def load_official(network: Localiser, official: Official) -> None:
    """Load published weights: every tensor, with its name and shape."""
    load_whole(network, official.state, official.name)  # type: ignore[arg-type]


def _kind(state: Mapping[str, Tensor], path: Path) -> str:
    if any(name.startswith("reconstruction_model.") for name in state):
        return "auvire"
    if "backbone.embd.0.conv.weight" not in state or "reg_head.offset_head.conv.weight" not in state:
        raise DfdError(f"{path} holds no weights of UMMAFormer, ActionFormer, TriDet or AuViRe")
    if any(name.startswith("interpolator.") for name in state):
        return "ummaformer"
    return "tridet" if any(name.startswith("start_head.") for name in state) else "actionformer"


def _of_pyramid(state: Mapping[str, Tensor], kind: str) -> dict[str, Any]:
    channels, width, _ = state["backbone.embd.0.conv.weight"].shape
    head = state["cls_head.head.0.conv.weight"].shape[0]
    arch = [_count(state, f"backbone.{part}") for part in ("embd", "stem", "branch")]
    neck = "fpn" if any(name.startswith("neck.lateral_convs.") for name in state) else "identity"
    found = {"width": width, "channels": channels, "head_channels": head, "arch": arch, "neck": neck}
    if kind == "tridet":
        bins = state["reg_head.offset_head.conv.weight"].shape[0] // 2 - 1
        window, wide = (state[f"backbone.branch.0.{name}.weight"].shape[-1] for name in ("convw", "convkw"))
        ratio = next(r / 100 for r in range(50, 1000) if _wide(window, r / 100) == wide)
        mlp = state["backbone.stem.0.mlp.0.weight"].shape[0]
        boundary = state["start_head.head.0.conv.weight"].shape[-1]
        more = {"boundary_bins": bins, "window": window, "ratio": ratio, "mlp_channels": mlp}
        return found | more | {"boundary_kernel": boundary, "paper_compat": True}
    if kind == "ummaformer":
        rebuild = state["interpolator.contraction.down_1.conv_block.conv.weight"].shape[0]
        return found | {"rebuild_channels": rebuild, "paper_compat": True}
    return found | {"classes": state["cls_head.cls_head.conv.weight"].shape[0]}


def _of_auvire(state: Mapping[str, Tensor]) -> dict[str, Any]:
    first = "reconstruction_model.model.projection_pre.projection.0"
    channels, width, _ = state[f"{first}.conv.weight"].shape
    length = state[f"{first}.norm.weight"].shape[1]
    lengths = [
        state[f"encoder_model.model.model.{level}.norm.weight"].shape[1]
        for level in range(_count(state, "encoder_model.model.model"))
    ]
    retain = sum(each == length for each in lengths)
    rebuild = _count(state, "reconstruction_model.model.encoder")
    more = {"rebuild": rebuild, "retain": retain, "halvings": len(lengths) - retain, "paper_compat": True}
    return {"width": 2 * width, "channels": channels, "length": length, **more}


def _streams(kind: str, width: int) -> Sequence[Sequence[Any]]:
    if kind == "auvire":
        return (("video", width // 2, 25.0), ("audio", width // 2, 25.0))
    return FEATURES.get(width, (("features", width, 25.0),))


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    """Return how many numbered parts lie under a prefix."""
    return len({name.removeprefix(f"{prefix}.").split(".")[0] for name in state if name.startswith(f"{prefix}.")})


def _wide(window: int, ratio: float) -> int:
    wide = round((window + 1) * ratio)
    return wide + (wide % 2 == 0)
