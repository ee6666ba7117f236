"""Benches of preprocessing and of its storage, counted in seconds of one core: another process's work does not count.

scripts/bench.py preprocess storage index memory
"""

import io
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from facenet_pytorch import MTCNN
from matplotlib.cbook import get_sample_data

from dfd.core.manifest import Manifest, check
from dfd.core.records import Record
from dfd.data.crops import CropReader, encode, write_container
from dfd.data.video import open_video
from dfd.preprocess.crop import CropOptions, Cutting, crop_video, drive
from dfd.preprocess.faces import Detections, MtcnnDetector
from dfd.preprocess.tracks import interpolate, iou, link, main_tracks

FRAMES = 300


class Figure(NamedTuple):
    """One measurement, what it stands against, and their unit (a rate: more is better)."""

    name: str
    ours: float
    floor: float
    unit: str
    against: str


def photo_video(path: Path, size: tuple[int, int], frames: int = FRAMES, seed: int = 0) -> Path:
    """Write a 25 fps H.264 video of a photograph (matplotlib's Grace Hopper) that moves, turns and grows."""
    with get_sample_data("grace_hopper.jpg") as file:
        photo = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    width, height = size
    random = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        for i in range(frames):
            scale = height / photo.shape[0] * (1 + 0.15 * np.sin(i / 37))
            matrix = cv2.getRotationMatrix2D((256, 200), 6 * np.sin(i / 21), scale)
            matrix[:, 2] += [width * (0.5 + 0.15 * np.sin(i / 45)) - 256, height * (0.4 + 0.05 * np.sin(i / 13)) - 200]
            image = cv2.warpAffine(photo, matrix, size, borderValue=(90, 110, 120))
            grain = random.normal(0, 2, (height, width, 1))
            frame = np.clip(image + grain, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def fastest(works: dict[str, Callable[[], int]], rounds: int = 3) -> dict[str, float]:
    """Return each work's items per second of one core: the best of some rounds in which they take turns."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    best = dict.fromkeys(works, 0.0)
    for _ in range(rounds):
        for name, work in works.items():
            start = time.process_time()
            done = work()
            best[name] = max(best[name], done / (time.process_time() - start))
    return best


def preprocess(folder: Path) -> Iterable[Figure]:
    """Faces of a 1280x720 video of twelve seconds, one core, everything but the writing."""
    path = photo_video(folder / "photo.mp4", (1280, 720))
    detector, theirs = MtcnnDetector(), MTCNN(keep_all=True, device="cpu")
    every, some = CropOptions(groups=0), CropOptions()
    kept = crop_video(path, some, detector)
    rates = fastest(
        {
            "decode": lambda: decode(path, range(FRAMES)),
            "decode, RGB": lambda: decode(path, range(FRAMES), rgb=True),
            "per frame": lambda: per_frame(path, theirs, 30),
            "every frame": lambda: crop_all(path, every, detector),
            "32 frames": lambda: len(crop_video(path, some, detector).images) and 1,
            "32 frames, decoding": lambda: decode(path, kept.table["frame"].tolist(), rgb=True) and 1,
            "fake": lambda: len(crop_video(path, some, detector, kept.table).images) and 1,
        }
    )
    slow = rates["per frame"]
    yield Figure("(a) decoding alone, every frame", rates["decode"], rates["decode, RGB"], "frames/s", "and to RGB")
    yield Figure("(b) facenet-pytorch, each frame at full size", slow, rates["decode"], "frames/s", "decoding alone")
    yield Figure("(c) ours, faces and crops of every frame", rates["every frame"], slow, "frames/s", "(b)")
    one, against = "videos/min", "decoding those frames alone"
    yield Figure(
        "(d) ours, 32 frames a video", 60 * rates["32 frames"], 60 * rates["32 frames, decoding"], one, against
    )
    yield Figure(
        "(d) its fake, with the same boxes", 60 * rates["fake"], 60 * rates["32 frames, decoding"], one, against
    )
    agree = agreement(path, theirs, detector)
    yield Figure("frames whose box agrees with (b), IoU >= 0.8", 100 * float((agree >= 0.8).mean()), 100, "%", "all")
    yield Figure("mean IoU with (b)", 100 * float(agree.mean()), 100, "%", "the same boxes")


def decode(path: Path, frames: Iterable[int], rgb: bool = False) -> int:
    """Decode the way that we do, and convert if asked."""
    with open_video(path) as video:
        return sum(1 for picture in video.pictures(list(frames)) if not rgb or picture.rgb() is not None)


def per_frame(path: Path, detector: MTCNN, count: int) -> int:
    """Detect the way that public scripts do: whole frames, one at a time, at full size."""
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == count:
                break
            detector.detect(frame.to_ndarray(format="rgb24"))
    return count


def crop_all(path: Path, options: CropOptions, detector: MtcnnDetector) -> int:
    """Find the face on every frame and cut it out, holding no crop longer than a container needs to be written."""
    work = Cutting(path, options)
    drive(work.look(), detector)
    return sum(1 for _ in work.images())


def agreement(path: Path, theirs: MTCNN, ours: MtcnnDetector) -> np.ndarray:
    """Return the IoU of our interpolated box with the detector's own, on every fifth frame off our looks."""
    work = Cutting(path, CropOptions(groups=0))
    drive(work.look(), ours)
    found: dict[int, Detections] = work.detections or {}
    track = main_tracks(link(found, 0.9), (1280, 720))[0]
    values = []
    with open_video(path) as video:
        for picture in video.pictures(range(2, FRAMES, 5)):
            boxes, confidences = theirs.detect(picture.rgb())
            box = interpolate(track, np.array([picture.index]), FRAMES)["box"][0]
            values.append(0.0 if boxes is None else iou(boxes[int(np.argmax(confidences))].astype(float), box))
    return np.array(values)


def storage(folder: Path) -> Iterable[Figure]:
    """Eight random clips of four frames from each way to keep 300 crops, against a folder of PNGs."""
    path = photo_video(folder / "photo.mp4", (640, 480))
    crops = crop_video(path, CropOptions(groups=0), MtcnnDetector())
    for kind in ("png", "jpg"):
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


def index(folder: Path) -> Iterable[Figure]:
    """A manifest of 100,000 records: checked, written and read."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    records = tuple(synthetic(100_000))
    check(records)
    made = time.process_time() - start
    start = time.process_time()
    Manifest(records, folder).write(folder / "manifest.parquet")
    written = time.process_time() - start
    start = time.process_time()
    Manifest.read(folder / "manifest.parquet")
    read = time.process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    size = (folder / "manifest.parquet").stat().st_size / 2**20
    yield Figure(f"index and check 100,000 records ({grown:.0f} MiB more at the peak)", made, made, "s", "")
    yield Figure(f"write their manifest ({size:.1f} MiB)", written, made, "s", "indexing")
    yield Figure("read it", read, made, "s", "indexing")


def synthetic(count: int) -> Iterator[Record]:
    """Yield records as DFDC's index does."""
    for number in range(count):
        part, label = number // 2400, int(number % 6 > 0)
        source, split = f"video{number - number % 6:07d}", "val" if part < 3 else "train"
        original = f"part_{part}/{source}" if label else None
        name = f"part_{part}/video{number:07d}"
        assets = {"crops": f"crops/{name}.zip"}
        yield Record(
            name, "dfdc", split, label, f"/data/{name}.mp4", source, "fake" if label else "real", original, 30.0, 300,
            assets=assets,
        )  # fmt: skip


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
        f"write_container(Path({str(path)!r}).with_suffix('.zip'), w.table, w.images())\n"
    )


def _measured(work: str) -> float:
    head = "import resource; from dfd.preprocess.faces import MtcnnDetector\n"
    tail = "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(head + work + tail)
        script.flush()
        done = subprocess.run([sys.executable, script.name], capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


BENCHES = {"preprocess": preprocess, "storage": storage, "index": index, "memory": memory}
