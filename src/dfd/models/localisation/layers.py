"""Layers over time, (N, T, C): masked convolutions, channel norms, local attention, transformer blocks.

They keep the names and the shapes of ActionFormer's parameters (happyharrycn/actionformer_release, MIT), so that its
checkpoints and those of UMMAFormer load; steps outside the video stay zero everywhere.
"""

import math
from functools import cached_property
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK = 32  # queries that share one window of keys in local attention


class Steps:
    """Which steps of one level lie within the video, and the attention masks that follow from it."""

    def __init__(self, valid: Tensor) -> None:
        self.valid = valid  # (N, T), boolean
        self._bands: dict[int, Tensor] = {}

    @cached_property
    def weight(self) -> Tensor:
        """Ones within the video and zeros outside, (N, T, 1)."""
        return self.valid.unsqueeze(-1).float()

    def halved(self) -> "Steps":
        """Every second step."""
        return Steps(self.valid[:, ::2])

    def band(self, reach: int) -> Tensor:
        """Which keys each query of each block may see: (N * blocks, 1, block, block + 2 reach)."""
        if reach not in self._bands:
            self._bands[reach] = self._band(reach)
        return self._bands[reach]

    def _band(self, reach: int) -> Tensor:
        length = self.valid.shape[1]
        block, padding = blocks(length)
        keys = F.pad(self.valid, (reach, reach + padding)).unfold(1, block + 2 * reach, block)  # (N, blocks, keys)
        place = torch.arange(block + 2 * reach, device=keys.device) - torch.arange(block, device=keys.device)[:, None]
        near = (place >= 0) & (place <= 2 * reach)
        # a query outside the video sees itself: its answer is dropped, and a row without any key would be NaN
        seen = near & (keys.unsqueeze(2) | (place == reach))
        return seen.flatten(0, 1).unsqueeze(1)


def blocks(length: int) -> tuple[int, int]:
    """Return how many queries go together, and by how much a sequence is padded to be cut into such blocks."""
    block = min(BLOCK, length)
    return block, -length % block


class ChannelNorm(nn.Module):
    """Layer norm over the channels of (N, T, C), with parameters of shape (1, C, 1)."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every step."""
        return F.layer_norm(x, (x.shape[-1],), self.weight.view(-1), self.bias.view(-1), self.eps)


class MaskedConv(nn.Module):
    """Convolution over time, then zeros outside the video; biases begin at zero."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)
        if bias:
            nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, steps: Steps) -> Tensor:
        """Turn (N, T, inputs) into (N, T / stride, outputs); `steps` are those of the result."""
        return self.conv(x.transpose(1, 2)).transpose(1, 2) * steps.weight


class Pointwise(nn.Conv1d):
    """A convolution of kernel 1, computed as the linear layer that it is; its bias begins at zero."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 1, bias=bias)
        if bias:
            nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def forward(self, input: Tensor) -> Tensor:
        """Turn (N, T, inputs) into (N, T, outputs)."""
        return F.linear(input, self.weight.squeeze(-1), self.bias)


class Depthwise(nn.Module):
    """A convolution of kernel 3 for each channel by itself, computed as a sum of shifted sequences."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, stride, 1, groups=channels, bias=False)

    def forward(self, around: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Turn the neighbours of every step into (N, T / stride, C)."""
        before, at, after = self.conv.weight[:, 0].unbind(-1)
        left, middle, right = around
        return torch.addcmul(torch.addcmul(left * before, middle, at), right, after)


def neighbours(x: Tensor, stride: int, edge: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Return the step before, at, and after every `stride`-th step of (N, T, C); `edge` lies beyond both ends."""
    padded = F.pad(x, (0, 0, 1, 1), value=edge)
    length = x.shape[1]
    return padded[:, :length:stride], x[:, ::stride], padded[:, 2::stride]


class Scale(nn.Module):
    """A learned factor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply."""
        return x * self.scale


class AffineDropPath(nn.Module):
    """A residual branch scaled per channel from near zero, and dropped for whole samples at random in training."""

    def __init__(self, channels: int, rate: float = 0.1, scale: float = 1e-4) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1, channels, 1), scale))
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Scale, and in training drop."""
        x = x * self.scale.view(-1)
        if not self.training or self.rate == 0:
            return x
        kept = torch.rand(x.shape[0], 1, 1, device=x.device, dtype=x.dtype) >= self.rate
        return x * kept / (1 - self.rate)


class Attention(nn.Module):
    """Multi-head attention whose queries, keys and values pass a depthwise convolution and a norm of their own.

    A `window` of 7 lets a query see three steps to both sides; -1 all of them. With a stride of 2, queries, keys and
    values are those of the next level.
    """

    def __init__(self, channels: int, heads: int, window: int, stride: int = 1) -> None:
        super().__init__()
        self.heads, self.window, self.stride = heads, window, stride
        self.query_conv, self.query_norm = Depthwise(channels, stride), ChannelNorm(channels)
        self.key_conv, self.key_norm = Depthwise(channels, stride), ChannelNorm(channels)
        self.value_conv, self.value_norm = Depthwise(channels, stride), ChannelNorm(channels)
        self.key = Pointwise(channels, channels)
        self.query = Pointwise(channels, channels)
        self.value = Pointwise(channels, channels)
        self.proj = Pointwise(channels, channels)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, steps: Steps) -> Tensor:
        """Attend from (N, T, C) to keys and values of the same length; `steps` are those of the result."""
        # none of the three is masked: keys outside the video are never seen, and answers outside it are dropped
        of_query = neighbours(query, self.stride)
        of_key = of_query if key is query else neighbours(key, self.stride)
        of_value = of_key if value is key else neighbours(value, self.stride)
        q = self.query(self.query_norm(self.query_conv(of_query)))
        k = self.key(self.key_norm(self.key_conv(of_key)))
        v = self.value(self.value_norm(self.value_conv(of_value)))
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in (q, k, v))
        out = local_attention(q, k, v, steps, self.window // 2) if self.window > 1 else full_attention(q, k, v, steps)
        return self.proj(out.flatten(-2)) * steps.weight


def local_attention(q: Tensor, k: Tensor, v: Tensor, steps: Steps, reach: int) -> Tensor:
    """Attend to the steps at most `reach` away: (N, T, heads, D) each; blocks of queries share a window of keys."""
    count, length, heads, width = q.shape
    block, padding = blocks(length)
    queries = F.pad(q, (0, 0, 0, 0, 0, padding)).unflatten(1, (-1, block)).transpose(2, 3).flatten(0, 1)
    keys, values = (_windows(part, block, reach, padding) for part in (k, v))
    out = F.scaled_dot_product_attention(queries, keys, values, attn_mask=steps.band(reach))
    return out.transpose(1, 2).reshape(count, length + padding, heads, width)[:, :length]


def _windows(x: Tensor, block: int, reach: int, padding: int) -> Tensor:
    """Cut (N, T, heads, D) into overlapping windows (N * blocks, heads, block + 2 reach, D)."""
    padded = F.pad(x, (0, 0, 0, 0, reach, reach + padding))
    return padded.unfold(1, block + 2 * reach, block).flatten(0, 1).transpose(2, 3)


def full_attention(q: Tensor, k: Tensor, v: Tensor, steps: Steps) -> Tensor:
    """Attend to all steps within the video: (N, T, heads, D) each."""
    seen = steps.valid | ~steps.valid.any(1, keepdim=True)  # a row of an empty video would be NaN
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None, None]).transpose(1, 2)


class Mlp(nn.Sequential):
    """Two linear layers and a GELU, numbered as in ActionFormer, whose dropouts hold no parameters."""

    def __init__(self, channels: int, ratio: int = 4, dropout: float = 0.0) -> None:
        hidden = ratio * channels
        super().__init__(
            Pointwise(channels, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            Pointwise(hidden, channels),
            nn.Dropout(dropout),
        )


class Block(nn.Module):
    """A pre-norm transformer block; with a stride of 2 it makes the next level of the pyramid."""

    def __init__(
        self, channels: int, heads: int, window: int, stride: int = 1, drop_path: float = 0.1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.stride = stride
        self.ln1, self.ln2 = ChannelNorm(channels), ChannelNorm(channels)
        self.attn = Attention(channels, heads, window, stride)
        self.mlp = Mlp(channels, dropout=dropout)
        self.drop_path_attn = AffineDropPath(channels, drop_path)
        self.drop_path_mlp = AffineDropPath(channels, drop_path)

    def forward(self, x: Tensor, steps: Steps) -> Tensor:
        """Turn (N, T, C) into (N, T / stride, C); `steps` are those of the result."""
        h = self.ln1(x)
        kept = x if self.stride == 1 else pooled(x, self.stride) * steps.weight
        out = kept + self.drop_path_attn(self.attn(h, h, h, steps))
        return out + self.drop_path_mlp(self.mlp(self.ln2(out)) * steps.weight)


class CrossBlock(nn.Module):
    """A transformer block whose keys and values come from elsewhere."""

    def __init__(self, channels: int, heads: int, window: int, drop_path: float = 0.1, dropout: float = 0.0) -> None:
        super().__init__()
        self.lnq, self.lnk, self.lnv = ChannelNorm(channels), ChannelNorm(channels), ChannelNorm(channels)
        self.ln2 = ChannelNorm(channels)
        self.attn = Attention(channels, heads, window)
        self.mlp = Mlp(channels, dropout=dropout)
        self.drop_path_attn = AffineDropPath(channels, drop_path)
        self.drop_path_mlp = AffineDropPath(channels, drop_path)

    def forward(self, x: Tensor, key: Tensor, value: Tensor, steps: Steps, repeat: int = 1) -> Tensor:
        """Attend from x (N, T, C) to (N, T / repeat, C), each step of which is repeated."""
        key, value = self.lnk(key), self.lnv(value)
        if repeat > 1:
            key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
        out = x + self.drop_path_attn(self.attn(self.lnq(x), key, value, steps))
        return out + self.drop_path_mlp(self.mlp(self.ln2(out)) * steps.weight)


def pooled(x: Tensor, stride: int) -> Tensor:
    """Return the largest of each step and its neighbours, at every `stride`-th step."""
    left, middle, right = neighbours(x, stride, -torch.inf)
    return torch.maximum(torch.maximum(left, middle), right)


def sinusoids(length: int, channels: int) -> Tensor:
    """Return the table of sinusoidal positions (length, channels), divided by the root of the width."""
    place = torch.arange(length, dtype=torch.float64)[:, None]
    pair = torch.arange(channels, dtype=torch.float64) // 2
    angle = place / 10_000 ** (2 * pair / channels)
    table = torch.where(torch.arange(channels) % 2 == 0, angle.sin(), angle.cos())
    return (table / math.sqrt(channels)).float()


class Positions(nn.Module):
    """Adds sinusoidal positions within the video; longer sequences than the table see it stretched."""

    table: Tensor

    def __init__(self, length: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("table", sinusoids(length, channels), persistent=False)

    def forward(self, x: Tensor, steps: Steps) -> Tensor:
        """Add them to (N, T, C)."""
        length, table = x.shape[1], self.table
        if length > len(table):
            table = F.interpolate(table.T[None], size=length, mode="linear", align_corners=False)[0].T
        return x + table[:length] * steps.weight


class Embedding(nn.Module):
    """Convolutions of kernel 3 that bring features to the width of a backbone, each with a norm and a ReLU."""

    def __init__(self, inputs: int, channels: int, layers: int) -> None:
        super().__init__()
        widths = [inputs] + [channels] * layers
        self.embd = nn.ModuleList(MaskedConv(a, b, bias=False) for a, b in pairwise(widths))
        self.embd_norm = nn.ModuleList(ChannelNorm(channels) for _ in range(layers))

    def embed(self, x: Tensor, steps: Steps) -> Tensor:
        """Turn (N, T, inputs) into (N, T, channels)."""
        for conv, norm in zip(self.embd, self.embd_norm):
            x = F.relu(norm(conv(x, steps)))
        return x
