"""Is this machine ready: Python, packages, device, decoder, disk, and the weights and cards of runs."""

import importlib.metadata
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dfd.core.cores import cores
from dfd.core.errors import DfdError

ROOM = 2 * 2**30  # bytes that should be free
NEEDED = ("torch", "torchvision", "av", "numpy", "opencv-python-headless", "pandas", "timm", "safetensors")
SERVING = ("fastapi", "uvicorn", "dbos", "python-multipart", "fsspec", "limits", "prometheus-client")


class Finding(NamedTuple):
    """One thing that was looked at: `state` is ok, warning or error; `text` says what was found, and the next step."""

    what: str
    state: str
    text: str


def examine(runs: Sequence[str] = (), folder: Path = Path()) -> Iterator[Finding]:
    """Yield a finding for each part of the machine, and for each run."""
    yield _tried("python", _python)
    yield _tried("packages", lambda: _packages(NEEDED))
    serving = _tried("server's packages", lambda: _packages(SERVING))
    yield serving._replace(state="warning") if serving.state == "error" else serving
    yield _tried("device", _device)
    yield _tried("decoder", _decoder)
    yield _tried("confinement", _confinement)
    yield _tried("disk", lambda: _disk(folder))
    for run in runs:
        yield _tried(f"run {run}", lambda run=run: _run(run))  # type: ignore[misc]


def _tried(what: str, look: Callable[[], Finding | str]) -> Finding:
    try:
        found = look()
    except DfdError as error:
        return Finding(what, "error", str(error))
    except Exception as error:
        return Finding(what, "error", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    return found._replace(what=what) if isinstance(found, Finding) else Finding(what, "ok", found)


def _python() -> str:
    return f"{platform.python_version()} on {platform.platform(terse=True)}, {cores()} cores"


def _packages(names: Sequence[str]) -> Finding | str:
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        extra = " 'dfd[serve]'" if set(missing) <= set(SERVING) else " dfd"
        return Finding("", "error", f"missing: {', '.join(missing)}; pip install{extra}")
    return ", ".join(found)


def _device() -> Finding | str:
    import torch

    from dfd.models.devices import find_device

    device = find_device("auto")
    total = float((torch.ones(64, 64, device=device) @ torch.ones(64, 64, device=device)).sum())
    if total != 64**3:
        return Finding("", "error", f"{device} computes wrongly: {total} instead of {64**3}")
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory / 2**30
        return f"{torch.cuda.get_device_name(device)}, {memory:.0f} GiB"
    return f"{device}; a GPU, where there is one, is not used by this torch ({torch.__version__})"


def _decoder() -> str:
    """Write a video and read it back."""
    import av

    from dfd.data.video import read_frames

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grey.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            for level in (60, 120, 180):
                frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), level, np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        levels = [image.mean() for _, _, image in read_frames(path, [0, 1, 2])]
    if np.abs(np.array(levels) - (60, 120, 180)).max() > 6:
        raise DfdError(f"three grey frames came back as {levels}: reinstall av")
    return f"PyAV {av.__version__} writes and reads H.264"


def _confinement() -> Finding | str:
    import multiprocessing

    from dfd.serving.confine import confine

    process = multiprocessing.get_context("spawn").Process(target=_leave_with, args=(confine,))
    process.start()
    process.join(120)
    if process.exitcode == 0:
        return "processes that decode have no network"
    return Finding(
        "", "warning", "processes that decode cannot be kept from the network here: run the server in a jail"
    )


def _leave_with(confine: Callable[[], bool]) -> None:
    sys.exit(0 if confine() else 1)


def _disk(folder: Path) -> Finding | str:
    free = shutil.disk_usage(folder).free
    told = f"{free / 2**30:.1f} GiB free at {folder.absolute()}"
    return told if free >= ROOM else Finding("", "warning", f"{told}: make room")


def _run(run: str) -> Finding | str:
    from dfd.core.run_folder import run_of
    from dfd.evaluation.operating import Operating
    from dfd.models.checkpoint import load_network

    loaded = load_network(Path(run))
    size = sum(parameter.numel() for parameter in loaded.network.parameters())
    told = f"{loaded.card.model}, {size:,} parameters, trained on {loaded.card.data}, card reads, weights fit"
    if loaded.card.sample:
        return Finding(
            "", "warning", f"{told}; trained on the rendered sample: its verdicts on real media mean nothing"
        )
    if Operating.read(loaded.path.parent) is None and not list(run_of(loaded.path).rglob("operating.json")):
        return Finding("", "warning", f"{told}; not calibrated: eval.py run={run} split=val")
    return told
