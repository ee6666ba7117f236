"""TALL: four consecutive frames laid out as one thumbnail for a Swin transformer with wide windows.

Xu, Liang, Jia, Yang, Zhang, He: TALL, Thumbnail Layout for Deepfake Video Detection, ICCV 2023, and its extension
TALL++, IJCV 2024. Original code: rainy-xu/TALL4Deepfake (MIT, parts CC-BY-NC); written here from the paper and the
behaviour of that code. Nothing of TALL++ is public, so `reasoning` is inspired by it and not a port of it.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.core.records import InputSpec
from dfd.core.tensors import Output
from dfd.models.backbones import BiasResize, Fallback, backbone, rgb
from dfd.models.base import Detector

Resize = Literal["official", "area", "none"]
Layout = Literal["exact", "paper_compat"]
Variant = Literal["micro", "tiny", "small", "base", "large"]

SWINS: dict[str, tuple[str, dict[str, Any]]] = {
    "micro": (
        "swin_tiny_patch4_window7_224",
        {"patch_size": 8, "embed_dim": 64, "depths": (1, 2), "num_heads": (2, 4)},
    ),
    "tiny": ("swin_tiny_patch4_window7_224.ms_in22k", {}),
    "small": ("swin_small_patch4_window7_224.ms_in22k", {}),
    "base": ("swin_base_patch4_window7_224.ms_in22k", {}),
    "large": ("swin_large_patch4_window7_224.ms_in22k", {}),
}


class ReasonedOutput(NamedTuple):
    """An `Output` with the semantic nodes (N, T, K, D) that the graph block saw in every frame."""

    logits: Tensor
    features: Tensor
    nodes: Tensor


class Tall(Detector):
    """Thumbnail layout over Swin: clips (N, T, 3, h, w) to logits; `features` are the pooled last tokens.

    `frames` consecutive frames of `frame_size` pixels fill `rows` of one `size` x `size` thumbnail in raster order.
    `resize` says how a frame gets to its place: "official" is the original's way up to `size` and down again, a
    slight blur; "area" averages; "none" takes frames that fit exactly as they are. `window` is that of the first
    stages; where the tokens of a stage are fewer, it covers all of them and attention is global. `layout` says which
    tokens get the embedding of which frame: "exact" goes by the frame under a token's centre; "paper_compat" is the
    arithmetic of the original code, the same for 2 x 2, which weights of other layouts were trained with.
    """

    channels_last = True
    owner: Tensor

    def __init__(
        self,
        variant: Variant = "base",
        pretrained: bool | str = True,
        on_missing: Fallback = "error",
        bias_resize: BiasResize = "bilinear",
        frames: int = 4,
        rows: int = 2,
        padding: bool = False,
        clips: int = 8,
        stride: int = 1,
        frame_size: int = 112,
        size: int = 224,
        window: int = 14,
        resize: Resize = "official",
        frame_embedding: bool = True,
        layout: Layout = "exact",
        reasoning: int = 0,
        logits: int = 2,
        drop_path: float = 0.1,
        decay_bias_tables: bool = False,
        checkpointing: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        if variant not in SWINS:
            raise DfdError(f"TALL has no variant {variant!r}: take one of {', '.join(SWINS)}")
        cols = columns(frames, rows, padding)
        architecture, arguments = SWINS[variant]
        patch, stages = arguments.get("patch_size", 4), len(arguments.get("depths", range(4)))
        check_layout(size, patch, frame_size, rows, cols, window, resize, stages)
        swin, spec, origin = backbone(
            architecture,
            pretrained,
            size,
            on_missing,
            bias_resize=bias_resize,
            window_size=window,
            drop_path_rate=drop_path,
            **arguments,
        )
        mean, std = rgb(mean or spec.mean), rgb(std or spec.std)
        super().__init__(InputSpec("clip", frame_size, frames, stride, clips, mean, std), origin)
        self.swin = swin
        if variant == "micro":
            swin.patch_embed = ConvStem(patch, arguments["embed_dim"])
        self.rows, self.cols, self.size, self.resize = rows, cols, size, resize
        self.decay_bias_tables = decay_bias_tables
        swin.set_grad_checkpointing(checkpointing)  # type: ignore[operator]
        widths = [info["num_chs"] for info in swin.feature_info]  # type: ignore[union-attr]
        places, grid = rows * cols if layout == "paper_compat" else frames, size // patch
        self.frame_embedding = nn.Parameter(torch.zeros(1, places, widths[0])) if frame_embedding else None
        if self.frame_embedding is not None:
            nn.init.trunc_normal_(self.frame_embedding, std=0.02)
        owner = original_owners(grid, rows, cols) if layout == "paper_compat" else token_owners(grid, rows, cols)
        self.register_buffer("owner", owner.clamp(max=places - 1), persistent=False)
        self.stage = last_separable_stage(grid, rows, cols, len(widths))
        self.reasoning = GraphReasoning(widths[self.stage], rows * cols, reasoning) if reasoning else None
        self.head = nn.Linear(widths[-1], logits)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, pixels: Tensor) -> Output | ReasonedOutput:  # type: ignore[override]
        """Normalise, lay out, extract features and classify."""
        features, nodes = self._encode((pixels - self.mean) / self.std)
        logits = self.forward_head(features)
        return Output(logits, features) if nodes is None else ReasonedOutput(logits, features, nodes)

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Return pooled features (N, D) of normalised clips (N, T, 3, h, w)."""
        return self._encode(pixels)[0]

    def forward_head(self, features: Tensor) -> Tensor:
        """Return logits (N, 1 or 2)."""
        return self.head(features)

    @property
    def evidence(self) -> nn.Module:
        """The last stage whose tokens each belong to a single frame."""
        return self.swin.layers[self.stage]  # type: ignore[index, return-value]

    def on_frames(self, maps: Tensor) -> Tensor:
        """Cut maps over the thumbnail (N, H, W) into maps over its frames (N, T, H / rows, W / cols)."""
        return untile(maps, self.rows, self.cols)[:, : self.input.frames]

    def no_weight_decay(self) -> set[str]:
        """Return the parameters excluded from weight decay: the frame embedding, and Swin's bias tables by default."""
        tables = {name for name, _ in self.named_parameters() if name.endswith("relative_position_bias_table")}
        return {"frame_embedding"} | (set() if self.decay_bias_tables else tables)

    def _encode(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        x = self.swin.patch_embed(thumbnail(pixels, self.rows, self.cols, self.size, self.resize))  # type: ignore[operator]
        if self.frame_embedding is not None:
            x = x + self.frame_embedding[:, self.owner] * (self.owner >= 0)[..., None]
        nodes = None
        for index, stage in enumerate(self.swin.layers):  # type: ignore[arg-type]
            x = stage(x)
            if index == self.stage and self.reasoning is not None:
                x, nodes = self._reason(x)
        return self.swin.norm(x).mean((1, 2)), nodes  # type: ignore[operator]

    def _reason(self, x: Tensor) -> tuple[Tensor, Tensor]:
        count, height, width, channels = x.shape
        shape = (count, self.rows, height // self.rows, self.cols, width // self.cols, channels)
        regions = x.view(shape).permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)
        update, nodes = self.reasoning(regions)  # type: ignore[misc]
        update = update.view(count, self.rows, self.cols, shape[2], shape[4], channels).permute(0, 1, 3, 2, 4, 5)
        return x + update.reshape(x.shape), nodes


class ConvStem(nn.Sequential):
    """Convolutions and pooling in place of the patch projection: a small Swin then learns from scratch.

    Xiao et al., Early Convolutions Help Transformers See Better, NeurIPS 2021. Gives (N, H / patch, W / patch, C).
    """

    def __init__(self, patch: int, channels: int) -> None:
        steps = int(math.log2(patch))
        widths = [3, *(8 << step for step in range(steps)), channels]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
            layers += [nn.MaxPool2d(2)]
        super().__init__(*layers[:-1])

    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(pixels.contiguous(memory_format=torch.channels_last)).permute(0, 2, 3, 1)


class GraphReasoning(nn.Module):
    """Soft regions of every frame as nodes of one graph over all frames; starts as the identity.

    Tokens (N, T, P, C) give `nodes` averages per frame, one graph convolution mixes all T x K of them, and what they
    learned from each other goes back to the tokens they came from.
    """

    def __init__(self, channels: int, frames: int, nodes: int) -> None:
        super().__init__()
        width = channels // 4
        self.norm = nn.LayerNorm(channels)
        self.assign = nn.Linear(channels, nodes)
        self.reduce = nn.Linear(channels, width)
        self.adjacency = nn.Parameter(torch.zeros(frames * nodes, frames * nodes))
        self.mix = nn.Linear(width, width)
        self.expand = nn.Linear(width, channels)
        nn.init.normal_(self.adjacency, std=1 / (frames * nodes))
        nn.init.zeros_(self.expand.weight)
        nn.init.zeros_(self.expand.bias)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.norm(tokens)
        assignment = self.assign(tokens).transpose(-1, -2).softmax(-1)  # (N, T, K, P)
        nodes = assignment @ self.reduce(tokens)
        flat = nodes.flatten(1, 2)
        mixed = F.gelu(self.mix(flat + self.adjacency @ flat)).view_as(nodes)
        return self.expand(assignment.transpose(-1, -2) @ mixed), nodes


def thumbnail(frames: Tensor, rows: int, cols: int, size: int, resize: Resize = "official") -> Tensor:
    """Lay frames (N, T, C, h, w) out in raster order as (N, C, size, size); missing ones are zero, the mean colour."""
    count, given, channels, height, width = frames.shape
    if given < rows * cols:
        frames = torch.cat([frames, frames.new_zeros(count, rows * cols - given, channels, height, width)], 1)
    flat = frames.flatten(0, 1)
    if resize == "official":
        halves = rows == cols == 2 and height == width
        if halves and 2 * height == size:
            return tile(_low_pass(flat), count, rows, cols)
        if halves and height == size:
            return tile(F.avg_pool2d(flat, 2), count, rows, cols)
        grown = F.interpolate(flat, (size, size), mode="bilinear")
        return F.interpolate(tile(grown, count, rows, cols), (size, size), mode="bilinear")
    if resize == "area" and (height, width) != (size // rows, size // cols):
        flat = F.interpolate(flat, (size // rows, size // cols), mode="area")
    return tile(flat, count, rows, cols)


def tile(flat: Tensor, count: int, rows: int, cols: int) -> Tensor:
    """Lay (N * rows * cols, C, h, w) out as (N, C, rows * h, cols * w)."""
    _, channels, height, width = flat.shape
    grid = flat.view(count, rows, cols, channels, height, width).permute(0, 3, 1, 4, 2, 5)
    return grid.reshape(count, channels, rows * height, cols * width)


def untile(maps: Tensor, rows: int, cols: int) -> Tensor:
    """Cut (N, rows * h, cols * w) into (N, rows * cols, h, w)."""
    count, height, width = maps.shape
    grid = maps.view(count, rows, height // rows, cols, width // cols).permute(0, 1, 3, 2, 4)
    return grid.reshape(count, rows * cols, height // rows, width // cols)


def _low_pass(flat: Tensor) -> Tensor:
    """Bilinear times two and, half a pixel on, back by two: exactly this filter, at a quarter of the cost."""
    taps = flat.new_tensor([0.125, 0.75, 0.125])
    kernel = torch.outer(taps, taps).expand(flat.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(flat, (1, 1, 1, 1), mode="replicate"), kernel, groups=flat.shape[1])


def columns(frames: int, rows: int, padding: bool) -> int:
    """Return how many columns a number of frames needs; raise where they cannot be laid out."""
    if rows < 1 or frames < 1:
        raise DfdError(f"TALL needs at least one frame and one row, got frames={frames}, rows={rows}")
    if frames % rows and not padding:
        raise DfdError(
            f"TALL lays {frames} frames out in {rows} rows: frames must be a multiple of rows, "
            "or the last places be left in the mean colour with model.network.padding=true"
        )
    return math.ceil(frames / rows)


def check_layout(
    size: int, patch: int, frame_size: int, rows: int, cols: int, window: int, resize: Resize, stages: int
) -> None:
    """Raise where windows do not divide the tokens of a stage, or frames do not fill the thumbnail."""
    if size % patch:
        raise DfdError(f"TALL's thumbnail is cut into patches of {patch}: size must be a multiple of it, got {size}")
    for stage in range(stages):
        tokens = math.ceil(size // patch / 2**stage)
        if tokens > window and tokens % window:
            raise DfdError(
                f"window={window} does not divide the {tokens} x {tokens} tokens of stage {stage + 1} at size={size}: "
                f"take size={patch * window * 2 ** max(0, round(math.log2(size / patch / window)))} or another window"
            )
    if resize == "area" and (size % rows or size % cols):
        raise DfdError(f"resize=area lays frames out on whole pixels: size={size} must be a multiple of {rows}, {cols}")
    if resize == "none" and (frame_size * rows, frame_size * cols) != (size, size):
        raise DfdError(
            f"resize=none lays {rows} x {cols} frames of {frame_size} pixels out as {frame_size * rows} x "
            f"{frame_size * cols}, the thumbnail has {size} x {size}: take resize=official or area, or another size"
        )


def token_owners(grid: int, rows: int, cols: int) -> Tensor:
    """Return the frame that the centre of each token lies in, (grid, grid), for any layout."""
    centres = torch.arange(grid) + 0.5
    row, col = (centres * rows / grid).long(), (centres * cols / grid).long()
    return row[:, None] * cols + col[None, :]


def original_owners(grid: int, rows: int, cols: int) -> Tensor:
    """Return the frame whose embedding the original code adds to each token, (grid, grid); -1 where it adds none.

    It puts frame i into row i // rows and column i % rows of places of whole tokens: right for square layouts that
    divide the grid. Of 1 x 4 only the first frame gets an embedding, of 3 x 3 the last tokens of a side get none.
    """
    height, width = grid // rows, grid // cols
    owners = torch.full((grid, grid), -1)
    for frame in range(rows * cols):
        top, left = frame // rows * height, frame % rows * width
        owners[top : top + height, left : left + width] = frame
    return owners


def last_separable_stage(grid: int, rows: int, cols: int, stages: int) -> int:
    """Return the last stage in which every token belongs to one frame (the first one, if none is)."""
    grids = [math.ceil(grid / 2**stage) for stage in range(stages)]
    return max((stage for stage, side in enumerate(grids) if side % rows == 0 and side % cols == 0), default=0)
