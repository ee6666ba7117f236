"""What the post-hoc zoo costs: CPU seconds and memory to fit on, and to score, a bank of 100,000 x 768 features.

python scripts/bench_posthoc.py [rows] [width] [detector ...]
"""

import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from rich.console import Console

from dfd.core.bank import FeatureBank, Head
from dfd.posthoc.zoo import ZOO, fit, score

T = TypeVar("T")


def bank(rows: int, width: int, head: Head, seed: int) -> FeatureBank:
    """Make a bank of non-negative features around two centres."""
    draw = np.random.default_rng(seed)
    label = draw.integers(0, 2, rows)
    features = np.abs(draw.standard_normal((rows, width), np.float32) + label[:, None].astype(np.float32))
    logits = (features @ head.weight.T + head.bias).astype(np.float32)
    names = np.arange(rows).astype(str)
    extra = {name: np.repeat(logits[:, None], 10, 1) for name in ("odin", "mc_dropout", "ensemble")}
    extra |= dict.fromkeys(("reconstruction", "confidence", "abnormality"), features[:, 0])
    return FeatureBank(logits, features, label, names, np.where(label, "a", "b"), names, np.zeros(rows), extra)


def measured(function: Callable[[], T]) -> tuple[T, float, float]:
    """Return a result, the CPU seconds it took and the MiB allocated at most beside what was there."""
    tracemalloc.start()
    started = time.process_time()
    result = function()
    seconds = time.process_time() - started
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return result, seconds, peak


def main() -> None:
    """Measure every detector once and print a table."""
    rows, width = (int(number) for number in sys.argv[1:3]) if len(sys.argv) > 2 else (100_000, 768)
    draw = np.random.default_rng(0)
    head = Head(draw.normal(0, 0.05, (2, width)), np.zeros(2))
    train, test = bank(rows, width, head, 1), bank(rows, width, head, 2)
    console = Console()
    console.print(f"{rows:,} x {width} features to fit on, as many to score: CPU seconds and MiB", highlight=False)
    console.print(f"{'detector':22}{'fit s':>9}{'MiB':>7}{'score s':>9}{'MiB':>7}", highlight=False)
    for name in sys.argv[3:] or ZOO:
        fitted, fit_seconds, fit_memory = measured(lambda name=name: fit(name, train, head))  # type: ignore[misc]
        _, seconds, memory = measured(lambda fitted=fitted: score(fitted, test))  # type: ignore[misc]
        numbers = f"{fit_seconds:9.2f}{fit_memory:7.0f}{seconds:9.2f}{memory:7.0f}"
        console.print(f"{name:22}{numbers}", highlight=False)


if __name__ == "__main__":
    main()
