"""Failures of device, memory or disk, explained in one line with the option to change."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dfd.core.disk import is_full
from dfd.core.errors import DfdError
from dfd.models.devices import accelerator_kind

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true", "32", "16", "bf16", "64")
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def check_device(trainer: Mapping[str, Any]) -> None:
    """Check that the device of a trainer is available and supports its precision."""
    kind = accelerator_kind(str(trainer["accelerator"]))
    _check_count(trainer["devices"], kind)
    _check_precision(str(trainer["precision"]), kind)


def _check_count(devices: Any, kind: str) -> None:
    import torch

    if kind != "cuda" or devices == "auto":
        return
    count = torch.cuda.device_count()
    numbers = [int(n) for n in str(devices).strip("[]").split(",") if n.strip()]
    listed = isinstance(devices, list) or "," in str(devices)
    if (listed and max(numbers) >= count) or (not listed and numbers[0] > count):
        raise DfdError(f"trainer.devices={devices}: this machine has {count} GPU(s), numbered from 0")


def _check_precision(precision: str, kind: str) -> None:
    import torch

    if precision not in PRECISIONS:
        raise DfdError(f"trainer.precision={precision}: allowed are {', '.join(PRECISIONS[:4])}")
    if kind == "cpu" and precision in ("16-mixed", "16"):
        raise DfdError(f"trainer.precision={precision}: a CPU cannot do it; 32-true and bf16-mixed work")
    if kind == "cuda" and precision.startswith("bf16") and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise DfdError(f"trainer.precision={precision}: {torch.cuda.get_device_name()} cannot do it; 16-mixed works")
    if kind == "mps" and precision.startswith("64"):
        raise DfdError(f"trainer.precision={precision}: Apple's GPUs cannot do it; 32-true works")


@contextmanager
def explain_failures(folder: Path, batch_size: int) -> Iterator[None]:
    """Turn exhausted memory or disk into a one-line error that names the last intact checkpoint."""
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        if _out_of_memory(error):
            raise DfdError(
                f"out of memory with data.loader.batch_size={batch_size}: try {max(1, batch_size // 2)} with "
                "trainer.accumulate_grad_batches=2, which learns the same, a smaller model.network.size, or on a GPU "
                f"trainer.precision=bf16-mixed; {_kept(folder)}"
            ) from error
        if is_full(error):
            raise DfdError(
                f"no room to write in {folder}: free some, or set paths.output_dir=; {_kept(folder)}"
            ) from error
        raise


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)


def _kept(folder: Path) -> str:
    last = folder / "checkpoints" / "last.ckpt"
    if not last.is_file():
        return "no epoch was finished, so there is no checkpoint yet"
    return f"{last} is whole: ckpt_path=last goes on from it"
