"""Peak memory of preprocessing, in processes of its own: it must not grow with the video or with their number."""

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from benches.figure import Figure
from benches.preprocess import photo_video


def memory(folder: Path) -> Iterable[Figure]:
    """Peak memory of a process that cuts every frame of a short and of a long video, and few and many videos."""
    nothing = _measured("MtcnnDetector()\n")
    for seconds in (2, 30, 90):
        path = photo_video(folder / f"{seconds}.mp4", (640, 360), 25 * seconds)
        yield Figure(f"every frame of {seconds} s at 360 lines", peak(path), nothing, "MiB", "a detector, no work")
    path = photo_video(folder / "short.mp4", (320, 180), 8)
    for count in (10, 1000):
        used = peak_of_many(path, folder / f"many{count}", count)
        yield Figure(f"{count} videos of 8 frames at 180 lines", used, nothing, "MiB", "a detector, no work")


def peak_of_many(path: Path, folder: Path, count: int) -> float:
    """Return the peak memory (MiB) of a fresh process that prepares a dataset of `count` videos."""
    return _measured(
        "from pathlib import Path; from dfd.core.records import Record; from dfd.preprocess.crop import CropOptions\n"
        "from dfd.preprocess.pipeline import prepare; from dfd.preprocess.runner import Engine\n"
        f"rs = [Record(str(i), 'many', 'train', 0, {str(path)!r}, str(i)) for i in range({count})]\n"
        f"prepare(rs, Path({str(folder)!r}) / 'x', CropOptions(detections=1), Engine(workers=0))\n"
    )


def peak(path: Path) -> float:
    """Return the peak memory (MiB) of a fresh process that writes a container of every frame."""
    return _measured(
        "from dfd.preprocess.crop import *; from dfd.data.crops import write_container; from pathlib import Path\n"
        f"w = Cutting(Path({str(path)!r}), CropOptions(groups=0)); drive(w.look(), MtcnnDetector())\n"
        f"write_container(Path({str(path)!r}).with_suffix('.zip'), w.table, w.stream())\n"
    )


def _measured(work: str) -> float:
    head = "from dfd.core.memory import peak_bytes; from dfd.preprocess.faces import MtcnnDetector\n"
    tail = "print(peak_bytes())"
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(head + work + tail)
        script.flush()
        done = subprocess.run([sys.executable, script.name], capture_output=True, text=True, check=True)
    return int(done.stdout) / 2**20
