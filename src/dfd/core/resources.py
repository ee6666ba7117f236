"""The machine and software of a run, and what an evaluation cost: time, memory, energy where a meter can be read."""

import math
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dfd.core.memory import peak_bytes
from dfd.core.version_control import git

PACKAGES = ("dfd", "torch", "torchvision", "timm", "pytorch-lightning", "hydra-core", "albumentations", "numpy", "av")
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


def environment() -> dict[str, str]:
    """Return what a reader needs to know of the machine and the software."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    facts = {"python": platform.python_version(), "system": platform.platform(), "device": device}
    facts["git"] = git("describe", "--always", "--dirty") or "unknown"
    for name in PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "not installed"
    return facts
