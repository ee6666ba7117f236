"""A vision transformer that classifies, and an autoencoder of where it looks: the CLS attention map of its last block.

Casadei, Enhancing abnormality identification: robust out-of-distribution strategies for deepfake detection, 2024.
Original code: FabrCas/master_thesis (MIT); written here from its description. Transformers come from timm (Apache-2.0).
"""

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfd.core.tensors import Reconstructed
from dfd.models.backbones import Fallback, backbone, check_tokens, read_tokens
from dfd.models.base import Detector

Encoding = Literal["mean", "cls"]
STAGES = 5  # of half the size each


class VitAutoencoder(Detector):
    """Any ViT of timm with an autoencoder of its attention; `features` are CLS (and DIST, if it was distilled).

    The map is divided by its largest value, since an attention of about one in two hundred drowns in rounding, and is
    detached: the autoencoder learns to follow the transformer and never changes it. `encoding` is the mean over all
    tokens, as in the original, or what the last layer sees.
    """

    def __init__(
        self,
        architecture: str = "deit_tiny_distilled_patch16_224.fb_in1k",
        pretrained: bool | str = True,
        on_missing: Fallback = "error",
        size: int | None = None,
        autoencoder: Literal["plain", "variational"] = "variational",
        latent: int = 512,
        width: int = 32,
        encoding: Encoding = "mean",
        logits: int = 2,
        dropout: float = 0.1,
    ) -> None:
        network, spec, origin = backbone(architecture, pretrained, size, on_missing)
        super().__init__(spec, origin)
        self.backbone = network
        self.tokens = check_tokens(network, architecture)
        self.map_size = -(-spec.size // 2**STAGES) * 2**STAGES
        self.autoencoder = (
            Autoencoder(width) if autoencoder == "plain" else Variational(width, latent, self.map_size >> STAGES)
        )
        self.encoding = encoding
        self.head = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(self.tokens * network.embed_dim, logits),  # type: ignore[operator, arg-type]
        )

    def forward(self, pixels: Tensor) -> Reconstructed:  # type: ignore[override]  # begins as Output does
        """Classify, and reconstruct the attention map (N, 1, S, S)."""
        tokens, attention = read_tokens(self.backbone, (pixels - self.mean) / self.std)
        features = tokens[:, : self.tokens].flatten(1)
        target = self._enlarge(attention.detach())
        painted, mean, log_variance = self.autoencoder(target)
        encoding = tokens.mean(1) if self.encoding == "mean" else features
        logits = self.head(features)
        return Reconstructed(logits, features, encoding, encoding, target, painted, None, mean, log_variance)

    def logits(self, pixels: Tensor) -> Tensor:
        """Return the logits without reconstructing."""
        return super().forward(pixels).logits

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Return the tokens (N, D) or (N, 2 D) that the last linear layer sees."""
        return read_tokens(self.backbone, pixels)[0][:, : self.tokens].flatten(1)

    @property
    def evidence(self) -> nn.Module:
        """The norm before the last attention: only the class token counts after it."""
        return self.backbone.blocks[-1].norm1  # type: ignore[index, union-attr]

    def forward_head(self, features: Tensor) -> Tensor:
        """Return logits (N, 1 or 2)."""
        return self.head(features)

    def _enlarge(self, attention: Tensor) -> Tensor:
        relative = attention / attention.amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
        return F.interpolate(relative, (self.map_size, self.map_size), mode="bilinear", align_corners=False)


class Autoencoder(nn.Module):
    """Five strided convolutions and their mirror; returns (reconstruction, None, None)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [1, *(width << stage for stage in range(STAGES))]
        self.encoder = nn.Sequential(*(shrink(a, b) for a, b in pairwise(widths)))
        mirrored = widths[::-1]
        self.decoder = nn.Sequential(*(grow(a, b) for a, b in pairwise(mirrored)))

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        return self.decoder(self.encoder(maps)).float().sigmoid(), None, None


class Variational(Autoencoder):
    """A variational code in the middle: drawn in training, its mean in evaluation, so that scores repeat."""

    def __init__(self, width: int, latent: int, size: int) -> None:
        super().__init__(width)
        shape = (width << (STAGES - 1), size, size)
        flat = shape[0] * size * size
        self.code = nn.Sequential(nn.Flatten(), nn.Linear(flat, 2 * latent))
        self.spread = nn.Sequential(nn.Linear(latent, flat), nn.Unflatten(1, shape))

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        mean, log_variance = self.code(self.encoder(maps)).float().chunk(2, 1)
        log_variance = log_variance.clamp(-20, 20)
        code = mean
        if self.training:
            code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decoder(self.spread(code)).float().sigmoid(), mean, log_variance


def shrink(inputs: int, outputs: int) -> nn.Sequential:
    """Half the size."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 4, 2, 1), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2))


def grow(inputs: int, outputs: int) -> nn.Sequential:
    """Twice the size; the last level is left linear."""
    layers: list[nn.Module] = [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)]
    if outputs > 1:
        layers += [nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)
