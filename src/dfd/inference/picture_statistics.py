"""How pictures look beneath what they show: colour, edges, flat places, spectrum. Where one comes from shows there.

The last layer of a detector keeps what tells real from fake, and little of where a picture comes from. These do not
depend on the network.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

EDGES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)  # quantiles of the Laplacian's magnitude
FLAT = (0.05, 0.25, 0.5, 0.75, 0.95)  # quantiles of the variance in patches
PATCH = 8
BANDS = 10  # of the spectrum, up to half a cycle a pixel
TINY = 1e-4
LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))


def statistics(pixels: Tensor) -> Tensor:
    """Return the statistics (N, D) of views with pixels in [0, 1], (N, 3, H, W), or of clips, (N, T, 3, H, W)."""
    frames = pixels.flatten(0, -4).float()
    grey = frames.mean(1, keepdim=True)
    chroma = frames[:, [0, 2]] - frames[:, [1]]
    kernel = frames.new_tensor(LAPLACIAN)[None, None]
    edges, colour_edges = (F.conv2d(each.flatten(0, 1)[:, None], kernel).abs() for each in (grey, chroma))
    local = F.avg_pool2d(grey.square(), PATCH) - F.avg_pool2d(grey, PATCH).square()
    across, down = (grey.diff(dim=dim).abs().mean((1, 2, 3)) for dim in (-1, -2))
    found = [
        frames.mean((2, 3)),
        chroma.mean((2, 3)),
        _log(frames.std((2, 3))),
        _log(chroma.std((2, 3))),
        _log(_quantiles(edges, EDGES)),
        _log(colour_edges.mean((1, 2, 3)).unflatten(0, (-1, 2))),
        _log(_quantiles(local, FLAT)),
        (_log(across) - _log(down))[:, None],
        _log(_spectrum(grey[:, 0])),
    ]
    return torch.cat(found, 1).unflatten(0, (len(pixels), -1)).mean(1)


def _log(values: Tensor) -> Tensor:
    return (values + TINY).log()


def _quantiles(values: Tensor, shares: tuple[float, ...]) -> Tensor:
    """Return quantiles of every row; `torch.quantile` refuses large batches."""
    ordered = values.flatten(1).sort(1).values
    return ordered[:, [round(share * (ordered.shape[1] - 1)) for share in shares]]


def _spectrum(grey: Tensor) -> Tensor:
    """Return the mean power of pictures (N, H, W) in rings of equal width, (N, BANDS)."""
    height, width = grey.shape[1:]
    power = torch.fft.rfft2(grey - grey.mean((1, 2), keepdim=True), norm="ortho").abs().square().flatten(1)
    rows, columns = torch.fft.fftfreq(height), torch.fft.rfftfreq(width)
    ring = (torch.hypot(rows[:, None], columns[None]) * 2 * BANDS).long().flatten().to(grey.device)
    inside = F.one_hot(ring.clamp(max=BANDS), BANDS + 1)[:, :BANDS].to(power.dtype)  # the corners lie beyond
    return power @ (inside / inside.sum(0).clamp(min=1))
