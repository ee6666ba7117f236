"""When do lips and voice belong together: a network that scores 0.2 s of lips against 0.2 s of sound.

Paper: Feng, Chen and Owens, "Self-Supervised Video Forensics by Audio-Visual Anomaly Detection", CVPR 2023, after Chen
et al., "Audio-Visual Synchronisation in the wild", BMVC 2021. Original code: cfeng16/audio-visual-forensics (MIT). Its
names are kept (`vis_enc`, `aud_enc`, `transformer`, the misspelt embeddings), so that its weights load as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.core.records import TalkInput
from dfd.core.tensors import Output
from dfd.models.base import Synchroniser
from dfd.models.mel import LogMel

RATE = 16_000
FPS = 25
HOP = RATE // FPS  # samples under one frame
MEL_HOP = 160
TokenLayout = Literal["legacy", "transpose"]


@dataclass(frozen=True)
class Widths:
    """Channels of the visual stem and its four stages, of the seven audio convolutions, and the transformer."""

    visual: tuple[int, int, int, int, int]
    audio: tuple[int, int, int, int, int, int]
    dim: int
    heads: int
    head: int
    depth: int
    mlp: int


VARIANTS = {
    "base": Widths((64, 64, 128, 256, 512), (64, 192, 384, 256, 256, 512), 512, 4, 128, 3, 512),
    "tiny": Widths((12, 12, 16, 24, 48), (12, 24, 32, 32, 32, 48), 48, 2, 24, 2, 48),
}


class FrameConv(nn.Conv3d):
    """A convolution of extent 1 in time, applied to frames (T, C, H, W): the same numbers as over a clip, faster."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve every frame."""
        return F.conv2d(x, self.weight.squeeze(2), None, self.stride[1:], self.padding[1:])


class BasicBlock(nn.Module):
    """ResNet's two convolutions, over frames (2D) or over windows (3D); the names are those of the original."""

    def __init__(self, before: int, channels: int, stride: int, over_time: bool) -> None:
        super().__init__()
        deep = 3 if over_time else 1
        conv, norm = (nn.Conv3d, nn.BatchNorm3d) if over_time else (FrameConv, nn.BatchNorm2d)
        padding = (deep // 2, 1, 1)
        self.conv1 = conv(before, channels, (deep, 3, 3), (1, stride, stride), padding, bias=False)
        self.bn1 = norm(channels)
        self.conv2 = conv(channels, channels, (deep, 3, 3), 1, padding, bias=False)
        self.bn2 = norm(channels)
        self.downsample = None
        if stride != 1 or before != channels:
            shortcut = conv(before, channels, 1, (1, stride, stride), bias=False)
            self.downsample = nn.Sequential(shortcut, norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Add what the convolutions find."""
        found = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(found + (x if self.downsample is None else self.downsample(x)))


class VisualEncoder(nn.Module):
    """ResNet-18 whose stem and first two stages see single frames, and whose last two see windows."""

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(self, widths: tuple[int, int, int, int, int]) -> None:
        super().__init__()
        stem, *stages = widths
        self.conv1 = FrameConv(3, stem, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        before = stem
        for number, (channels, stride) in enumerate(zip(stages, (1, 2, 2, 1), strict=True), 1):
            over_time = number > 2
            blocks = BasicBlock(before, channels, stride, over_time), BasicBlock(channels, channels, 1, over_time)
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
            before = channels

    def frames(self, pixels: Tensor) -> Tensor:
        """Frames (T, 3, H, W) to maps (T, C, H / 8, W / 8)."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(pixels))), 3, 2, 1)
        return self.layer2(self.layer1(x))

    def windows(self, maps: Tensor) -> Tensor:
        """Windows of maps (W, C, 5, h, w) to maps (W, D, 5, h / 2, w / 2)."""
        return self.layer4(self.layer3(maps))


class AudioEncoder(nn.Module):
    """The VGG-M-like network over a log-mel window: (W, 1, 80, 20) to (W, D, 4), or what another length gives."""

    def __init__(self, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        kernels = [(3, 3), (3, 3), (3, 3), (3, 3), (3, 3), (4, 3)]
        for number, (before, channels, kernel) in enumerate(zip((1, *widths), widths, kernels), 1):
            stride, padding = ((2, 1) if number == 1 else 1), ((0, 1) if number == 6 else 1)
            setattr(self, f"conv{number}", nn.Conv2d(before, channels, kernel, stride, padding))
            setattr(self, f"bn{number}", nn.BatchNorm2d(channels))
        self.conv7 = nn.Conv2d(widths[-1], widths[-1], 1)

    def forward(self, mels: Tensor) -> Tensor:
        """Return four feature vectors a window."""
        x = mels
        for number in range(1, 7):
            x = F.relu(getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x)))
            if number in POOLS:
                x = F.max_pool2d(x, *POOLS[number])
        return self.conv7(x).squeeze(2)


def audio_tokens(window: int) -> int:
    """Return how many feature vectors the sound under so many frames gives: 4 under 5."""
    columns = window * HOP // MEL_HOP
    return ((columns - 3) // 2 + 1 - 3) // 2 + 1


POOLS = {1: ((3, 1), (2, 1)), 2: ((3, 3), (2, 2)), 5: ((2, 3), (2, 2))}  # after which convolution: kernel, stride


class Attention(nn.Module):
    """Self-attention, with the original's names."""

    def __init__(self, dim: int, heads: int, head: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(dim, 3 * heads * head, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * head, dim), nn.Dropout(dropout))

    def forward(self, x: Tensor, first: int | None = None) -> Tensor:
        """Let every token, or the `first` ones alone, look at every token."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.to_qkv(x).chunk(3, -1))
        return self.to_out(F.scaled_dot_product_attention(q[:, :, :first], k, v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two layers with GELU, with the original's names."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform every token by itself."""
        return self.net(x)


class PreNorm(nn.Module):
    """A residual branch behind a LayerNorm."""

    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = fn

    def forward(self, x: Tensor, first: int | None = None) -> Tensor:
        """Add what the branch finds; with `first`, for so many tokens alone."""
        normal = self.norm(x)
        return x[:, :first] + (self.fn(normal) if first is None else self.fn(normal, first))


class Encoder(nn.Module):
    """Blocks of attention and feed-forward; of the last one only what becomes of the first token is asked for."""

    def __init__(self, widths: Widths, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    PreNorm(widths.dim, Attention(widths.dim, widths.heads, widths.head, dropout)),
                    PreNorm(widths.dim, FeedForward(widths.dim, widths.mlp, dropout)),
                ]
            )
            for _ in range(widths.depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (P, N, D) to what the first of them has become, (P, D)."""
        for number, layer in enumerate(self.layers, 1):
            attend, think = layer.children()
            x = think(attend(x, 1) if number == len(self.layers) else attend(x))
        return x[:, 0]


class Fusion(nn.Module):
    """The transformer over [CLS], four audio tokens and five visual ones (`MP_AViT` of the original)."""

    def __init__(self, widths: Widths, frames: int, grid: tuple[int, int], layout: TokenLayout, dropout: float) -> None:
        super().__init__()
        dim, self.layout = widths.dim, layout
        self.pos_embedding = nn.Parameter(0.02 * torch.randn(1, dim, 1, *grid))
        self.visual_modality_embeding = nn.Parameter(0.02 * torch.randn(1, dim, 1))
        self.audio_modality_embeding = nn.Parameter(0.02 * torch.randn(1, dim, 1))
        self.temporal_visual_embedding = nn.Parameter(0.02 * torch.randn(1, dim, frames))
        self.temporal_audio_embedding = nn.Parameter(0.02 * torch.randn(1, dim, audio_tokens(frames)))
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.transformer = Encoder(widths, dropout)
        self.mlp_head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 1))

    def visual_tokens(self, maps: Tensor) -> Tensor:
        """Maps (W, D, 5, h, w) to tokens (W, 5, D); what does not depend on the sound is done once."""
        pooled = (maps + self.pos_embedding).amax((3, 4))
        return self._tokens(pooled + self.temporal_visual_embedding + self.visual_modality_embeding)

    def audio_tokens(self, features: Tensor) -> Tensor:
        """Features (W, D, 4) to tokens (W, 4, D)."""
        return self._tokens(features + self.temporal_audio_embedding + self.audio_modality_embeding)

    def forward(self, visual: Tensor, audio: Tensor) -> Tensor:
        """Score pairs of tokens (P, 5, D) and (P, 4, D): logits (P,)."""
        tokens = torch.cat([self.cls_token.expand(len(visual), -1, -1), audio, visual], 1)
        return self.mlp_head(self.transformer(tokens))[:, 0]

    def _tokens(self, features: Tensor) -> Tensor:
        # the original reshapes where it means to transpose; its weights were trained that way
        if self.layout == "legacy":
            return features.reshape(len(features), features.shape[2], features.shape[1])
        return features.transpose(1, 2)


class AVSync(Synchroniser):
    """Scores of lips against sound at every delay of a range, for every window of a view.

    Args:
        variant: "base" is the published network, "tiny" trains on two cores.
        size: of the face crop.
        region: what of the crop is seen (top, bottom, left, right, as shares); the whole of it by default.
        reach: delays of up to so many frames either way.
        window: frames that are seen at once, 5 in the published network.
        frames: of a view; it has `frames - window + 1` windows.
        windows: views of a video in one visit of training.
        token_layout: "legacy" as in the published weights, "transpose" as was meant.
        published: pixels from 0 to 255 and samples of 16-bit integers, as the published weights want them.
        dropout: of the transformer.
    """

    def __init__(
        self,
        variant: str = "base",
        size: int = 224,
        region: Sequence[float] = (0.0, 1.0, 0.0, 1.0),
        reach: int = 15,
        window: int = 5,
        frames: int = 30,
        windows: int = 1,
        token_layout: TokenLayout = "transpose",
        published: bool = False,
        dropout: float = 0.1,
    ) -> None:
        if variant not in VARIANTS:
            raise DfdError(f"model.network.variant={variant}: choose from {', '.join(VARIANTS)}")
        mean, std = ((0.0,) * 3, (1 / 255,) * 3) if published else ((0.5,) * 3, (0.25,) * 3)
        stride = frames - window + 1
        input = TalkInput(size, frames, windows=windows, stride=stride, mean=mean, std=std, margin=reach, window=window)
        super().__init__(input, tuple((delay - reach) / FPS for delay in range(2 * reach + 1)))
        widths = VARIANTS[variant]
        self.reach, self.window, self.features = reach, window, 2 * widths.dim
        top, bottom, left, right = (round(share * size) for share in region)
        self.region = slice(top, bottom), slice(left, right)
        grid = -(-(bottom - top) // 16), -(-(right - left) // 16)
        scale, floor = (32768.0, 1e-20) if published else (1.0, 1e-4)
        self.mel = LogMel(hop=MEL_HOP, scale=scale, floor=floor)
        self.vis_enc = VisualEncoder(widths.visual)
        self.aud_enc = AudioEncoder(widths.audio)
        self.transformer = Fusion(widths, window, grid, token_layout, dropout)

    def see(self, pixels: Tensor) -> Tensor:
        """Frames (B, T, 3, H, W) to visual tokens (B, T - 4, 5, D): frame-wise stages once a frame, others a window."""
        batch, count = pixels.shape[:2]
        shown = self.normalised(pixels[..., self.region[0], self.region[1]]).flatten(0, 1)
        maps = self.vis_enc.frames(shown).unflatten(0, (batch, count))
        windows = maps.unfold(1, self.window, 1).movedim(-1, 3).flatten(0, 1)  # (B * W, C, 5, h, w)
        return self.transformer.visual_tokens(self.vis_enc.windows(windows)).unflatten(0, (batch, -1))

    def hear(self, sound: Tensor) -> Tensor:
        """Samples (B, S) to audio tokens (B, S / 640 - 4, 4, D), one window a frame."""
        windows = sound.unfold(1, self.window * HOP, HOP)
        mels = self.mel(windows).flatten(0, 1).unsqueeze(1)
        return self.transformer.audio_tokens(self.aud_enc(mels)).unflatten(0, (len(sound), -1))

    def around(self, visual: Tensor, audio: Tensor, shift: Tensor | int = 0) -> Tensor:
        """Return the audio windows at every delay around each visual window, (B, W, 31, 4, D).

        The audio begins `reach + m` frames before the pictures; `shift`, of at most m frames (one, or one per view),
        takes the sound that comes so much later, as if it had been moved to be earlier.
        """
        shift = torch.as_tensor(shift, device=visual.device).expand(len(visual))
        first = (audio.shape[1] - visual.shape[1]) // 2 - self.reach + shift
        if int(first.min()) < 0 or int(first.max()) + visual.shape[1] + 2 * self.reach > audio.shape[1]:
            raise DfdError(f"shift={shift.tolist()}: the sound given does not reach that far beyond the pictures")
        places = torch.arange(visual.shape[1], device=visual.device)[:, None]
        places = places + torch.arange(len(self.delays), device=visual.device)
        return audio[torch.arange(len(audio), device=audio.device)[:, None, None], first[:, None, None] + places]

    def compare(self, visual: Tensor, audio: Tensor) -> Tensor:
        """Logits (B, W, K) of visual windows (B, W, 5, D), each with K audio windows (B, W, K, 4, D) of its own."""
        pairs = visual.unsqueeze(2).expand(-1, -1, audio.shape[2], -1, -1)
        return self.transformer(pairs.flatten(0, 2), audio.flatten(0, 2)).view(audio.shape[:3])

    def fuse(self, visual: Tensor, audio: Tensor, shift: Tensor | int = 0) -> Tensor:
        """Logits (B, W, 31) of visual windows with the sound around them, moved by `shift` frames."""
        return self.compare(visual, self.around(visual, audio, shift))

    def describe(self, visual: Tensor, audio: Tensor, shift: Tensor | int = 0) -> Tensor:
        """Return what the networks see and hear at a delay of 0, (B, W, 2 D): the maxima over tokens."""
        heard = self.around(visual, audio, shift)[:, :, self.reach]
        return torch.cat([visual.amax(2), heard.amax(2)], 2)

    def forward(self, pixels: Tensor, sound: Tensor) -> Output:
        """Return logits (B, T - 4, 31), of which index k is a delay of k - 15 frames, and features (B, T - 4, 2 D).

        Pixels are (B, T, 3, H, W); the sound (B, (T + 30 + 2 m) * 640) begins 15 + m frames before them.
        """
        visual, audio = self.see(pixels), self.hear(sound)
        return Output(self.fuse(visual, audio), self.describe(visual, audio))


def naive_delays(network: AVSync, pixels: Tensor, sound: Tensor) -> Tensor:
    """Return what `AVSync` does for one clip by the plain loop of the original: 31 passes over every window."""
    logits = []
    for start in range(pixels.shape[1] - network.window + 1):
        clip = pixels[:, start : start + network.window]
        row = []
        for delay in range(len(network.delays)):
            heard = sound[:, (start + delay) * HOP : (start + delay + network.window) * HOP]
            row.append(network.transformer(network.see(clip)[:, 0], network.hear(heard)[:, 0]))
        logits.append(torch.stack(row, 1))
    return torch.stack(logits, 1)
