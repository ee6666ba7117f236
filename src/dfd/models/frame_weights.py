"""Published weights of frame detectors: DeepfakeBench's Xception and ResNet-34, SBI, GenD and Effort.

Formats are known from the files' keys and their authors' code; nothing in a file is run, and everything in it must find
its place. Licences: DeepfakeBench and Effort CC BY-NC 4.0, SBI for research only, GenD MIT (its backbones' own apply).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

from dfd.core.errors import DfdError
from dfd.models.backbones import read_weights

State = dict[str, Tensor]
HALF, NONE, ONE = [0.5, 0.5, 0.5], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]
CLIP_L = "vit_large_patch14_clip_quickgelu_224.openai"
ATTENTION = ("q", "k", "v")


@dataclass(frozen=True)
class Published:
    """A published detector in our terms.

    Args:
        name: of the detector.
        arguments: of `ImageDetector`.
        state: its weights under our names.
        licence: of the weights.
        crops: how faces are cut to come nearest to its authors' (options of `CropOptions`).
    """

    name: str
    arguments: dict[str, Any]
    state: State
    licence: str
    crops: dict[str, Any] = field(default_factory=dict)


def read_deepfakebench(path: Path) -> Published:
    """Read `xception_best.pth`, `core_best.pth` or `cnnaug_best.pth`."""
    state = _stripped(read_weights(path), "backbone.")
    crops = {"margin": 0.3, "align": True}
    if "resnet.0.weight" in state:
        blocks = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
        named = {_renamed(key, r"resnet\.(\d)\.", lambda m: f"backbone.{blocks[m[1]]}."): v for key, v in state.items()}
        ours = _headed(named, "fc")
        arguments = {"architecture": "resnet34", "size": 256, "mean": HALF, "std": HALF}
        return Published("resnet34", arguments, ours, "CC BY-NC 4.0", crops)
    if "last_linear.weight" in state and state["conv1.weight"].shape[1] == 3:
        kept = {key: value for key, value in state.items() if not key.startswith("adjust_channel.")}  # always unused
        named = {key if key.startswith("last_linear") else f"backbone.{key}": value for key, value in kept.items()}
        arguments = {"architecture": "legacy_xception", "size": 256, "mean": HALF, "std": HALF}
        return Published("xception", arguments, _headed(named, "last_linear"), "CC BY-NC 4.0", crops)
    raise DfdError(
        f"{path} is none of DeepfakeBench's detectors that fit a network here: there are Xception (also CORE) and "
        f"CNN-Aug (ResNet-34); its first keys are {', '.join(list(state)[:3])}"
    )


def read_sbi(path: Path) -> Published:
    """Read SBI's `FFraw.tar` or `FFc23.tar`, which are pickles not archives."""
    state = _stripped(read_weights(path), "net.")
    arguments = {"architecture": "tf_efficientnet_b4", "size": 380, "mean": NONE, "std": ONE}
    named = _headed(_from_efficientnet_pytorch(state, "tf_efficientnet_b4"), "_fc")
    return Published("sbi", arguments, named, "research only", {"margin": 0.25})


def read_gend(path: Path) -> Published:
    """Read GenD's `model.safetensors` over CLIP ViT-L/14."""
    state = read_weights(path)
    if "feature_extractor.vision_model.pre_layrnorm.weight" not in state:
        raise DfdError(f"{path} is not GenD over CLIP ViT-L/14, the one of its backbones that can be read here")
    head = _head(state, "model.linear", path)
    vision = _stripped({k: v for k, v in state.items() if ".vision_model." in k}, "feature_extractor.vision_model.")
    arguments = {"architecture": CLIP_L, "size": 224, "normalise": True}
    return Published("gend", arguments, _from_clip(vision) | head, "MIT", {"margin": 0.3, "align": True})


def read_effort(path: Path) -> Published:
    """Read Effort over CLIP ViT-L/14, with its singular directions merged into the weights."""
    state = _stripped(read_weights(path), "module.")
    head = _head(state, "head", path)
    vision = _merged(_stripped({k: v for k, v in state.items() if k.startswith("backbone.")}, "backbone."))
    arguments = {"architecture": CLIP_L, "size": 224}
    return Published("effort", arguments, _from_clip(vision) | head, "CC BY-NC 4.0", {"margin": 0.3, "align": True})


READERS: dict[str, Callable[[Path], Published]] = {
    "deepfakebench": read_deepfakebench,
    "sbi": read_sbi,
    "gend": read_gend,
    "effort": read_effort,
}


def _head(state: Mapping[str, Tensor], name: str, path: Path) -> State:
    """Return the last layer under our names."""
    missing = [key for key in (f"{name}.weight", f"{name}.bias") if key not in state]
    if missing:
        raise DfdError(f"{path} lacks {missing[0]}: is it another kind of file?")
    return {f"head.1.{part}": state[f"{name}.{part}"] for part in ("weight", "bias")}


def _stripped(state: Mapping[str, Tensor], prefix: str) -> State:
    return {key.removeprefix(prefix): value for key, value in state.items()}


def _renamed(key: str, pattern: str, name: Callable[[re.Match[str]], str]) -> str:
    return re.sub(f"^{pattern}", name, key)


def _headed(state: Mapping[str, Tensor], head: str) -> State:
    """Return a state whose last layer is called as ours."""
    return {re.sub(rf"^{head}\.", "head.1.", key): value for key, value in state.items()}


def _from_efficientnet_pytorch(state: Mapping[str, Tensor], architecture: str) -> State:
    """Return weights of efficientnet_pytorch under timm's names; blocks are counted through timm's stages.

    `_bn1` and `_bn2` mean other norms in the first stage, which expands nothing, so shapes alone would not tell.
    """
    with torch.device("meta"):
        blocks: Any = timm.create_model(architecture).blocks
    stages = [len(stage) for stage in blocks]
    places = [(stage, place) for stage, count in enumerate(stages) for place in range(count)]
    ends = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    both = {"_depthwise_conv": "conv_dw", "_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
    first = both | {"_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    later = both | {"_expand_conv": "conv_pw", "_bn0": "bn1", "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}
    named: State = {}
    for key, value in state.items():
        block = re.match(r"_blocks\.(\d+)\.(\w+)\.(.+)", key)
        if block is not None:
            stage, place = places[int(block[1])]
            part = (first if stage == 0 else later)[block[2]]
            named[f"backbone.blocks.{stage}.{place}.{part}.{block[3]}"] = value
        else:
            part, _, rest = key.partition(".")
            named[f"backbone.{ends[part]}.{rest}" if part in ends else key] = value
    return named


def _from_clip(state: Mapping[str, Tensor]) -> State:
    """Return Hugging Face's CLIP vision tower under timm's names."""
    one = {
        "embeddings.class_embedding": "cls_token", "embeddings.patch_embedding.weight": "patch_embed.proj.weight",
        "embeddings.position_embedding.weight": "pos_embed",
    }  # fmt: skip
    layers = {"layer_norm1": "norm1", "layer_norm2": "norm2", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2",
              "self_attn.out_proj": "attn.proj"}  # fmt: skip
    named: State = {}
    for key, value in state.items():
        if key.endswith("position_ids"):  # a buffer of old versions
            continue
        layer = re.match(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$", key)
        if key in one:
            whole = value if key.endswith("patch_embedding.weight") else value.reshape(1, -1, value.shape[-1])
            named[f"backbone.{one[key]}"] = whole
        elif layer is None:
            named["backbone." + key.replace("pre_layrnorm", "norm_pre").replace("post_layernorm", "norm")] = value
        elif layer[2] in layers:
            named[f"backbone.blocks.{layer[1]}.{layers[layer[2]]}.{layer[3]}"] = value
        elif layer[2] == "self_attn.q_proj":
            parts = [state[key.replace(".q_proj.", f".{part}_proj.")] for part in ATTENTION]
            named[f"backbone.blocks.{layer[1]}.attn.qkv.{layer[3]}"] = torch.cat(parts)
    return named


def _merged(state: Mapping[str, Tensor]) -> State:
    """Return Effort's weights with W = weight_main + U diag(S) V; what it keeps of the frozen part is dropped."""
    merged: State = {}
    for key, value in state.items():
        layer, _, part = key.rpartition(".")
        if part == "weight_main":
            u, s, v = (state[f"{layer}.{name}_residual"] for name in "USV")
            merged[f"{layer}.weight"] = value + (u * s) @ v
        elif part not in ("U_residual", "S_residual", "V_residual", "U_r", "S_r", "V_r"):
            merged[key] = value
    return merged
