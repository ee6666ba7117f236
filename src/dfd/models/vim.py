"""Vision Mamba: patches as a sequence, read in both directions by a state-space model, with the class token amid them.

Zhu, Liao, Zhang, Wang, Liu, Wang: Vision Mamba, ICML 2024. Original code: hustvl/Vim (Apache-2.0), which needs a fork
of mamba-ssm and CUDA; written here from the paper and the behaviour of that code, in plain PyTorch, with its names of
weights.
"""

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dfd.core.errors import DfdError
from dfd.core.records import InputSpec
from dfd.models.backbones import rgb
from dfd.models.base import Detector
from dfd.models.tall import ConvStem, columns, thumbnail, token_owners, untile
from dfd.models.vim_weights import load_vim

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
STATES, WIDTH = 16, 4  # of a channel; and of its convolution
WITHOUT_GRADIENT, WITH_GRADIENT = 16, 32  # steps of the scan that are computed together

Variant = Literal["micro", "tiny", "small", "base"]
VARIANTS: dict[str, tuple[int, int]] = {"micro": (64, 3), "tiny": (192, 24), "small": (384, 24), "base": (768, 24)}


def selective_scan(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, chunk: int = 0) -> Tensor:
    """Run h_t = exp(dt_t a) h_{t-1} + dt_t u_t b_t and return y_t = h_t c_t + d u_t, in single precision.

    Args:
        u: input (N, K, D, L) of K directions.
        dt: step sizes, the same shape.
        a: (K, D, S), negative.
        b: what enters the states (N, K, S, L).
        c: what is read from them (N, K, S, L).
        d: what passes by (K, D).
        chunk: steps computed together; 0: 16 without a gradient, 32 with one, where chunks are computed again.
    """
    kind = torch.promote_types(u.dtype, torch.float32)
    u, dt, a, b, c, d = (value.to(kind) for value in (u, dt, a, b, c, d))
    again = torch.is_grad_enabled() and any(value.requires_grad for value in (u, dt, a, b, c))
    size = chunk or (WITH_GRADIENT if again else WITHOUT_GRADIENT)
    state, outputs = u.new_zeros(*u.shape[:3], a.shape[-1]), []
    for start in range(0, u.shape[-1], size):
        part = [value[..., start : start + size] for value in (u, dt, b, c)]
        if again:
            y, state = checkpoint(_chunk, state, a, *part, use_reentrant=False)
        else:
            y, state = _chunk(state, a, *part)
        outputs.append(y)
    return torch.cat(outputs, -1) + d[..., None] * u


def _chunk(state: Tensor, a: Tensor, u: Tensor, dt: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Run some steps; return their outputs (N, K, D, T) and the last state (N, K, D, S).

    Steps come first in memory, so that each is one contiguous piece: four times as fast on a CPU.
    """
    u, dt, b = (value.permute(3, 0, 1, 2) for value in (u, dt, b))
    decay = (dt[..., None] * a).exp()  # (T, N, K, D, S)
    inflow = (dt * u)[..., None] * b[:, :, :, None]
    states = []
    for more, kept in zip(inflow.unbind(), decay.unbind()):
        state = torch.addcmul(more, kept, state)
        states.append(state)
    return torch.einsum("tnkds,nkst->nkdt", torch.stack(states), c), state


def _kernel() -> Any:
    """Return mamba-ssm's fused scan where it is installed; it runs on CUDA only."""
    if importlib.util.find_spec("mamba_ssm") is None:
        return None
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    return selective_scan_fn


def scan(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Run the selective scan by the fused kernel on CUDA, where there is one, else by chunks."""
    fused = _kernel() if u.is_cuda else None
    if fused is None:
        return selective_scan(u, dt, a, b, c, d)
    each = [fused(u[:, k], dt[:, k], a[k], b[:, k], c[:, k], d[k]) for k in range(u.shape[1])]
    return torch.stack(each, 1)


class Mixer(nn.Module):
    """The bidirectional mixer (v2): one projection in and out, a convolution and a state-space model per direction.

    The original leaves the backward step sizes at their defaults, so that they begin at softplus(0); so does this one.
    """

    dt_proj: nn.Linear
    dt_proj_b: nn.Linear

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        inner, self.rank = 2 * width, math.ceil(width / 16)
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.out_proj = nn.Linear(inner, width, bias=False)
        nn.init.kaiming_uniform_(self.out_proj.weight, a=math.sqrt(5))
        self.out_proj.weight.data /= math.sqrt(depth)
        for end in ("", "_b"):
            setattr(self, f"conv1d{end}", nn.Conv1d(inner, inner, WIDTH, groups=inner, padding=WIDTH - 1))
            setattr(self, f"x_proj{end}", nn.Linear(inner, self.rank + 2 * STATES, bias=False))
            setattr(self, f"dt_proj{end}", nn.Linear(self.rank, inner))
        self.A_log = nn.Parameter(torch.arange(1.0, STATES + 1).log().repeat(inner, 1))
        self.A_b_log = nn.Parameter(self.A_log.detach().clone())
        self.D, self.D_b = nn.Parameter(torch.ones(inner)), nn.Parameter(torch.ones(inner))
        self._first_steps()

    def _first_steps(self) -> None:
        """Let the forward step sizes begin between 0.001 and 0.1."""
        nn.init.uniform_(self.dt_proj.weight, -(self.rank**-0.5), self.rank**-0.5)
        steps = torch.empty_like(self.dt_proj.bias).uniform_(math.log(1e-3), math.log(1e-1)).exp().clamp(min=1e-4)
        self.dt_proj.bias.data = steps + (-torch.expm1(-steps)).log()  # the inverse of softplus
        nn.init.zeros_(self.dt_proj_b.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Mix tokens (N, L, D)."""
        inner, gate = self.in_proj(x).transpose(1, 2).chunk(2, 1)
        u, dt, b, c = (torch.stack(pair, 1) for pair in zip(self._side(inner, ""), self._side(inner.flip(-1), "_b")))
        a = -torch.stack([self.A_log, self.A_b_log]).float().exp()
        with torch.autocast(x.device.type, enabled=False):
            y = scan(u.float(), dt, a, b.float(), c.float(), torch.stack([self.D, self.D_b]).float())
        both = y[:, 0] + y[:, 1].flip(-1)
        return self.out_proj((both * F.silu(gate.float()) / 2).to(x.dtype).transpose(1, 2))

    def _side(self, inner: Tensor, end: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what one direction scans: u and step sizes (N, D, L), b and c (N, S, L)."""
        u = F.silu(getattr(self, f"conv1d{end}")(inner)[..., : inner.shape[-1]])
        raw, b, c = getattr(self, f"x_proj{end}")(u.transpose(1, 2)).split([self.rank, STATES, STATES], -1)
        steps = getattr(self, f"dt_proj{end}")
        with torch.autocast(u.device.type, enabled=False):
            dt = F.softplus(F.linear(raw.float(), steps.weight.float(), steps.bias.float()))
        return u, dt.transpose(1, 2), b.transpose(1, 2), c.transpose(1, 2)


class Layer(nn.Module):
    """One block: the residual is added first and stays in single precision."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.norm, self.mixer = nn.RMSNorm(width, eps=1e-5), Mixer(width, depth)

    def forward(self, x: Tensor, residual: Tensor | None, drop: float) -> tuple[Tensor, Tensor]:
        """Return what the mixer adds, and the residual before it."""
        residual = x.float() if residual is None else residual + dropped(x, drop, self.training).float()
        return self.mixer(self.norm(residual.to(self.norm.weight.dtype))), residual


def dropped(x: Tensor, share: float, training: bool) -> Tensor:
    """Drop whole rows of a residual branch in training, and scale the others up."""
    if not training or not share:
        return x
    kept = x.new_empty(len(x), *[1] * (x.ndim - 1)).bernoulli_(1 - share)
    return x * kept / (1 - share)


class PatchEmbed(nn.Module):
    """Patches, which overlap where the stride is smaller than they are, as tokens."""

    def __init__(self, width: int, patch: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, stride)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return tokens as a map (N, D, H, W)."""
        return self.proj(pixels)


class Vim(Detector):
    """Vision Mamba over face images; `features` are the class token after the last norm.

    Args:
        variant: micro (a convolutional stem, for two cores), tiny, small, base.
        pretrained: a file of the published weights, or false; there is no hub of them.
        size: side of the input.
        patch: side of a patch.
        stride: from one patch to the next; the published fine-tuned weights have 8.
        logits: columns of the answer.
        drop_path: of the deepest layer.
        mean: of the pixels, as the weights expect them.
        std: the same.
    """

    def __init__(
        self,
        variant: Variant = "tiny",
        pretrained: bool | str = False,
        size: int = 224,
        patch: int = 16,
        stride: int = 16,
        logits: int = 2,
        drop_path: float = 0.0,
        mean: Sequence[float] = IMAGENET[0],
        std: Sequence[float] = IMAGENET[1],
        input: InputSpec | None = None,
    ) -> None:
        if variant not in VARIANTS:
            raise DfdError(f"Vim has no variant {variant!r}: take one of {', '.join(VARIANTS)}")
        super().__init__(input or InputSpec("image", size, mean=rgb(mean), std=rgb(std)))
        width, depth = VARIANTS[variant]
        self.side = (size - patch) // stride + 1
        if variant == "micro":
            self.patch_embed: nn.Module = nn.Sequential(ConvStem(patch, width), ChannelsFirst())
            self.side = size // patch
        else:
            self.patch_embed = PatchEmbed(width, patch, stride)
        tokens = self.side**2
        self.middle = tokens // 2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens + 1, width))
        self.layers = nn.ModuleList(Layer(width, depth) for _ in range(depth))
        self.norm_f = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, logits)
        self.layout = nn.Identity()  # the last map of patches, from which explanations are drawn
        self.drops = [0.0, *np.linspace(0, drop_path, depth).tolist()]
        for parameter in (self.cls_token, self.pos_embed, self.head.weight):
            nn.init.trunc_normal_(parameter, std=0.02)
        nn.init.zeros_(self.head.bias)
        if pretrained:
            self._start_from(pretrained)

    def _start_from(self, pretrained: str | Literal[True]) -> None:
        if pretrained is True:
            raise DfdError(
                "the weights of Vim come from no hub that timm knows: give the published file, "
                "model.network.pretrained=/path/to/vim_t_midclstok_76p1acc.pth, or model.network.pretrained=false"
            )
        load_vim(self, Path(pretrained))
        self.initialised_from = f"file: {Path(pretrained).name}"

    @property
    def evidence(self) -> nn.Module:
        """The patches before the last layer."""
        return self.layout

    def no_weight_decay(self) -> set[str]:
        """Return the parameters excluded from weight decay."""
        return {"pos_embed", "cls_token", *(n for n, _ in self.named_parameters() if n.endswith(("A_log", "A_b_log")))}

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Return the class token (N, D)."""
        tokens = self._tokens(pixels)
        here = self.cls_token.expand(len(tokens), -1, -1)
        x = torch.cat([tokens[:, : self.middle], here, tokens[:, self.middle :]], 1) + self.pos_embed
        residual = None
        for number, layer in enumerate(self.layers):
            if number == len(self.layers) - 1:
                x = self._shown(x)
            x, residual = layer(x, residual, self.drops[number])
        whole = residual + dropped(x, self.drops[-1], self.training).float()  # type: ignore[operator]
        return self.norm_f(whole.to(self.norm_f.weight.dtype))[:, self.middle]

    def _tokens(self, pixels: Tensor) -> Tensor:
        """Return patches as tokens (N, L, D)."""
        return self.patch_embed(pixels).flatten(2).transpose(1, 2)

    def _shown(self, x: Tensor) -> Tensor:
        """Pass the patches, laid out as a map, through the part that explanations watch."""
        patches = torch.cat([x[:, : self.middle], x[:, self.middle + 1 :]], 1)
        laid_out = self.layout(patches.transpose(1, 2).unflatten(2, (self.side, self.side)))
        patches = laid_out.flatten(2).transpose(1, 2)
        return torch.cat([patches[:, : self.middle], x[:, self.middle, None], patches[:, self.middle :]], 1)

    def forward_head(self, features: Tensor) -> Tensor:
        """Return logits (N, 1 or 2)."""
        return self.head(features)


class ChannelsFirst(nn.Module):
    """(N, H, W, D) to (N, D, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)


class TallVim(Vim):
    """Four consecutive frames as one thumbnail, as TALL lays them out, for Vision Mamba in place of Swin.

    The arguments of `Vim` (`size` is that of the thumbnail), and

    Args:
        frames: of a clip.
        rows: of the thumbnail.
        clips: of a video in evaluation, and of a visit in training.
        step: from one frame of a clip to the next.
    """

    owner: Tensor

    def __init__(
        self,
        variant: Variant = "tiny",
        pretrained: bool | str = False,
        frames: int = 4,
        rows: int = 2,
        clips: int = 8,
        step: int = 1,
        size: int = 224,
        **options: Any,
    ) -> None:
        cols = columns(frames, rows, padding=False)
        if size % max(rows, cols) or (size // max(rows, cols)) % options.get("patch", 16):
            raise DfdError(
                f"size={size}: {frames} frames in {rows} rows must be whole patches; take a multiple of both"
            )
        mean, std = (rgb(options.get(name) or value) for name, value in zip(("mean", "std"), IMAGENET, strict=True))
        spec = InputSpec("clip", size // max(rows, cols), frames, step, clips, mean, std)
        super().__init__(variant, pretrained, size, input=spec, **options)
        self.rows, self.cols, self.size = rows, cols, size
        self.frame_embedding = nn.Parameter(torch.zeros(1, frames, self.pos_embed.shape[-1]))
        nn.init.trunc_normal_(self.frame_embedding, std=0.02)
        owner = token_owners(self.side, rows, cols).flatten()
        self.register_buffer("owner", owner.clamp(max=frames - 1), persistent=False)

    def _tokens(self, pixels: Tensor) -> Tensor:
        tokens = super()._tokens(thumbnail(pixels, self.rows, self.cols, self.size, "none"))
        return tokens + self.frame_embedding[:, self.owner] * (self.owner >= 0)[:, None]

    def no_weight_decay(self) -> set[str]:
        """Return the parameters excluded from weight decay."""
        return super().no_weight_decay() | {"frame_embedding"}

    def on_frames(self, maps: Tensor) -> Tensor:
        """Cut maps over the thumbnail into maps over its frames."""
        return untile(maps, self.rows, self.cols)[:, : self.input.frames]
