"""Any timm network as an image detector: pooled features, dropout, one linear layer.

The baselines of the field: EfficientNet (Tan & Le 2019), Xception (Chollet 2017; for faces Roessler et al. 2019),
ResNet, ViT, DeiT, Swin. Networks and weights come from timm (Apache-2.0).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from dfd.models.backbones import Fallback, backbone, rgb
from dfd.models.base import Detector


class ImageDetector(Detector):
    """A timm network with a fresh head; `features` are its pooled features, the input of that head.

    `mean` and `std` are those that the weights were trained with, where they are not the architecture's own.
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
    ) -> None:
        arguments: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
        network, spec, origin = backbone(architecture, pretrained, size, on_missing, **arguments)
        super().__init__(replace(spec, mean=rgb(mean or spec.mean), std=rgb(std or spec.std)), origin)
        self.backbone = network
        self.channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
        width: int = network.head_hidden_size  # type: ignore[assignment]
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, logits))

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Return pooled features (N, D)."""
        return self.backbone(pixels)

    @property
    def evidence(self) -> nn.Module:
        """The last stage; of a transformer the norm before its last attention: only the class token counts after it."""
        info: Any = self.backbone.feature_info
        stage = self.backbone.get_submodule(info[-1]["module"])
        return getattr(stage, "norm1", stage) if hasattr(self.backbone, "cls_token") else stage

    def forward_head(self, features: Tensor) -> Tensor:
        """Return logits (N, 1 or 2)."""
        return self.head(features)
