"""How cost grows: the index, the manifest, the order of an epoch and the views of 100 to 100,000 videos."""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from benches.figure import Figure
from dfd.core.manifest import Manifest, check
from dfd.core.memory import peak_bytes
from dfd.core.records import InputSpec, Record
from dfd.data.crops import COLUMNS, Crops, write_crops
from dfd.data.datamodule import FaceDataModule

T = TypeVar("T")
COUNTS = (100, 1_000, 10_000, 100_000)
FILES = 50  # real containers, to which all videos point
SAME = "the same per video as of the first"


def index(folder: Path) -> Iterable[Figure]:
    """Microseconds per video to make and check records, to write and to read the manifest, at four sizes."""
    first: dict[str, float] = {}
    for count in COUNTS:
        before = peak_bytes()
        records, made = timed(lambda count=count: tuple(synthetic(count)))
        _, checked = timed(lambda records=records: check(records))
        manifest = Manifest(records, folder)
        _, written = timed(lambda manifest=manifest: manifest.write(folder / "manifest.parquet"))
        _, read = timed(lambda: Manifest.read(folder / "manifest.parquet"))
        for name, seconds in {"index and check": made + checked, "write": written, "read": read}.items():
            micros = 1e6 * seconds / count
            yield Figure(f"{name} {count:,} records", micros, first.setdefault(name, micros), "us/video", SAME)
    grown = (peak_bytes() - before) / 2**20
    size = (folder / "manifest.parquet").stat().st_size / 2**20
    yield Figure(f"memory at the peak, {count:,} records", grown, size, "MiB", "the file")


def loading(folder: Path) -> Iterable[Figure]:
    """Milliseconds to start an epoch, and views per second of its first batches, at four sizes."""
    make_files(folder)
    first: dict[str, float] = {}
    for count in COUNTS:
        manifest = Manifest(tuple(synthetic(count)), folder)
        data = FaceDataModule(manifest, InputSpec("image", 64), batch_size=32, visits=4, workers=0)
        batches, started = timed(lambda data=data: (it := iter(data.train_dataloader()), next(it))[0])
        _, seconds = timed(lambda batches=batches: [next(batches) for _ in range(2)])
        rate = 64 / seconds
        yield Figure(f"start an epoch, {count:,} videos", 1e3 * started, 1e3 * 32 / rate, "ms", "its first batch")
        yield Figure(f"views, {count:,} videos", rate, first.setdefault("rate", rate), "views/s", "of 100 videos")


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return a result and the CPU seconds it took."""
    start = time.process_time()
    return work(), time.process_time() - start


def synthetic(count: int) -> Iterator[Record]:
    """Yield records as DFDC's index does, whose crops are those of a few files."""
    for number in range(count):
        part, label = number * 50 // count, int(number % 6 > 0)
        source, split = f"video{number - number % 6:07d}", "val" if part < 3 else "train"
        original = f"part_{part}/{source}" if label else None
        name = f"part_{part}/video{number:07d}"
        assets = {"crops": f"crops/{number % FILES}.zip"}
        yield Record(
            name, "dfdc", split, label, f"/data/{name}.mp4", source, "fake" if label else "real", original, 30.0, 300,
            assets=assets,
        )  # fmt: skip


def make_files(folder: Path, side: int = 64) -> None:
    """Write the containers: 32 crops of noise each, which no format makes smaller."""
    random = np.random.default_rng(0)
    frames = 32
    table = {name: np.zeros(frames) for name in COLUMNS}
    table |= {"frame": np.arange(frames), "t": np.arange(frames) / 25, "valid": np.ones(frames, bool)}
    images = {row: random.integers(0, 255, (side, side, 3), np.uint8) for row in range(frames)}
    write_crops(folder / "crops" / "0.zip", Crops(table, images))
    for number in range(1, FILES):
        shutil.copy(folder / "crops" / "0.zip", folder / "crops" / f"{number}.zip")
