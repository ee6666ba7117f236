"""U-Nets that restore pictures, in the layout of the published deblurring code and with what it lacks.

Ronneberger, Fischer, Brox, U-Net: Convolutional networks for biomedical image segmentation, MICCAI 2015; the layout is
that of the deblurring step of a published deepfake detection system, whose code carries no licence: written here from
its description. Names of the parts are the original's: `initial, encoder, bottleneck, decoder, final_conv`.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.core.records import PairInput
from dfd.models.base import Restorer


class RestorationUnet(Restorer):
    """U-Net from RGB to RGB; pictures of any size.

    With features (64, 128, 256, 512) and a bottleneck of 1024 it is the published one (31,037,763 parameters), whose
    bottleneck has the resolution of the deepest skip (`pool_bottleneck=False`); with (32, 64, 128), 256 and a pooled
    bottleneck the published light one (1,927,075). `residual` predicts what is missing from the picture, beginning
    with nothing, in place of the picture itself.

    Args:
        features: channels of every level.
        bottleneck: channels of the deepest one.
        pool_bottleneck: whether the bottleneck has half the resolution of the last level.
        residual: whether the input is added to the output.
        size: side of the pictures that it is trained on.
        crops: random ones of one picture in a batch of training.
    """

    def __init__(
        self,
        features: Sequence[int] = (32, 64, 128),
        bottleneck: int = 256,
        pool_bottleneck: bool = True,
        residual: bool = True,
        size: int = 128,
        crops: int = 1,
    ) -> None:
        super().__init__(PairInput(size, crops))
        if size % (2 ** len(features)):
            raise DfdError(f"size={size}: a U-Net of {len(features)} levels takes a multiple of {2 ** len(features)}")
        self.residual, self.pool_bottleneck = residual, pool_bottleneck
        self.initial = DoubleConv(3, features[0])
        self.encoder = nn.ModuleList(DoubleConv(before, after) for before, after in pairwise(features))
        self.bottleneck = DoubleConv(features[-1], bottleneck)
        widths = [bottleneck, *reversed(features)]
        self.decoder = nn.ModuleList(Up(before, after) for before, after in pairwise(widths))
        self.final_conv = nn.Conv2d(features[0], 3, 1)
        if residual:
            nn.init.zeros_(self.final_conv.weight)
            nn.init.zeros_(self.final_conv.bias)  # type: ignore[arg-type]

    @property
    def multiple(self) -> int:
        """What the sides of a picture are padded to a multiple of."""
        return int(2 ** (len(self.encoder) + self.pool_bottleneck))

    def forward(self, pixels: Tensor) -> Tensor:
        """Restore pictures (N, 3, H, W) in [0, 1]; in evaluation the answer lies in [0, 1], too."""
        height, width = pixels.shape[-2:]
        bottom, right = -height % self.multiple, -width % self.multiple
        padded = F.pad(pixels, (0, right, 0, bottom), mode="replicate") if bottom or right else pixels
        skips = [self.initial(padded)]
        for level in self.encoder:
            skips.append(level(F.max_pool2d(skips[-1], 2)))
        deep = F.max_pool2d(skips[-1], 2) if self.pool_bottleneck else skips[-1]
        deep = self.bottleneck(deep)
        for up, skip in zip(self.decoder, reversed(skips), strict=True):
            deep = up(deep, skip)
        answer = self.final_conv(deep)[..., :height, :width]
        if self.residual:
            answer = pixels + answer
        return answer if self.training else answer.clamp(0, 1)


class DoubleConv(nn.Sequential):
    """Two 3x3 convolutions, each normalised over the batch."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        )


class Up(nn.Module):
    """Twice the resolution, joined with the skip of that level."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(before, after, 2, stride=2)
        self.conv = DoubleConv(2 * after, after)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """Join a deeper level with a skip; where both had one resolution, what went up comes back, as originally."""
        raised = self.up(deep)
        if raised.shape[-2:] != skip.shape[-2:]:
            raised = F.interpolate(raised, skip.shape[-2:], mode="bilinear", align_corners=False)
        return self.conv(torch.cat([skip, raised], 1))
