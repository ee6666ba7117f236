"""Delays of a clip in one pass against the loop of the original, on the same weights."""

import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benches.figure import Figure
from dfd.models.avsync import HOP, AVSync, naive_delays


def talk(folder: Path) -> Iterable[Figure]:
    """Windows a second whose delays are found: one pass, against the naive loop over the same clip."""
    torch.manual_seed(0)
    for variant, size, region, frames in (
        ("tiny", 80, (0.5, 1.0, 0.22, 0.78), 25),
        ("base", 224, (0.0, 1.0, 0.0, 1.0), 6),
    ):
        network = AVSync(variant, size, region).eval()
        pixels = torch.rand(1, frames, 3, size, size)
        sound = 0.1 * torch.randn(1, (frames + 2 * network.reach) * HOP)
        windows = frames - network.window + 1
        with torch.no_grad():
            network(pixels, sound)
            once = windows / _seconds(partial(network, pixels, sound))
            loop = windows / _seconds(partial(naive_delays, network, pixels, sound))
        yield Figure(f"delays of {windows} windows, {variant}", once, loop, "windows/s", "31 passes a window", 20)


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
