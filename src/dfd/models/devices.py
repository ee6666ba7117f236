"""Which device a name stands for on this machine, and how weights are laid out for it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import nn

from dfd.core.errors import DfdError

Switch = bool | Literal["auto"]


def find_device(name: str) -> torch.device:
    """Return the device of that name; `auto` takes CUDA, then Apple's MPS, then the CPU."""
    if name != "auto":
        try:
            return torch.zeros(0, device=name).device
        except (RuntimeError, AssertionError) as error:
            raise DfdError(
                f"device={name} is not available on this machine ({str(error).splitlines()[0]}): try device=cpu"
            ) from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def trainer_device(trainer: Mapping[str, Any]) -> str:
    """Return the device that a trainer configuration means, for work outside a trainer."""
    wanted, devices = trainer["accelerator"], trainer["devices"]
    if wanted != "cpu" and torch.cuda.is_available():
        return f"cuda:{devices[0]}" if isinstance(devices, Sequence) and not isinstance(devices, str) else "cuda"
    return "mps" if wanted in ("auto", "gpu", "mps") and torch.backends.mps.is_available() else "cpu"


def accelerator_kind(wanted: str) -> str:
    """Return the kind of device that an accelerator's name means on this machine."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    meant = {"auto": ("cuda", "mps", "cpu"), "gpu": ("cuda", "mps")}.get(wanted, (wanted,))
    if not set(meant) <= set(there):
        raise DfdError(f"trainer.accelerator={wanted}: allowed are auto, gpu, cpu, cuda, mps")
    found = next((kind for kind in meant if there[kind]), None)
    if found is None:
        raise DfdError(
            f"trainer.accelerator={wanted}: no such device here (torch {torch.__version__} finds "
            f"{', '.join(kind for kind in there if there[kind])}); trainer=auto takes what is there"
        )
    return found


def lay_out(network: nn.Module, device: torch.device, channels_last: Switch = "auto") -> None:
    """Put weights into the layout in which the device is fastest: channels last, but on Apple's GPUs.

    A network with convolutions over time stays as it is: that layout is one of pictures.
    """
    over_time = any(weight.ndim == 5 for weight in network.parameters())
    if not over_time and (channels_last is True or device.type != "mps"):
        network.to(memory_format=torch.channels_last)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the context in which a network computes as a trainer of that precision did, where the device can."""
    kinds = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    kind = kinds.get(precision)
    if kind is None or (kind is torch.float16 and device.type != "cuda"):
        return nullcontext()
    return torch.autocast(device.type, kind)
