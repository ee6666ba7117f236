"""How delays between lips and voice go on: a causal transformer that predicts the next step of a real video.

Paper: Feng, Chen and Owens, CVPR 2023, section 3.2. Original code: cfeng16/audio-visual-forensics (MIT), whose names
are kept so that both of its published files load as they are. What that code does otherwise than the paper or than
common practice is an option each: see `Quirks`.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfd.core.errors import DfdError

DIM = 256
HEADS = 16
DELAYS = 31
STEPS = 49  # of the published positional table: 50 windows give 49 steps to predict
FEATURES = 1024  # of a window: 512 of the lips, 512 of the voice


@dataclass(frozen=True)
class Quirks:
    """What the published weights need; each of the six can be switched off for weights of one's own.

    Args:
        shared_norm: one LayerNorm for both halves of a decoder, by the unbiased deviation plus an epsilon.
        scale_by_dim: attention is scaled by the whole width, not by that of a head.
        null_key: a learned key and value come first and are never masked.
        unused_convolution: carry the weights of a compression that is never called.
        biased_out_only: no bias where queries, keys and values are made.
        table: the positional table has `steps` places; otherwise sines, of any length.
    """

    shared_norm: bool = True
    scale_by_dim: bool = True
    null_key: bool = True
    unused_convolution: bool = True
    biased_out_only: bool = True
    table: bool = True


class DeviationNorm(nn.Module):
    """LayerNorm of "The Annotated Transformer": by the unbiased standard deviation plus 1e-6."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.a_2 = nn.Parameter(torch.ones(dim))
        self.b_2 = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        return self.a_2 * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6) + self.b_2


class Compression(nn.Module):
    """A convolution that the original builds and, at a compression of one, never calls."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(dim, dim, 1, groups=dim // heads)


class CausalAttention(nn.Module):
    """Self-attention in which a step sees itself, what was before it, and a learned null."""

    def __init__(self, dim: int, heads: int, dropout: float, quirks: Quirks) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (dim if quirks.scale_by_dim else dim // heads) ** -0.5
        if quirks.unused_convolution:
            self.compress_fn = Compression(dim, heads).requires_grad_(False)
        self.null_k = self.null_v = None
        if quirks.null_key:
            self.null_k, self.null_v = (nn.Parameter(torch.zeros(1, 1, dim)) for _ in range(2))
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=not quirks.biased_out_only)
        self.to_out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Attend over steps (B, T, D), of which `valid` (B, T) may exclude some from being looked at."""
        steps = x.shape[1]
        q, k, v = self.to_qkv(x).chunk(3, -1)
        seen = torch.ones(steps, steps, dtype=torch.bool, device=x.device).tril()[None]
        if valid is not None:
            seen = seen & valid[:, None, :]
        if self.null_k is not None and self.null_v is not None:
            k, v = (torch.cat([null.expand(len(x), -1, -1), y], 1) for null, y in ((self.null_k, k), (self.null_v, v)))
            seen = F.pad(seen, (1, 0), value=True)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        weights = (self.scale * q @ k.transpose(-1, -2)).masked_fill(~seen[:, None], torch.finfo(x.dtype).min)
        return self.to_out((self.dropout(weights.softmax(-1)) @ v).transpose(1, 2).flatten(2))


class TwoLayers(nn.Module):
    """Linear, ReLU, linear, with the original's names."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.w_1, self.w_2 = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Transform every step by itself."""
        return self.w_2(self.dropout(F.relu(self.w_1(x))))


class DecoderLayer(nn.Module):
    """Attention and feed-forward, each normalised after its residual."""

    def __init__(self, dim: int, heads: int, dropout: float, quirks: Quirks) -> None:
        super().__init__()
        self.docoder = CausalAttention(dim, heads, dropout, quirks)
        self.norm = DeviationNorm(dim) if quirks.shared_norm else nn.LayerNorm(dim)
        self.second = None if quirks.shared_norm else nn.LayerNorm(dim)
        self.ff = TwoLayers(dim, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Run both halves."""
        attended = self.dropout(self.norm(self.docoder(x, valid) + x))
        norm = self.norm if self.second is None else self.second
        return self.dropout(norm(attended + self.ff(attended)))


class DelayDecoder(nn.Module):
    """Predict step t + 1 of a sequence (B, T, 31) from the steps up to t."""

    def __init__(self, steps: int = STEPS, dropout: float = 0.1, quirks: Quirks | None = None) -> None:
        super().__init__()
        quirks = quirks or Quirks()
        self.steps = steps
        if quirks.table:
            self.pos_embedding = nn.Parameter(0.02 * torch.randn(1, steps, DIM))
        else:
            self.register_buffer("pos_embedding", sines(steps, DIM), persistent=False)
        self.lin1 = nn.Linear(DELAYS, DIM)
        self.decoder1 = DecoderLayer(DIM, HEADS, dropout, quirks)
        self.decoder2 = DecoderLayer(DIM, HEADS, dropout, quirks)
        self.lin2 = nn.Linear(DIM, DELAYS)

    def forward(self, sequence: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return what is expected after each step, (B, T, 31)."""
        if sequence.shape[1] > self.steps:
            raise DfdError(f"a sequence of {sequence.shape[1]} steps: the positional table has {self.steps} places")
        x = F.relu(self.lin1(sequence)) + self.pos_embedding[:, : sequence.shape[1]]
        return self.lin2(self.decoder2(self.decoder1(x, valid), valid))


def sines(steps: int, dim: int) -> Tensor:
    """Return the positional encoding of "Attention is all you need", (1, steps, dim)."""
    place = torch.arange(steps)[:, None] * torch.exp(torch.arange(0, dim, 2) * (-math.log(10_000.0) / dim))
    return torch.stack([place.sin(), place.cos()], 2).flatten(1)[None]


class Pca(nn.Module):
    """Standardisation and principal components as plain arrays."""

    mean: Tensor
    scale: Tensor
    pca_mean: Tensor
    components: Tensor
    explained_variance: Tensor

    def __init__(self, features: int = FEATURES, components: int = DELAYS) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("pca_mean", torch.zeros(features))
        self.register_buffer("components", torch.eye(components, features))
        self.register_buffer("explained_variance", torch.ones(components))

    def forward(self, features: Tensor) -> Tensor:
        """Project features (..., 1024) onto the components (..., 31)."""
        return ((features - self.mean) / self.scale - self.pca_mean) @ self.components.T

    @torch.no_grad()
    def fit(self, features: Tensor) -> "Pca":
        """Take mean, scale and components of features (N, F)."""
        rows = features.double()
        mean, scale = rows.mean(0), rows.std(0, correction=0)
        scale = torch.where(scale < 1e-8, torch.ones_like(scale), scale)
        standard = (rows - mean) / scale
        centre = standard.mean(0)
        _, values, directions = torch.linalg.svd(standard - centre, full_matrices=False)
        count = len(self.components)
        if len(directions) < count:
            raise DfdError(f"{len(rows)} windows do not give {count} principal components: train on more videos")
        variance = values[:count].square() / max(1, len(rows) - 1)
        named = {"mean": mean, "scale": scale, "pca_mean": centre, "components": directions[:count]}
        for name, value in {**named, "explained_variance": variance}.items():
            getattr(self, name).copy_(value)
        return self


class DistributionModel(nn.Module):
    """The next step's distribution of delays from the logits of those before it."""

    def __init__(self, steps: int = STEPS, dropout: float = 0.1, quirks: Quirks | None = None) -> None:
        super().__init__()
        self.decoder = DelayDecoder(steps, dropout, quirks)

    def forward(self, logits: Tensor, valid: Tensor | None = None) -> Tensor:
        """Logits (B, T, 31) to log-probabilities (B, T - 1, 31) of steps 1 to T - 1."""
        known = None if valid is None else valid[:, :-1]
        return self.decoder(logits[:, :-1], known).log_softmax(-1)


class FeatureModel(nn.Module):
    """The next step's audio-visual feature, by principal components of unit length."""

    def __init__(
        self, steps: int = STEPS, dropout: float = 0.1, quirks: Quirks | None = None, features: int = FEATURES
    ) -> None:
        super().__init__()
        self.decoder = DelayDecoder(steps, dropout, quirks)
        self.pca = Pca(features)

    def targets(self, features: Tensor) -> Tensor:
        """Return the unit vectors (B, T, 31) that are predicted."""
        return F.normalize(self.pca(features), dim=-1)

    def forward(self, features: Tensor, valid: Tensor | None = None) -> Tensor:
        """Features (B, T, 1024) to predictions (B, T - 1, 31) of steps 1 to T - 1."""
        known = None if valid is None else valid[:, :-1]
        return self.decoder(self.targets(features)[:, :-1], known)


Divergence = Literal["kl", "soft_ce"]


def divergence(log_predicted: Tensor, target: Tensor, kind: Divergence = "kl") -> Tensor:
    """Return per step how far the target distribution is from the predicted one: KL or soft cross-entropy."""
    cross = -(target * log_predicted).sum(-1)
    return cross if kind == "soft_ce" else cross + torch.xlogy(target, target).sum(-1)
