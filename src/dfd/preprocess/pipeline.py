"""Records to a manifest of face crops: in parallel, resumable, with a reason for everything that was left out."""

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.records import Failure, Record
from dfd.data.crops import CropReader, write_crops
from dfd.data.video import probe
from dfd.preprocess.crop import DECODE_ERROR, MISSING, NO_FACE, CropOptions, NoFace, crop_video
from dfd.preprocess.faces import FaceDetector, MtcnnDetector

log = logging.getLogger(__name__)

MANIFEST, FAILURES = "manifest.parquet", "failures.parquet"
_detector: FaceDetector | None = None


def prepare(
    records: Sequence[Record],
    folder: Path,
    options: CropOptions,
    *,
    workers: int | None = None,
    device: str = "cpu",
) -> tuple[Manifest, list[Failure]]:
    """Cut the faces of every record that has none yet, and return those that have, with what failed and why.

    Originals come first, so that fakes can share their boxes. What was done is not done again: a container appears
    whole or not at all, and a call that has nothing to do only reads its tables.
    """
    done = _finished(records, folder)
    if done is not None:
        return done
    failures: list[Failure] = []
    for batch in _originals_first(records):
        todo = [record for record in batch if not crop_path(folder, record).is_file()]
        failures += _run(todo, folder, options, workers, device)
    failed = {failure.video for failure in failures}
    usable = [record for record in records if record.id not in failed]
    if not usable:
        raise DfdError(f"no face in any of {len(records)} videos, the first because: {failures[0].detail}")
    _warn_of_losses(records, failed)
    manifest = Manifest(tuple(_described(record, folder) for record in usable), folder)
    _write_failures(failures, folder)
    manifest.write(folder / MANIFEST)
    return manifest, failures


def read_failures(folder: Path) -> list[Failure]:
    """Return what preprocessing could not use."""
    path = folder / FAILURES
    return [Failure(**row) for row in pd.read_parquet(path).to_dict("records")] if path.is_file() else []


def crop_path(folder: Path, record: Record) -> Path:
    """Return where a record's container lies; an id may have folders, but none that lead out."""
    parts = [part for part in record.id.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return folder / "crops" / Path(*parts[:-1]) / f"{parts[-1]}.zip"


def _finished(records: Sequence[Record], folder: Path) -> tuple[Manifest, list[Failure]] | None:
    """Return the result of an earlier call if it covers exactly these records, brought up to date with them."""
    if not (folder / MANIFEST).is_file():
        return None
    manifest, failures = Manifest.read(folder / MANIFEST), read_failures(folder)
    known = {record.id: record for record in manifest.records}
    failed = {failure.video for failure in failures}
    if {record.id for record in records} - failed != set(known):
        return None
    current = tuple(
        replace(record, fps=known[record.id].fps, frames=known[record.id].frames, assets=known[record.id].assets)
        for record in records
        if record.id in known
    )
    return Manifest(current, folder), failures


def _originals_first(records: Sequence[Record]) -> Iterator[list[Record]]:
    yield [record for record in records if record.original is None]
    yield [record for record in records if record.original is not None]


def _run(records: list[Record], folder: Path, options: CropOptions, workers: int | None, device: str) -> list[Failure]:
    if not records:
        return []
    count = min(workers or os.cpu_count() or 1, len(records))
    jobs = [(record, _original_path(folder, record)) for record in records]
    failures: list[Failure] = []
    with (
        progress_bar() as progress,
        ProcessPoolExecutor(count, get_context("spawn"), _start_worker, (device,)) as pool,
    ):
        task = progress.add_task(f"faces of {records[0].dataset}", total=len(records))
        futures = [pool.submit(_one, record, original, folder, options) for record, original in jobs]
        try:
            for future in as_completed(futures):
                failure = future.result()
                if failure is not None:
                    failures.append(failure)
                progress.advance(task)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failures


def _start_worker(device: str) -> None:
    import cv2
    import torch

    global _detector
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _detector = MtcnnDetector(device)


def _one(record: Record, original: Path | None, folder: Path, options: CropOptions) -> Failure | None:
    """Cut one video in a worker; whatever is wrong with it is a failure of this video alone."""
    assert _detector is not None
    path = Path(record.path)
    if not path.is_file():
        return Failure(record.id, "crop", MISSING, f"no video at {path}")
    try:
        boxes = None if original is None else _boxes(original)
        crops = crop_video(path, options, _detector, boxes)
    except NoFace as error:
        return Failure(record.id, "crop", NO_FACE, str(error))
    except DfdError as error:
        return Failure(record.id, "crop", DECODE_ERROR, str(error))
    write_crops(crop_path(folder, record), crops, options.image_format, options.jpeg_quality)
    return None


def _original_path(folder: Path, record: Record) -> Path | None:
    if record.original is None:
        return None
    path = crop_path(folder, replace(record, id=record.original))
    return path if path.is_file() else None


def _boxes(original: Path) -> dict:
    with CropReader(original) as crops:
        return crops.table


def _described(record: Record, folder: Path) -> Record:
    path, info = crop_path(folder, record), probe(Path(record.path))
    return replace(record, fps=info.fps, frames=info.frames, assets={"crops": path.relative_to(folder).as_posix()})


def _write_failures(failures: list[Failure], folder: Path) -> None:
    columns = list(Failure.__dataclass_fields__)
    part = (folder / FAILURES).with_suffix(".part")
    pd.DataFrame([asdict(failure) for failure in failures], columns=columns).to_parquet(part, index=False)
    part.replace(folder / FAILURES)


def _warn_of_losses(records: Sequence[Record], failed: set[str]) -> None:
    for label, name in enumerate(("real", "fake")):
        of_class = [record.id for record in records if record.label == label]
        lost = sum(id in failed for id in of_class)
        if of_class and lost > len(of_class) / 2:
            log.warning(
                "%d of %d %s videos could not be used: look at %s before you train", lost, len(of_class), name, FAILURES
            )


class Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """Show the rate once there is one."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


def progress_bar() -> Progress:
    """Return a progress bar with rate and remaining time, on stderr."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn()
    return Progress(*columns, console=Console(stderr=True))
