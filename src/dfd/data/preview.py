"""What a network is shown in training: videos as they are, and beside them what augmentation makes of them."""

import numpy as np
import torch

from dfd.data.augment import Augment
from dfd.data.datamodule import FaceDataModule
from dfd.data.sample.sheet import tiles
from dfd.data.views import Views, Visit

GAP = 4


def preview(data: FaceDataModule, videos: int = 6, draws: int = 7) -> np.ndarray:
    """Return a picture (H, W, 3): a row per video, its first view untouched, then that many augmented ones."""
    records = data.records("train")
    chosen = np.linspace(0, len(records) - 1, min(videos, len(records))).round().astype(int)
    plain = data.dataset(records, data.train_views)
    augmented = data.dataset(records, data.train_views, data.augment)
    return tiles(
        [_tile(plain[Visit(video, 0)])]
        + [_tile(augmented[Visit(video, draws * video + draw)], data.augment) for draw in range(draws)]
        for video in chosen.tolist()
    )


def _tile(views: Views, augment: Augment | None = None) -> np.ndarray:
    """Return the first view, the frames of a clip side by side, with a white edge."""
    pixels = views["pixels"][:1]
    if augment is not None and augment.on_device is not None:
        drawn = augment.on_device(torch.from_numpy(pixels).float().div(255), torch.from_numpy(views["draw"][:1]))
        pixels = drawn.mul(255).round().clamp(0, 255).to(torch.uint8).numpy()
    frames = pixels.reshape(-1, *pixels.shape[-3:])
    picture = np.concatenate(list(frames.transpose(0, 2, 3, 1)), 1)
    return np.pad(picture, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)
