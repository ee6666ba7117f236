"""Published weights of frame detectors: five of DeepfakeBench, SBI, GenD, Effort, and those of Politecnico di Milano.

Formats are known from the files' keys and their authors' code; nothing in a file is run, and everything in it must find
its place. Licences: DeepfakeBench and Effort CC BY-NC 4.0, SBI for research only, GenD MIT (its backbones' own apply),
Politecnico di Milano GPL-3.
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
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
IMAGE = "dfd.models.image.ImageDetector"
GPL, MILAN = "GPL-3.0", {"margin": 0.2}
BATCH_NORM_EPS = 1e-5
Parts = tuple[dict[str, Any], State, str]  # arguments, weights and class of a network
CLIP_L = "vit_large_patch14_clip_quickgelu_224.openai"
ATTENTION = ("q", "k", "v")


@dataclass(frozen=True)
class Published:
    """A published detector in our terms.

    Args:
        name: of the detector.
        arguments: of the network.
        state: its weights under our names.
        licence: of the weights.
        crops: how faces are cut to come nearest to its authors' (options of `CropOptions`).
        network: its class.
    """

    name: str
    arguments: dict[str, Any]
    state: State
    licence: str
    crops: dict[str, Any] = field(default_factory=dict)
    network: str = IMAGE


def read_deepfakebench(path: Path) -> Published:
    """Read DeepfakeBench's `xception`, `core`, `cnnaug`, `effnb4`, `meso4` or `meso4Incep` (`_best.pth`)."""
    state = _stripped(read_weights(path), "backbone.")
    kind = next((kind for key, kind in DEEPFAKEBENCH.items() if key in state), None)
    if kind is None or (kind == "xception" and state["conv1.weight"].shape[1] != 3):
        raise DfdError(
            f"{path} is none of DeepfakeBench's detectors that fit a network here: there are Xception (also CORE), "
            f"CNN-Aug (ResNet-34), EfficientNet-B4, Meso-4 and MesoInception-4; its first keys are "
            f"{', '.join(list(state)[:3])}"
        )
    arguments, named, network = _DEEPFAKEBENCH[kind](state)
    return Published(kind, arguments, named, "CC BY-NC 4.0", {"margin": 0.3, "align": True}, network)


def _resnet34(state: State) -> Parts:
    blocks = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
    named = {_renamed(key, r"resnet\.(\d)\.", lambda m: f"backbone.{blocks[m[1]]}."): v for key, v in state.items()}
    return _timm("resnet34", 256, mean=HALF, std=HALF), _headed(named, "fc"), IMAGE


def _xception(state: State) -> Parts:
    kept = {key: value for key, value in state.items() if not key.startswith("adjust_channel.")}  # always unused
    named = {key if key.startswith("last_linear") else f"backbone.{key}": value for key, value in kept.items()}
    return _timm("legacy_xception", 256, mean=HALF, std=HALF), _headed(named, "last_linear"), IMAGE


def _efficientnet(state: State) -> Parts:
    """Pixels are padded for 380, the first layer's not at all, whatever the size of the input."""
    named = _from_efficientnet_pytorch(_stripped(state, "efficientnet."), "tf_efficientnet_b4")
    arguments = _timm("tf_efficientnet_b4", 256, mean=HALF, std=HALF, logits=2, padding="deepfakebench")
    return arguments, _headed(named, "last_layer"), "dfd.models.efficientnet.EfficientNet"


def _meso4(state: State) -> Parts:
    ours = {"bn1": "norm1", "bn2": "norm2", "fc1": "hidden.1", "fc2": "head"}
    named = {_renamed(key, r"(bn\d|fc\d)\.", lambda m: f"{ours[m[1]]}."): value for key, value in state.items()}
    return {"size": 256, "logits": 2}, named, "dfd.models.meso.Meso4"


def _meso_inception4(state: State) -> Parts:
    """Its convolutions have no biases, and both of its plain ones share a normalisation."""
    ours = {"conv1": "stages.4", "conv2": "stages.8", "fc1": "hidden.1", "fc2": "head"}
    named: State = {}
    for key, value in state.items():
        layer, _, part = key.rpartition(".")
        block = re.fullmatch(r"Incption([12])_(?:conv(\d)(?:_(\d))?|bn)", layer)
        if layer == "bn1":
            named |= {f"stages.{place}.{part}": value.clone() for place in (6, 10)}
        elif block is None:
            named[f"{ours.get(layer, layer)}.{part}"] = value
        elif block[2] is None:
            named[f"stages.{2 * int(block[1]) - 2}.norm.{part}"] = value
        else:
            place = 0 if block[3] in (None, "1") else 2
            named[f"stages.{2 * int(block[1]) - 2}.branches.{int(block[2]) - 1}.{place}.{part}"] = value
    biases = {
        f"{key.removesuffix('weight')}bias": value.new_zeros(len(value))
        for key, value in named.items()
        if key.startswith("stages.") and value.ndim == 4
    }
    return {"size": 256, "logits": 2, "linear_branches": True}, named | biases, "dfd.models.meso.MesoInception4"


# a key that only one of them has, and what reads it
DEEPFAKEBENCH = {
    "resnet.0.weight": "resnet34",
    "last_linear.weight": "xception",
    "efficientnet._conv_stem.weight": "efficientnet",
    "Incption1_conv1.weight": "meso",
    "conv4.weight": "meso4",
}
_DEEPFAKEBENCH: dict[str, Callable[[State], Parts]] = {
    "resnet34": _resnet34,
    "xception": _xception,
    "efficientnet": _efficientnet,
    "meso": _meso_inception4,
    "meso4": _meso4,
}


def read_sbi(path: Path) -> Published:
    """Read SBI's `FFraw.tar` or `FFc23.tar`, which are pickles not archives."""
    state = _stripped(read_weights(path), "net.")
    arguments = _timm("tf_efficientnet_b4", 380, mean=NONE, std=ONE)
    named = _headed(_from_efficientnet_pytorch(state, "tf_efficientnet_b4"), "_fc")
    return Published("sbi", arguments, named, "research only", {"margin": 0.25})


def read_gend(path: Path) -> Published:
    """Read GenD's `model.safetensors` over CLIP ViT-L/14."""
    state = read_weights(path)
    if "feature_extractor.vision_model.pre_layrnorm.weight" not in state:
        raise DfdError(f"{path} is not GenD over CLIP ViT-L/14, the one of its backbones that can be read here")
    head = _head(state, "model.linear", path)
    vision = _stripped({k: v for k, v in state.items() if ".vision_model." in k}, "feature_extractor.vision_model.")
    arguments = _timm(CLIP_L, 224, normalise=True)
    return Published("gend", arguments, _from_clip(vision) | head, "MIT", {"margin": 0.3, "align": True})


def read_effort(path: Path) -> Published:
    """Read Effort over CLIP ViT-L/14, with its singular directions merged into the weights."""
    state = _stripped(read_weights(path), "module.")
    head = _head(state, "head", path)
    vision = _merged(_stripped({k: v for k, v in state.items() if k.startswith("backbone.")}, "backbone."))
    arguments = _timm(CLIP_L, 224)
    return Published("effort", arguments, _from_clip(vision) | head, "CC BY-NC 4.0", {"margin": 0.3, "align": True})


def read_icpr2020(path: Path) -> Published:
    """Read an EfficientNetB4, EfficientNetB4ST or Xception of Politecnico di Milano (icpr2020dfdc)."""
    state = _stripped(read_weights(path), "feat_ext.")
    if "efficientnet.attconv.weight" in state:
        raise DfdError(f"{path} has an attention over places, which no network here has: take EfficientNetB4 or its ST")
    if "xception.conv1.weight" in state:
        named = _headed(_stripped(state, "xception."), "last_linear")
        named = {key if key.startswith("head.") else f"backbone.{key}": value for key, value in named.items()}
        return Published("xception", _timm("legacy_xception", 224, logits=1, mean=MEAN, std=STD), named, GPL, MILAN)
    named = _from_efficientnet_pytorch(_stripped(_without_norm(state), "efficientnet."), "tf_efficientnet_b4")
    arguments = _timm("tf_efficientnet_b4", 224, logits=1, mean=MEAN, std=STD)
    return Published("efficientnet", arguments, _headed(named, "classifier"), GPL, MILAN)


def _without_norm(state: State) -> State:
    """Return a state whose classifier's normalisation (of those trained with triplets) is part of its linear layer."""
    if "classifier.0.weight" not in state:
        return state
    kept = {key: value for key, value in state.items() if not key.startswith("classifier.")}
    norm = {part: state[f"classifier.0.{part}"] for part in ("weight", "bias", "running_mean", "running_var")}
    scale = norm["weight"] / (norm["running_var"] + BATCH_NORM_EPS).sqrt()
    weight, bias = state["classifier.1.weight"], state["classifier.1.bias"]
    shift = weight @ (norm["bias"] - norm["running_mean"] * scale)
    return kept | {"classifier.weight": weight * scale, "classifier.bias": bias + shift}


READERS: dict[str, Callable[[Path], Published]] = {
    "deepfakebench": read_deepfakebench,
    "sbi": read_sbi,
    "gend": read_gend,
    "effort": read_effort,
    "icpr2020": read_icpr2020,
}


def _head(state: Mapping[str, Tensor], name: str, path: Path) -> State:
    """Return the last layer under our names."""
    missing = [key for key in (f"{name}.weight", f"{name}.bias") if key not in state]
    if missing:
        raise DfdError(f"{path} lacks {missing[0]}: is it another kind of file?")
    return {f"head.1.{part}": state[f"{name}.{part}"] for part in ("weight", "bias")}


def _timm(architecture: str, size: int, **more: Any) -> dict[str, Any]:
    """Return arguments of a network of timm's, whose weights come with the file."""
    return {"architecture": architecture, "pretrained": False, "size": size, **more}


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
