"""ActionFormer: a pyramid of transformer blocks with local attention, and two heads on its points.

Zhang, Wu, Li: ActionFormer, Localizing Moments of Actions with Transformers, ECCV 2022. Original code:
happyharrycn/actionformer_release (MIT), whose parameter names are kept; written here from the paper and the behaviour
of that code.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from dfd.core.records import FeatureStream
from dfd.models.localisation.layers import Block, Embedding, Positions, Steps
from dfd.models.localisation.localiser import Encoded, PyramidLocaliser
from dfd.models.localisation.pyramid import Neck
from dfd.models.localisation.pyramid import neck as make_neck


class ConvTransformer(Embedding):
    """Embedding, a stem at full resolution, and branches that each halve it; all levels are returned."""

    def __init__(
        self,
        inputs: int,
        channels: int,
        heads: int,
        arch: Sequence[int],
        windows: Sequence[int],
        length: int,
        positions: bool,
        drop_path: float,
        dropout: float,
    ) -> None:
        super().__init__(inputs, channels, arch[0])
        options = {"drop_path": drop_path, "dropout": dropout}
        self.positions = Positions(length, channels) if positions else None
        self.stem = nn.ModuleList(Block(channels, heads, windows[0], 1, **options) for _ in range(arch[1]))
        self.branch = nn.ModuleList(Block(channels, heads, window, 2, **options) for window in windows[1 : arch[2] + 1])

    def placed(self, x: Tensor, steps: Steps) -> Tensor:
        """Embed a sequence and add positions."""
        x = self.embed(x, steps)
        return x if self.positions is None else self.positions(x, steps)

    def forward(self, x: Tensor, steps: Sequence[Steps]) -> list[Tensor]:
        """Turn (N, T, inputs) into the features of every level."""
        x = self.placed(x, steps[0])
        for block in self.stem:
            x = block(x, steps[0])
        found = [x]
        for block, at in zip(self.branch, steps[1:]):
            found.append(block(found[-1], at))
        return found


class ActionFormer(PyramidLocaliser):
    """ActionFormer over all streams side by side.

    Args:
        streams: what it reads: name, width and rate in Hz of every stream of features.
        length: steps of the grid, a multiple of the last level's stride.
        rate: steps of the grid per second.
        channels: width of the backbone and the neck.
        head_channels: width of the heads.
        heads: of attention.
        arch: numbers of embedding layers, stem blocks and branch blocks.
        window: steps that a query sees; the last level sees everything.
        window_last: window of the last level; -1 for all.
        neck: `identity` or `fpn`.
        positions: whether sinusoidal positions are added.
        drop_path: rate at which residual branches are dropped.
        dropout: rate in the MLPs.
        options: of every localiser: first_range, classes, standardise, quality, bins, attribute.
    """

    def __init__(
        self,
        streams: Sequence[FeatureStream | Sequence] | None = None,
        length: int = 768,
        rate: float = 25.0,
        channels: int = 256,
        head_channels: int = 256,
        heads: int = 4,
        arch: Sequence[int] = (2, 2, 5),
        window: int = 7,
        window_last: int = -1,
        neck: Neck = "identity",
        positions: bool = True,
        drop_path: float = 0.1,
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        levels = arch[2] + 1
        super().__init__(streams, length, rate, levels, channels, head_channels, **options)
        windows = [window] * (levels - 1) + [window_last]
        self.backbone = ConvTransformer(
            self.channels, channels, heads, arch, windows, length, positions, drop_path, dropout
        )
        self.neck = make_neck(neck, channels, levels)

    def encode(self, x: Tensor, steps: Sequence[Steps]) -> Encoded:
        """Turn a sequence (N, T, C) into features of every level."""
        return Encoded(self.neck(self.backbone(x, steps), steps))
