"""A measurement against its floor, and the ways to take one on a machine that others use too."""

import math
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import torch

NOT_MEASURED = "not measured (no CUDA device)"


class Figure(NamedTuple):
    """One measurement, what it stands against, their unit, and the ratio that we want (a minimum; None: no aim).

    In a rate more is better. NaN is what could not be measured here.
    """

    name: str
    ours: float
    floor: float
    unit: str
    against: str
    aim: float | None = None

    @property
    def ratio(self) -> float:
        """How many times the floor."""
        return self.ours / self.floor if self.floor else math.nan

    @property
    def met(self) -> str:
        """Whether the ratio is what we want."""
        if self.aim is None or math.isnan(self.ratio):
            return ""
        return f"{'yes' if self.ratio >= self.aim else 'NO'} (>= {self.aim:g})"


def missing(name: str) -> Figure:
    """Return the row of what needs a GPU where there is none."""
    return Figure(name, math.nan, math.nan, "", NOT_MEASURED)


def race(
    works: dict[str, Callable[[], int]], rounds: int = 3, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return each work's best items per second; works take turns, so that a busy machine hinders all alike.

    The first turn of each warms up.
    """
    best = dict.fromkeys(works, 0.0)
    for turn in range(rounds + 1):
        for name, work in works.items():
            start = clock()
            items = work()
            if turn:
                best[name] = max(best[name], items / (clock() - start))
    return best


def fastest(works: dict[str, Callable[[], int]], rounds: int = 3) -> dict[str, float]:
    """Return each work's best items per second of one core: what other processes do is not counted."""
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    best = race(works, rounds, time.process_time)
    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])
    return best


def machine() -> dict[str, Any]:
    """Return what figures are worth nothing without."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        processor = next(
            (line.split(": ")[1] for line in info.read_text().splitlines() if "model name" in line), processor
        )
    return {
        "date": date.today().isoformat(),
        "processor": processor,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
