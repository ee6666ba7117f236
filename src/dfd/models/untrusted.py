"""Read a checkpoint that a stranger wrote: no code runs, nothing is fetched, and no more is built than it holds.

Three things are believed of no file: that it is a checkpoint at all, that its tensors are what they claim, and that
the network which it names is as large as its weights.
"""

import inspect
import pickle
import sys
import threading
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dfd.core.build import TARGET, Allowed, locate
from dfd.core.errors import DfdError

SLACK = 2**28  # bytes that a network may build beside its weights: buffers that are not stored, a classifier to drop
LEFT_OUT = 2**31  # bytes of a frozen base that a checkpoint names and does not hold
GROWTH = 4  # times its weights: half precision is stored, single precision is built
MOST_NODES, DEEPEST = 20_000, 40  # of the plain values in a checkpoint
PREFIX = "network."
FETCHING = ("pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")  # of timm: from anywhere
SIZED = ("empty", "zeros", "ones", "full", "rand", "randn")  # whose first argument is the size
MAKERS = {*SIZED, "empty_strided", "randint", "arange", "linspace", "eye", "randperm"}
MAKERS |= {f"{name}_like" for name in SIZED} | {f"new_{name}" for name in ("empty", "zeros", "ones", "full")}


def read_archive(path: Path) -> dict[str, Any]:
    """Return what a file of torch.save holds, if it is tensors and plain values; say what it is otherwise."""
    what = _unlike_an_archive(path)
    if what is not None:
        raise DfdError(f"{path} {what}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DfdError(
            f"{path} is a pickle that asks for code ({_asked(error)}): it is not loaded, whoever it is from"
        ) from error
    except MemoryError as error:
        raise DfdError(f"{path} needs more memory than there is") from error
    except Exception as error:  # a damaged archive: torch raises a different type for each fault
        raise DfdError(f"{path} is damaged ({_line(error)}): copy it again") from error
    if not isinstance(found, dict):
        raise DfdError(f"{path} holds a {type(found).__name__}, not the dictionary that a checkpoint of dfd is")
    return found


def plain_values(value: Any, path: Path) -> Any:
    """Return a copy of plain values, tuples as lists; refuse other objects, and trees that unfold without end."""
    left = [MOST_NODES]

    def copied(value: Any, depth: int) -> Any:
        left[0] -= 1
        if left[0] < 0 or depth > DEEPEST:
            raise DfdError(f"{path}: its description has more than {MOST_NODES} values or {DEEPEST} levels")
        if isinstance(value, Mapping):
            return {_name(key, path): copied(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [copied(item, depth + 1) for item in value]
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise DfdError(f"{path}: its description holds a {type(value).__name__}: only plain values are read")

    return copied(value, 0)


def network_weights(checkpoint: Mapping[str, Any], path: Path, prefix: str = PREFIX) -> dict[str, Tensor]:
    """Return the network's tensors by name, each of them whole, real and finite."""
    state = checkpoint.get("state_dict")
    if not isinstance(state, Mapping):
        raise DfdError(f"{path} holds no weights (no state_dict)")
    kept = {
        key[len(prefix) :]: value for key, value in state.items() if isinstance(key, str) and key.startswith(prefix)
    }
    if not kept:
        raise DfdError(f"{path} holds {len(state)} weights, none of them of a network of dfd ({prefix}*)")
    for name, value in kept.items():
        if not isinstance(value, Tensor):
            raise DfdError(f"{path}: {name} is a {type(value).__name__}, not a tensor")
        if value.device.type != "cpu" or value.layout is not torch.strided or value.is_quantized or value.is_complex():
            raise DfdError(f"{path}: {name} is not a plain tensor ({value.dtype}, {value.layout}, {value.device})")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise DfdError(f"{path}: {name} claims the shape {tuple(value.shape)}, which its data does not fill")
    broken = [name for name, value in kept.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise DfdError(
            f"{path}: {len(broken)} of {len(kept)} weights hold NaN or infinite values, the first is {broken[0]}: "
            "its training diverged or the file is damaged; take an earlier checkpoint"
        )
    return kept


class Budget(TorchDispatchMode):
    """Within it, tensors may be made of so many bytes in all; a network that wants more is refused as it is built."""

    def __init__(self, present: Iterable[Tensor], what: str, more: int = 0) -> None:
        super().__init__()
        self.present = sum(value.numel() * value.element_size() for value in present)
        self.left = GROWTH * self.present + SLACK + more
        self.what = what

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled while a network is built, and to be skipped costs dynamo's import: seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name not in MAKERS:
            return func(*args, **(kwargs or {}))
        if name in SIZED and args and isinstance(args[0], (list, tuple)):
            kind = (kwargs or {}).get("dtype") or torch.get_default_dtype()
            self._spend(torch.Size(args[0]).numel() * kind.itemsize)
            return func(*args, **(kwargs or {}))
        made = func(*args, **(kwargs or {}))
        self._spend(made.numel() * made.element_size())
        return made

    def _spend(self, wanted: int) -> None:
        self.left -= wanted
        if self.left < 0:
            raise DfdError(f"{self.what} is far larger than the {self.present / 2**20:.1f} MiB of weights beside it")


def uninitialised(tree: Any, allow: Allowed, path: Path) -> Any:
    """Return a constructor tree that asks for no weights: they come with the checkpoint.

    Only a class whose checkpoints leave its frozen base out keeps `pretrained`; see `offline`.
    """
    if isinstance(tree, list):
        return [uninitialised(item, allow, path) for item in tree]
    if not isinstance(tree, Mapping):
        return tree
    asked = next((key for key in FETCHING if key in tree), None)
    if asked is not None:
        raise DfdError(f"{path} asks for weights from elsewhere ({asked}): a checkpoint holds its own")
    kept = {key: uninitialised(value, allow, path) for key, value in tree.items()}
    if TARGET in tree:
        made = locate(tree[TARGET], allow, "network")
        if "pretrained" in inspect.signature(made).parameters and not _fetched_again(made, kept):
            kept["pretrained"] = False
    return kept


def _fetched_again(made: Any, arguments: Mapping[str, Any]) -> bool:
    """Return whether checkpoints of a class leave its frozen base out, which is then fetched."""
    ask = getattr(made, "leaves_base_out", None)
    return bool(ask(arguments)) if ask is not None else False


class _Thread(threading.local):
    offline = False


_here = _Thread()
_hooked: list[bool] = []


@contextmanager
def offline() -> Iterator[None]:
    """Within it, this thread opens no connection; what would be fetched comes from the local cache or is an error."""
    import huggingface_hub.constants as hub

    if not _hooked:
        sys.addaudithook(_refuse_connections)  # is there to stay, and costs nothing outside
        _hooked.append(True)
    before = _here.offline, hub.HF_HUB_OFFLINE
    _here.offline = hub.HF_HUB_OFFLINE = True  # the hub's client would try again, and wait
    try:
        yield
    finally:
        _here.offline, hub.HF_HUB_OFFLINE = before


def _refuse_connections(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname") and _here.offline:
        raise ConnectionRefusedError("loading a checkpoint opens no connection")


def _unlike_an_archive(path: Path) -> str | None:
    """Return what a file is where it is not a ZIP as torch.save writes it, and what to do."""
    if path.is_dir() or not path.exists():
        return "does not exist" if not path.exists() else "is a folder without checkpoints"
    if not path.is_file():
        return "is not a file (a pipe, a socket or a device): it is not opened"
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if not head:
        return "is empty (0 bytes): copy it again"
    if head[:2] != b"PK":
        return _foreign(path, head)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        return f"is cut off or damaged ({_line(error)}): copy it again"
    if not any(entry.filename.endswith("/data.pkl") for entry in entries):
        return "is a ZIP archive, but not a checkpoint"
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        return "is compressed, as no checkpoint of dfd is: what it unfolds to cannot be known"
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        return "declares more data than it has: it is damaged"
    return None


def _foreign(path: Path, head: bytes) -> str:
    kinds = {
        b"\x80": "is a pickle, or a checkpoint of an old torch: it is not loaded",
        b"\x89HDF": "is an HDF5 file, not a checkpoint of dfd",
        b"\x1f\x8b": "is a gzip archive: unpack it first",
        b"version https://": "is a pointer of Git LFS, not the file itself: run git lfs pull",
        b"<!DOCTYPE": "is a web page, not a checkpoint: the download failed",
        b"<html": "is a web page, not a checkpoint: the download failed",
    }
    for start, what in kinds.items():
        if head.startswith(start):
            return what
    if path.suffix == ".safetensors" or head[8:10] == b'{"':
        return "is a safetensors file, which does not say which network it belongs to: give the run folder"
    return "is not a checkpoint (of dfd or of torch)"


def _asked(error: Exception) -> str:
    """Return the name that a pickle asked for, out of torch's page of advice."""
    words = str(error).split()
    at = words.index("GLOBAL") + 1 if "GLOBAL" in words else None
    return words[at].rstrip(".,") if at is not None and at < len(words) else _line(error)


def _name(key: Any, path: Path) -> str | int:
    if not isinstance(key, (str, int)):
        raise DfdError(f"{path}: its description has a {type(key).__name__} as a name")
    return key


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
