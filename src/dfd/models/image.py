"""Any timm network as an image detector: pooled features, dropout, one linear layer.

The baselines of the field: EfficientNet (Tan & Le 2019), Xception (Chollet 2017; for faces Roessler et al. 2019),
ResNet, ViT, DeiT, Swin. Networks and weights come from timm (Apache-2.0).
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch.nn.functional as F
from torch import Tensor, nn

from dfd.models.backbones import Fallback, backbone, rgb
from dfd.models.base import Detector
from dfd.models.tuning import Part, Tune, adapted_layers, fold, frozen_names, penalty
from dfd.models.tuning import tune as tune_part


class ImageDetector(Detector):
    """A timm network with a fresh head; `features` are its pooled features, the input of that head.

    Args:
        architecture: name in timm.
        pretrained: true (the hub), false, or a local file.
        on_missing: what to do where asked-for weights are missing.
        size: side of the input; None: the architecture's own.
        logits: columns of the answer.
        dropout: before the head.
        drop_path: of the architecture's residual blocks.
        mean: of the pixels that the weights were trained with, where it is not the architecture's own.
        std: the same.
        pool: how a ViT's tokens are pooled (token, avg, map); None: the architecture's own.
        normalise: whether the head sees features of length 1.
        tune: what of the backbone learns; see `dfd.models.tuning`.
        rank: of the change of each matrix (tune=lora, svd).
        alpha: scale of LoRA's change; None: the rank.
        adapted: which of q, k, v, out are changed (tune=lora, svd).
    """

    def __init__(
        self,
        architecture: str,
        pretrained: bool | str = True,
        on_missing: Fallback = "error",
        size: int | None = None,
        logits: int = 2,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        pool: str | None = None,
        normalise: bool = False,
        tune: Tune = "full",
        rank: int = 8,
        alpha: float | None = None,
        adapted: Sequence[Part] = ("q", "v"),
    ) -> None:
        arguments: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
        arguments |= {"global_pool": pool} if pool else {}
        network, spec, origin = backbone(architecture, pretrained, size, on_missing, **arguments)
        super().__init__(replace(spec, mean=rgb(mean or spec.mean), std=rgb(std or spec.std)), origin)
        self.backbone = network
        self.channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
        width: int = network.head_hidden_size  # type: ignore[assignment]
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, logits))
        self.normalise = normalise
        tune_part(network, tune, rank, alpha, adapted)
        self.partly = tune != "full"
        self.base_left_out = self.leaves_base_out({"tune": tune, "pretrained": pretrained})

    @classmethod
    def leaves_base_out(cls, arguments: Mapping[str, Any]) -> bool:
        """Whether checkpoints of a network with these arguments leave its frozen base out."""
        return arguments.get("tune", "full") != "full" and bool(arguments.get("pretrained", True))

    def saved_parts(self) -> set[str]:
        """Return what learns, the adapters and the head."""
        if not self.base_left_out:
            return super().saved_parts()
        return set(self.state_dict()) - {f"backbone.{name}" for name in frozen_names(self.backbone)}

    def folded(self) -> "ImageDetector":
        """Return the network with its adapters merged into the weights that they change."""
        if not adapted_layers(self.backbone):
            return self
        whole = copy.deepcopy(self)
        fold(whole.backbone)
        return whole

    def penalty(self) -> Tensor:
        """Return how far the directions that learn have left the frozen ones (tune=svd)."""
        return penalty(self.backbone)

    def train(self, mode: bool = True) -> Self:
        """Keep a backbone of which only a part learns in evaluation mode: no dropout, no statistics of batches."""
        super().train(mode)
        if self.partly:
            self.backbone.eval()
        return self

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Return pooled features (N, D)."""
        features = self.backbone(pixels)
        return F.normalize(features, dim=1) if self.normalise else features

    @property
    def evidence(self) -> nn.Module:
        """The last stage; of a transformer the norm before its last attention: only the class token counts after it."""
        info: Any = self.backbone.feature_info
        stage = self.backbone.get_submodule(info[-1]["module"])
        return getattr(stage, "norm1", stage) if hasattr(self.backbone, "cls_token") else stage

    def forward_head(self, features: Tensor) -> Tensor:
        """Return logits (N, 1 or 2)."""
        return self.head(features)
