"""A vision transformer with a class and a distillation token over the features of a CNN.

Heo, Yeo and Kim, DeepFake detection algorithm based on improved vision transformer, Applied Intelligence 2023
(arXiv 2104.01353), after DeiT (Touvron et al. 2021). Their code has no licence: written here from its description.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.core.tensors import Distilled
from dfd.models.backbones import Fallback, backbone
from dfd.models.base import Detector

Fusion = Literal["channel_pool", "projection", "concat"]
Heads = Literal["shared", "separate"]
Infer = Literal["mean", "class", "distill"]


class Hybrid(Detector):
    """Patch tokens and CNN features of the same places, read by a class token and a distillation token.

    `fusion`: channel_pool averages the channels of both side by side down to the transformer's width (as published),
    projection adds a learned projection of the CNN's, concat gives the transformer both as tokens. Where the two grids
    differ the CNN's is resized. `infer` says what the answer is: the mean of both heads' logits, or one of them (the
    published code: distill). `normalisation: shared` gives the transformer the CNN's normalised pixels, as published.
    `features` (N, 2 D) are the class token and the distillation token.
    """

    def __init__(
        self,
        cnn: str = "tf_efficientnet_b7.ns_jft_in1k",
        vit: str = "vit_large_patch32_384.orig_in21k_ft_in1k",
        pretrained: bool | Mapping[str, bool | str] = True,
        on_missing: Fallback = "error",
        size: int = 384,
        fusion: Fusion = "channel_pool",
        heads: Heads = "shared",
        infer: Infer = "mean",
        normalisation: Literal["own", "shared"] = "own",
        logits: int = 1,
        depth: int | None = None,
        drop_path: float = 0.2,
    ) -> None:
        weights = pretrained if isinstance(pretrained, Mapping) else {"cnn": pretrained, "vit": pretrained}
        if set(weights) != {"cnn", "vit"}:
            raise DfdError(f"pretrained={dict(weights)}: give true, false, or both of cnn and vit")
        shallow: dict[str, Any] = {} if depth is None else {"depth": depth}
        network, spec, origin = backbone(cnn, weights["cnn"], size, on_missing, drop_path_rate=drop_path)
        encoder, own, vit_origin = backbone(vit, weights["vit"], size, on_missing, drop_path_rate=drop_path, **shallow)
        _check(network, cnn, encoder, vit)
        super().__init__(spec, f"{origin}; {vit_origin}")
        self.cnn, self.encoder = network, encoder
        width: int = encoder.embed_dim  # type: ignore[assignment]
        self.fuse = FUSIONS[fusion](network.num_features, width)
        self.infer: Infer = infer
        self.distill_token = nn.Parameter(torch.zeros(1, 1, width))
        self.head = nn.Linear(width, logits)
        self.distill_head = self.head if heads == "shared" else nn.Linear(width, logits)
        ours, theirs = (spec, own) if normalisation == "own" else (spec, spec)
        self.register_buffer("scale", _ratio(ours.std, theirs.std), persistent=False)
        self.register_buffer("shift", _shift(ours, theirs), persistent=False)

    scale: Tensor
    shift: Tensor

    def forward(self, pixels: Tensor) -> Distilled:  # type: ignore[override]
        """Classify; return the logits of both heads too, for a loss that trains them separately."""
        features = self.forward_features((pixels - self.mean) / self.std)
        by_class, by_distill = self._heads(features)
        return Distilled(self._joined(by_class, by_distill), features, by_class, by_distill)

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Return the class and the distillation token (N, 2 D)."""
        vit: Any = self.encoder
        patches = vit.patch_embed(pixels * self.scale + self.shift)
        maps = self.cnn.forward_features(pixels)  # type: ignore[operator]
        grid = vit.patch_embed.grid_size
        if maps.shape[2:] != grid:
            maps = F.interpolate(maps, grid, mode="bilinear")
        positions = vit.pos_embed[:, 1:]
        tokens = self.fuse(maps.flatten(2).transpose(1, 2), patches, positions)
        first = (vit.cls_token + vit.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        last = self.distill_token.expand(len(tokens), -1, -1)  # without a positional embedding, as published
        tokens = vit.norm_pre(vit.pos_drop(torch.cat([first, tokens], 1)))
        tokens = vit.norm(vit.blocks(torch.cat([tokens, last], 1)))
        return torch.cat([tokens[:, 0], tokens[:, -1]], 1)

    def forward_head(self, features: Tensor) -> Tensor:
        """Return logits (N, 1 or 2)."""
        return self._joined(*self._heads(features))

    @property
    def evidence(self) -> nn.Module:
        """The CNN's last map, where both paths still have the picture's layout."""
        return self.cnn.bn2  # type: ignore[return-value]

    def no_weight_decay(self) -> set[str]:
        """Return the parameters excluded from weight decay: tokens and positional embeddings."""
        return {"distill_token", "encoder.cls_token", "encoder.pos_embed"}

    def _heads(self, features: Tensor) -> tuple[Tensor, Tensor]:
        first, last = features.chunk(2, 1)
        return self.head(first), self.distill_head(last)

    def _joined(self, by_class: Tensor, by_distill: Tensor) -> Tensor:
        if self.infer == "mean":
            return (by_class + by_distill) / 2
        return by_class if self.infer == "class" else by_distill


class ChannelPool(nn.Module):
    """Average the channels of both, CNN first, down to the transformer's width; nothing is learned."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, maps: Tensor, patches: Tensor, positions: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(torch.cat([maps, patches], 2), self.width) + positions


class Projection(nn.Module):
    """Project the CNN's features to the transformer's width and add them to the patch at the same position."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width))

    def forward(self, maps: Tensor, patches: Tensor, positions: Tensor) -> Tensor:
        return patches + self.project(maps) + positions


class Concat(nn.Module):
    """Concatenate CNN and patch tokens; those at one position share its positional embedding, and a type embedding
    separates them."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width))
        self.kind = nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, maps: Tensor, patches: Tensor, positions: Tensor) -> Tensor:
        return torch.cat([self.project(maps) + positions + self.kind, patches + positions], 1)


FUSIONS: Mapping[str, type[nn.Module]] = {"channel_pool": ChannelPool, "projection": Projection, "concat": Concat}


def _ratio(ours: tuple[float, ...], theirs: tuple[float, ...]) -> Tensor:
    return torch.tensor([a / b for a, b in zip(ours, theirs, strict=True)]).view(3, 1, 1)


def _shift(ours: Any, theirs: Any) -> Tensor:
    means = zip(ours.mean, theirs.mean, theirs.std, strict=True)
    return torch.tensor([(a - b) / std for a, b, std in means]).view(3, 1, 1)


def _check(network: nn.Module, cnn: str, encoder: nn.Module, vit: str) -> None:
    if not hasattr(network, "conv_head"):
        raise DfdError(f"cnn={cnn} is not an EfficientNet of timm: take an efficientnet_* or tf_efficientnet_*")
    plain = getattr(encoder, "num_prefix_tokens", 0) == 1 and getattr(encoder, "pos_embed", None) is not None
    if not plain or encoder.pos_embed.shape[1] != encoder.patch_embed.num_patches + 1:  # type: ignore[index, union-attr, operator]
        raise DfdError(f"vit={vit} is not a ViT with a class token and a positional embedding per patch: take a vit_*")
