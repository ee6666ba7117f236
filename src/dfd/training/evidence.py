"""Pictures of what in a view speaks for "fake"."""

import numpy as np
import torch

from dfd.data.overlay import strip
from dfd.models.base import Detector
from dfd.models.explain import Method, evidence_maps


def evidence_picture(network: Detector, frames: np.ndarray, method: Method = "hirescam") -> np.ndarray:
    """Return a picture (3, H, W) uint8 of one view (T, 3, S, S) and of what in it speaks for "fake"."""
    pixels = network.pixels(torch.from_numpy(frames).to(network.device))
    maps = evidence_maps(network, pixels[None] if network.input.kind == "clip" else pixels, method)
    return strip(frames, maps[0].float().cpu().numpy())
