"""What JPEG does to pixels, as tensor operations: on any device, for many pictures at once, without writing a file."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# the example tables of ITU-T T.81, annex K, which encoders scale by their quality; zigzag undone
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *((99, 99, 99, 99, 99, 99, 99, 99),) * 4,
)  # fmt: skip
RGB_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
BLOCK = [
    [math.sqrt((2 if u else 1) / 8) * math.cos((2 * x + 1) * u * math.pi / 16) for x in range(8)] for u in range(8)
]


def jpeg(pixels: Tensor, quality: int) -> Tensor:
    """Return RGB in [0, 1], (..., 3, H, W), as JPEG of that quality, with colour at half the size, gives it back."""
    shape, (height, width) = pixels.shape, pixels.shape[-2:]
    to_ycc = pixels.new_tensor(RGB_TO_YCC)
    flat = pixels.reshape(-1, 3, height, width).mul(255).round()
    flat = F.pad(flat, (0, -width % 16, 0, -height % 16), mode="replicate")
    ycc = torch.einsum("ij,njhw->nihw", to_ycc, flat)
    bright = _quantised(ycc[:, :1] - 128, LUMINANCE, quality) + 128
    colour = _quantised(F.avg_pool2d(ycc[:, 1:], 2), CHROMINANCE, quality)
    colour = F.interpolate(colour, scale_factor=2.0, mode="bilinear")
    whole = torch.cat([bright, colour], 1).round()
    rgb = torch.einsum("ij,njhw->nihw", torch.linalg.inv(to_ycc.cpu()).to(to_ycc), whole)
    return rgb[..., :height, :width].round().clamp(0, 255).div(255).reshape(shape)


def _quantised(plane: Tensor, table: tuple[tuple[int, ...], ...], quality: int) -> Tensor:
    """Round the cosine transform of every 8 x 8 block of planes (N, C, H, W) to multiples of the scaled table."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    step = plane.new_tensor(table).mul(scale).add(50).div(100).floor().clamp(1, 255)
    count, channels, height, width = plane.shape
    cosines = plane.new_tensor(BLOCK)
    blocks = plane.view(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    rounded = (cosines @ blocks @ cosines.T).div(step).round().mul(step)
    return (cosines.T @ rounded @ cosines).transpose(3, 4).reshape(plane.shape)
