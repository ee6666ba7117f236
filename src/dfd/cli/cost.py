"""What an evaluation cost: time, memory, and energy where the machine has a meter that may be read."""

import math
import time
from pathlib import Path

from dfd.core.memory import peak_bytes

METERS = Path("/sys/class/powercap")  # Linux: RAPL counts the micro-joules of processor packages


class Cost:
    """Starts counting when it is made."""

    def __init__(self) -> None:
        self._start, self._energy = time.perf_counter(), _joules()

    def words(self) -> str:
        """Say what it has cost until now."""
        seconds, peak = time.perf_counter() - self._start, peak_bytes() / 2**30
        parts = [f"{seconds:.1f} s", "memory unknown" if math.isnan(peak) else f"{peak:.2f} GiB peak memory"]
        energy = _joules()
        if energy is not None and self._energy is not None and energy > self._energy:
            parts.append(f"{(energy - self._energy) / 3600:.2f} Wh (processor, whole machine)")
        return ", ".join([*parts, *_device_memory()])


def _joules() -> float | None:
    try:
        return sum(int(path.read_text()) for path in METERS.glob("intel-rapl:[0-9]/energy_uj")) / 1e6 or None
    except (OSError, ValueError):
        return None


def _device_memory() -> list[str]:
    import torch

    if not torch.cuda.is_available():
        return []
    return [f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB of GPU memory"]
