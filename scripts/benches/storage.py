"""Ways to keep face crops, in seconds of one core: random clips from each, against a folder of files."""

import io
import tarfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benches.figure import Figure, fastest
from benches.preprocess import FRAMES, photo_video
from dfd.data.crops import CropReader, encode, write_container
from dfd.preprocess.crop import CropOptions, crop_video
from dfd.preprocess.faces import MtcnnDetector


def storage(folder: Path) -> Iterable[Figure]:
    """Eight random clips of four frames from each way to keep 300 crops, against a folder of PNGs."""
    path = photo_video(folder / "photo.mp4", (640, 480))
    crops = crop_video(path, CropOptions(groups=0), MtcnnDetector())
    for kind in ("webp", "png", "jpg"):
        write_container(folder / f"{kind}.zip", crops.table, crops.images.items(), kind)
        files = {f"{row:06d}.{kind}": encode(image, kind, 95) for row, image in crops.images.items()}
        works = {name: make(folder / f"{name}-{kind}", files) for name, make in STORES.items()}
        works["zip"] = lambda kind=kind: from_zip(folder / f"{kind}.zip")
        rates = fastest({name: lambda work=work: read_clips(work) for name, work in works.items()})
        for name, rate in rates.items():
            place = folder / (f"{kind}.zip" if name == "zip" else f"{name}-{kind}")
            size, count = weigh(place)
            label = f"{name} of {kind}: {size / 2**20:.1f} MiB in {count} file(s)"
            yield Figure(label, rate, rates["folder"], "clips/s", f"folder of {kind}")


Reader = Callable[[], Callable[[int], np.ndarray]]


def read_clips(reader: Reader, clips: int = 8, length: int = 4) -> int:
    """Open a store and read random clips, as one visit in training does; 20 visits."""
    random = np.random.default_rng(0)
    for _ in range(20):
        read = reader()
        for start in random.integers(0, FRAMES - length, clips):
            for row in range(start, start + length):
                read(int(row))
    return 20 * clips


def in_folder(place: Path, files: dict[str, bytes]) -> Reader:
    """One file per crop."""
    place.mkdir()
    for name, data in files.items():
        (place / name).write_bytes(data)
    names = list(files)
    return lambda: lambda row: decoded((place / names[row]).read_bytes())


def in_tar(place: Path, files: dict[str, bytes]) -> Reader:
    """An uncompressed tar, which has no index: its headers are walked at every opening."""
    with tarfile.open(place, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    names = list(files)

    def reader() -> Callable[[int], np.ndarray]:
        archive = tarfile.open(place)  # noqa: SIM115 - closed with the process
        return lambda row: decoded(archive.extractfile(names[row]).read())  # type: ignore[union-attr]

    return reader


def in_parquet(place: Path, files: dict[str, bytes]) -> Reader:
    """A Parquet file with a row group for every eight crops."""
    pq.write_table(pa.table({"image": list(files.values())}), place, row_group_size=8, compression="none")

    def reader() -> Callable[[int], np.ndarray]:
        table = pq.ParquetFile(place)
        return lambda row: decoded(table.read_row_group(row // 8)["image"][row % 8].as_py())

    return reader


def in_arrow(place: Path, files: dict[str, bytes]) -> Reader:
    """An Arrow file, mapped into memory."""
    table = pa.table({"image": list(files.values())})
    with pa.OSFile(str(place), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)

    def reader() -> Callable[[int], np.ndarray]:
        images = pa.ipc.open_file(pa.memory_map(str(place))).read_all()["image"]
        return lambda row: decoded(images[row].as_py())

    return reader


def in_lmdb(place: Path, files: dict[str, bytes]) -> Reader:
    """One LMDB environment per video."""
    import lmdb

    with lmdb.open(str(place), map_size=2**30) as environment, environment.begin(write=True) as writing:
        for row, data in enumerate(files.values()):
            writing.put(f"{row:06d}".encode(), data)

    opened = lmdb.open(str(place), readonly=True, lock=False)  # a process may open it once only

    def reader() -> Callable[[int], np.ndarray]:
        reading = opened.begin()
        return lambda row: decoded(reading.get(f"{row:06d}".encode()))

    return reader


STORES = {"folder": in_folder, "tar": in_tar, "parquet": in_parquet, "arrow": in_arrow}
with suppress(ImportError):
    import lmdb  # noqa: F401

    STORES["lmdb"] = in_lmdb


def from_zip(path: Path) -> Callable[[int], np.ndarray]:
    """Our container."""
    crops = CropReader(path)
    return lambda row: crops.read([row])[0]


def decoded(data: bytes) -> np.ndarray:
    """Return the RGB picture of some bytes."""
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def weigh(place: Path) -> tuple[int, int]:
    """Return the bytes and the number of files of a store."""
    files = [path for path in place.rglob("*") if path.is_file()] if place.is_dir() else [place]
    return sum(path.stat().st_size for path in files), len(files)
