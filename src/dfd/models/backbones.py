"""timm behind one function: any of its networks as a feature extractor, with weights that are never silently random."""

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from timm.layers import convert_sync_batchnorm, set_fused_attn
from timm.models.swin_transformer import WindowAttention
from torch import Tensor, nn

from dfd.core.errors import DfdError, did_you_mean
from dfd.core.records import InputSpec

Fallback = Literal["error", "random"]
BiasResize = Literal["timm", "bilinear"]
TABLE = "relative_position_bias_table"


def backbone(
    name: str,
    pretrained: bool | str = False,
    size: int | None = None,
    on_missing: Fallback = "error",
    bias_resize: BiasResize = "timm",
    **arguments: Any,
) -> tuple[nn.Module, InputSpec, str]:
    """Build a timm network without its classifier; return it with its input and what it was initialised from.

    `pretrained` is true (the hub), false, or a local file (.safetensors, .pth) of the same architecture. Weights that
    were asked for and cannot be had are an error, unless `on_missing` is "random": then it is a loud warning.
    `bias_resize` says how Swin's relative-position tables get to other windows: as timm does it, keeping what local
    offsets mean, or stretched bilinearly.
    """
    set_fused_attn(True, experimental=True)  # timm leaves Swin's off otherwise
    if not timm.is_model(name):
        raise DfdError(f"timm has no model {name!r}{did_you_mean(name.split('.')[0], timm.list_models())}")
    config = timm.get_pretrained_cfg(name)
    if config is None:
        raise DfdError(f"timm knows no default configuration of {name!r}: pick one of timm.list_pretrained()")
    spec = InputSpec("image", size or config.input_size[-1], mean=rgb(config.mean), std=rgb(config.std))
    if config.fixed_input_size:
        arguments["img_size"] = spec.size
    try:
        network, origin = _create(name, pretrained, arguments, bias_resize)
    except DfdError as error:
        if on_missing == "error":
            raise
        warnings.warn(f"{error}; going on from RANDOM weights, as on_missing=random allows", stacklevel=2)
        network, origin = timm.create_model(name, **arguments), "random weights (fallback: asked-for weights missing)"
    network.reset_classifier(0)  # type: ignore[operator]
    for module in network.modules():
        if type(module) is WindowAttention:
            module.__class__ = CachingWindowAttention
    return network, spec, origin


class CachingWindowAttention(WindowAttention):
    """Swin's attention that gathers its bias from the table once, as long as nothing is learned."""

    def _get_rel_pos_bias(self) -> Tensor:
        table = self.relative_position_bias_table
        if torch.compiler.is_compiling():
            return super()._get_rel_pos_bias()
        if self.training or torch.is_grad_enabled():
            self._cached_bias = None  # fused optimisers and averaging change the table without a trace
            return super()._get_rel_pos_bias()
        state = (table.data_ptr(), table._version, table.dtype, table.device)
        cached: tuple[Any, Tensor] | None = getattr(self, "_cached_bias", None)
        if cached is None or cached[0] != state:
            cached = self._cached_bias = (state, super()._get_rel_pos_bias())
        return cached[1]


def stretch_bias_table(table: Tensor, length: int) -> Tensor:
    """Stretch a table of relative-position biases (L, heads) bilinearly to another (square) number of rows."""
    old, new = math.isqrt(table.shape[0]), math.isqrt(length)
    grid = table.T.reshape(1, -1, old, old)
    return F.interpolate(grid, (new, new), mode="bilinear").flatten(2)[0].T


def _create(
    name: str, pretrained: bool | str, arguments: Mapping[str, Any], bias_resize: BiasResize = "timm"
) -> tuple[nn.Module, str]:
    if not pretrained:
        return timm.create_model(name, **arguments), "random weights"
    if bias_resize == "bilinear":
        return _stretched(name, pretrained, arguments)
    if pretrained is True:
        return _from_hub(name, arguments)
    return _from_file(name, Path(pretrained), arguments)


def _from_hub(name: str, arguments: Mapping[str, Any]) -> tuple[nn.Module, str]:
    try:
        network = timm.create_model(name, pretrained=True, **arguments)
    except Exception as error:  # the hub's clients raise a dozen unrelated types when there is no network
        raise DfdError(
            f"the weights of {name} could not be had ({type(error).__name__}: {_first_line(error)}). Next step: give a "
            "local file, model.network.pretrained=/path/to/weights, or go without, model.network.pretrained=false"
        ) from error
    return network, f"timm hub: {name}"


def _stretched(name: str, pretrained: bool | str, arguments: Mapping[str, Any]) -> tuple[nn.Module, str]:
    """Load into the network of the weights' own windows, then stretch the tables to those that are wanted."""
    stock, origin = _create(
        name, pretrained, {k: v for k, v in arguments.items() if k not in ("img_size", "window_size")}
    )
    network = timm.create_model(name, num_classes=stock.num_classes, **arguments)
    wanted = network.state_dict()
    state = {
        key: stretch_bias_table(value, len(wanted[key])) if key.endswith(TABLE) else value
        for key, value in stock.state_dict().items()
    }
    network.load_state_dict(state)
    return network, origin


def _from_file(name: str, path: Path, arguments: Mapping[str, Any]) -> tuple[nn.Module, str]:
    state = read_weights(path)
    classifier = getattr(timm.get_pretrained_cfg(name), "classifier", None)
    head = state.get(f"{classifier}.weight", state.get("head.weight"))  # Swin's original files have the short name
    classes: dict[str, Any] = {
        "num_classes": 0 if head is None else head.shape[0]
    }  # a file of features alone has no head
    try:  # with the file's own number of classes timm loads strictly: a key too many or too few is an error
        network = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay={"state_dict": state} | classes, **classes, **arguments
        )
    except (RuntimeError, KeyError, AttributeError) as error:
        raise DfdError(f"{path} does not hold the weights of {name}: {_first_line(error, 400)}") from error
    return network, f"file: {path.name}"


def read_tokens(network: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Run a timm ViT; return its tokens (N, P + H*W, D), and how much CLS attends to each patch, (N, 1, H, W).

    The attention is that of the last block, averaged over heads, recomputed from its queries and keys: the network
    itself keeps its fused kernels.
    """
    last: Any = network.blocks[-1]  # type: ignore[index]
    _, (before, after) = network.forward_intermediates(  # type: ignore[operator]
        pixels, indices=2, return_prefix_tokens=True, output_fmt="NLC", norm=False
    )
    (patches, prefix), size = before, network.patch_embed.dynamic_feat_size(pixels.shape[-2:])  # type: ignore[union-attr, operator]
    tokens = network.norm(torch.cat([after[1], after[0]], 1))  # type: ignore[operator]
    row = _cls_attention(last.attn, last.norm1(torch.cat([prefix, patches], 1)))
    return tokens, row[:, prefix.shape[1] :].unflatten(1, size)[:, None]


def _cls_attention(attention: Any, tokens: Tensor) -> Tensor:
    """Return how much the first token attends to every one, (N, T), in single precision."""
    split = attention.qkv(tokens).unflatten(2, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    query, key = attention.q_norm(split[0][:, :, :1]).float(), attention.k_norm(split[1]).float()
    return (query * attention.scale @ key.transpose(-2, -1)).softmax(-1).mean(1)[:, 0]


def check_tokens(network: nn.Module, name: str) -> int:
    """Return how many tokens a ViT with a readable attention classifies from: CLS, and DIST if it was distilled."""
    attention = getattr(getattr(network, "blocks", [None])[-1], "attn", None)
    readable = all(hasattr(attention, part) for part in ("qkv", "q_norm", "k_norm", "scale"))
    if not readable or not getattr(network, "num_prefix_tokens", 0) or hasattr(network, "rope"):
        raise DfdError(f"{name} is not a ViT whose CLS attention can be read: take a vit_*, deit_* or dinov2 of timm")
    return 2 if hasattr(network, "head_dist") else 1


def synchronise_batch_norms(network: nn.Module) -> nn.Module:
    """Make batch norms use the statistics of all processes; torch's own converter loses timm's fused activations."""
    return convert_sync_batchnorm(network)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a local file without running code from it."""
    if not path.is_file():
        raise DfdError(f"no weights at {path}: model.network.pretrained takes true, false or an existing file")
    try:
        loaded = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # truncated, not a checkpoint, or a pickle with code in it: each has its own type
        raise DfdError(f"{path} cannot be read as weights: {_first_line(error)}") from error
    for key in ("state_dict_ema", "model_ema", "state_dict", "model"):
        if isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    return {key.removeprefix("module."): value for key, value in loaded.items()}


def rgb(values: Sequence[float]) -> tuple[float, float, float]:
    """Return three values of red, green and blue."""
    red, green, blue = values
    return red, green, blue


def _first_line(error: Exception, limit: int = 200) -> str:
    return " ".join(str(error).split())[:limit]
