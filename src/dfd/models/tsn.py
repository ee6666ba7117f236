"""TSN (Wang et al., ECCV 2016) on ResNet-50, RGB or flow, as mmaction2 0.24.1 (Apache-2.0) trained it on ActivityNet.

These are the frame features of UMMAFormer. The network is timm's ResNet-50 without its classifier; a checkpoint of
mmaction2 loads strictly under its own names.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.models.backbones import backbone, read_weights
from dfd.models.foreign import some
from dfd.models.i3d import load_strictly

FEATURES, STACK = 2048, 5  # flow fields that the flow network sees at once, x and y of each
HEAD = ("cls_head.fc_cls.weight", "cls_head.fc_cls.bias")


def tsn(weights: str | Path) -> tuple[nn.Module, int]:
    """Build the trunk that a checkpoint of mmaction2 holds; return it and how many channels it sees (3 or 10)."""
    state = read_weights(Path(weights).expanduser())
    stem = state.get("backbone.conv1.conv.weight")
    if stem is None:
        raise DfdError(f"{weights} does not hold a TSN of mmaction2: it has no backbone.conv1, but {some(state)}")
    network = trunk(stem.shape[1])
    load_strictly(network, from_mmaction(state), str(weights))
    return network.eval(), stem.shape[1]


def trunk(channels: int = 3) -> nn.Module:
    """Return timm's ResNet-50 up to its pooled features."""
    return backbone("resnet50", in_chans=channels)[0]


def from_mmaction(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return mmaction2's weights under timm's names, without the classifier."""
    return {_ours(key): value for key, value in state.items() if key not in HEAD}


def to_mmaction(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return timm's weights under mmaction2's names."""
    return {_theirs(key): value for key, value in state.items()}


def _ours(key: str) -> str:
    name = key.removeprefix("backbone.")
    name = name.replace("downsample.conv", "downsample.0").replace("downsample.bn", "downsample.1")
    for number in "123":
        name = name.replace(f"conv{number}.conv.", f"conv{number}.").replace(f"conv{number}.bn.", f"bn{number}.")
    return name


def _theirs(key: str) -> str:
    name = key.replace("downsample.0", "downsample.conv").replace("downsample.1", "downsample.bn")
    for number in "123":
        name = name.replace(f"conv{number}.", f"conv{number}.conv.").replace(f"bn{number}.", f"conv{number}.bn.")
    return f"backbone.{name}"
