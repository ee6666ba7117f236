"""Face crops and sound of corrupted videos: full frames are corrupted, then cut at the places found on clean ones."""

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
from dfd.data.corrupt import TALKING, VERSION, corrupt, is_codec, strength, transcode
from dfd.data.corrupt_sound import ON_SOUND, corrupt_sound, rows_at_rate
from dfd.data.crops import CROP_BOX, CropReader, Crops, Table, write_crops
from dfd.data.video import probe, read_frames
from dfd.preprocess.asset_files import asset_path, crop_path
from dfd.preprocess.crop import cut
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
        paths = {level: _target(folder, record, kind) for level, folder in folders.items()}
        cut_at = max(_written(clean / record.assets[name]) for name in ("crops", "audio") if name in record.assets)
        missing = {level: path for level, path in paths.items() if _written(path) < cut_at}
        jobs += [(record, missing)] if missing else []
    _run(jobs, clean, kind, size, workers)
    return {
        level: Manifest(tuple(_placed(r, clean, folder, kind) for r in records), folder)
        for level, folder in folders.items()
    }


def folder_of(clean: Path, kind: str, level: int) -> Path:
    """Return where the crops of one condition lie."""
    return clean.parent / f"{clean.name}-{kind}{level}-{strength(kind, level):g}-v{VERSION}"


def _target(folder: Path, record: Record, kind: str) -> Path:
    """Return where what a corruption makes of a record lies."""
    return asset_path(folder, "audio", record.id, ".npy") if kind in ON_SOUND else crop_path(folder, record)


def _placed(record: Record, clean: Path, folder: Path, kind: str) -> Record:
    """Return a record with its corrupted crops or sound; everything else stays that of the clean one."""
    assets = {name: (clean / path).absolute().as_posix() for name, path in record.assets.items()}
    changed = "audio" if kind in ON_SOUND else "crops"
    return replace(record, assets=assets | {changed: _target(folder, record, kind).relative_to(folder).as_posix()})


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
    if kind in TALKING:
        for level, path in paths.items():
            _one_talking(record, path, clean, kind, strength(kind, level))
        return
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


def _one_talking(record: Record, path: Path, clean: Path, kind: str, value: float) -> None:
    """Change the sound of one video, or leave out frames of its crops."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind in ON_SOUND:
        samples = np.load(clean / record.assets["audio"])
        part = path.with_suffix(".part.npy")
        np.save(part, corrupt_sound(samples, kind, value, record.id))
        part.replace(path)
        return
    with CropReader(clean / record.assets["crops"]) as crops:
        table = crops.table
        kept = np.isin(table["t"], np.unique(table["t"])[rows_at_rate(np.unique(table["t"]), value)])
        valid = np.flatnonzero(kept & table["valid"])
        fewer = {name: column[kept] for name, column in table.items()}
        place = np.cumsum(kept) - 1  # of every row among those that are kept
        write_crops(path, Crops(fewer, dict(zip(place[valid].tolist(), crops.read(valid), strict=True))))


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
