"""Face crops of corrupted videos: full frames are corrupted, then cut at the places found on the clean ones."""

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from dfd.core.cores import cores
from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.records import Record
from dfd.core.workers import start_worker
from dfd.data.corrupt import VERSION, corrupt, is_codec, strength, transcode
from dfd.data.crops import CROP_BOX, CropReader, Crops, Table, write_crops
from dfd.data.video import probe, read_frames
from dfd.preprocess.crop import cut
from dfd.preprocess.pipeline import crop_path
from dfd.preprocess.runner import progress_bar


def corrupted(
    records: Sequence[Record], clean: Path, kind: str, levels: Sequence[int], size: int, workers: int | None = None
) -> dict[int, Manifest]:
    """Return, per level, the records with crops of their corrupted videos; what is on disk already is not made again
    unless the clean crops were.

    `clean` is the folder of the clean crops, whose boxes are used: a corruption moves no face. Crops go to folders
    beside it, named by what was done.
    """
    folders = {level: folder_of(clean, kind, level) for level in levels}
    jobs = []
    for record in records:
        paths = {level: crop_path(folder, record) for level, folder in folders.items()}
        cut_at = _written(clean / record.assets["crops"])
        missing = {level: path for level, path in paths.items() if _written(path) < cut_at}
        jobs += [(record, missing)] if missing else []
    _run(jobs, clean, kind, size, workers)
    return {
        level: Manifest(tuple(_placed(r, clean, folder) for r in records), folder) for level, folder in folders.items()
    }


def folder_of(clean: Path, kind: str, level: int) -> Path:
    """Return where the crops of one condition lie."""
    return clean.parent / f"{clean.name}-{kind}{level}-{strength(kind, level):g}-v{VERSION}"


def _placed(record: Record, clean: Path, folder: Path) -> Record:
    """Return a record with its corrupted crops; landmarks and masks stay those of the clean ones."""
    assets = {kind: (clean / path).absolute().as_posix() for kind, path in record.assets.items()}
    return replace(record, assets=assets | {"crops": crop_path(folder, record).relative_to(folder).as_posix()})


def _written(path: Path) -> int:
    """Return when a file was written; 0 if there is none."""
    return path.stat().st_mtime_ns if path.is_file() else 0


Job = tuple[Record, Mapping[int, Path]]


def _run(jobs: Sequence[Job], clean: Path, kind: str, size: int, workers: int | None) -> None:
    if not jobs:
        return
    count = min(workers or cores(), len(jobs))
    if count == 1:
        for record, paths in jobs:
            _one(record, paths, clean, kind, size)
        return
    with progress_bar() as progress, ProcessPoolExecutor(count, get_context("spawn"), start_worker) as pool:
        task = progress.add_task(f"corrupting: {kind}", total=len(jobs))
        futures = [pool.submit(_one, record, paths, clean, kind, size) for record, paths in jobs]
        try:
            for future in as_completed(futures):
                future.result()
                progress.advance(task)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one(record: Record, paths: Mapping[int, Path], clean: Path, kind: str, size: int) -> None:
    """Corrupt one video at several levels, decoding it once where that is possible."""
    with CropReader(clean / record.assets["crops"]) as crops:
        table = crops.table
    wanted = table["frame"][table["valid"]].tolist()
    source = Path(record.path)
    if not is_codec(kind):
        frames = {index: image for index, _, image in read_frames(source, wanted)}
        for level, path in paths.items():
            _write(path, table, corrupt(frames, kind, level, record.id), size, record)
        return
    width = probe(source).width
    for level, path in paths.items():
        with tempfile.TemporaryDirectory() as folder:
            coded = Path(folder) / "coded.mp4"
            transcode(source, coded, kind, level, last=max(wanted))
            frames = {index: image for index, _, image in read_frames(coded, wanted)}
        _write(path, table, frames, size, record, width)


def _write(
    path: Path, table: Table, frames: Mapping[int, np.ndarray], size: int, record: Record, width: int | None = None
) -> None:
    """Cut the boxes out of corrupted frames; a platform's smaller frames have smaller boxes."""
    boxes = np.stack([table[name] for name in CROP_BOX], 1)
    images = {}
    for row in np.flatnonzero(table["valid"]):
        frame = int(table["frame"][row])
        if frame not in frames:
            raise DfdError(f"{record.dataset}/{record.id}: frame {frame} was lost when the video was re-encoded")
        scale = 1.0 if width is None else frames[frame].shape[1] / width
        images[int(row)] = cut(frames[frame], boxes[row] * scale, size)
    write_crops(path, Crops(table, images))
