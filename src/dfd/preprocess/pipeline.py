"""Records to a manifest of face crops: detections and crops of every video, with a reason for all that was left out."""

import functools
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.records import Failure, Record
from dfd.data.crops import CropReader, write_container
from dfd.data.kinds import is_image
from dfd.preprocess.asset_files import asset_path, crop_path
from dfd.preprocess.crop import HELD, CropOptions, Cutting, Looking
from dfd.preprocess.faces import Detections, FaceDetector
from dfd.preprocess.runner import Engine, Item, attempt, remembered, run, writing
from dfd.preprocess.stages import asset_stages, made_assets

log = logging.getLogger(__name__)

MANIFEST, FAILURES, VIDEOS = "manifest.parquet", "failures.parquet", "videos.parquet"


def prepare(
    records: Sequence[Record],
    folder: Path,
    options: CropOptions,
    engine: Engine | None = None,
) -> tuple[Manifest, list[Failure]]:
    """Cut the faces of every record that has none yet, and return those that have, with what failed and why.

    Originals come first, so that fakes can share their boxes. What was done is not done again: a container appears
    whole or not at all, and a call that has nothing to do only reads its tables.
    """
    done = _finished(records, folder)
    if done is not None:
        return done
    failures = cut_faces(records, folder, options, engine or Engine())
    return collect(records, folder, failures)


def cut_faces(
    records: Sequence[Record], folder: Path, options: CropOptions, engine: Engine, detect_only: bool = False
) -> list[Failure]:
    """Detect and cut, in one decoding of each file; return the failures in the order of the records."""
    options.look_for_weights()
    failures = []
    for original in (True, False):  # those that nothing was made from can wait for the others' boxes
        batch = [record for record in records if (record.original is None) == original]
        items = [_item(folder, record, options, detect_only, engine) for record in batch]
        title = f"{'looking at' if detect_only else 'faces of'} {records[0].dataset}{'' if original else ': fakes'}"
        failures += run("detect" if detect_only else "crop", items, process, engine, title, _chunk(batch, engine))
    place = {record.id: position for position, record in enumerate(records)}
    return sorted(failures, key=lambda failure: place[failure.video])


def collect(records: Sequence[Record], folder: Path, failures: Sequence[Failure]) -> tuple[Manifest, list[Failure]]:
    """Write the tables of what there is: the manifest, what is known of each video, and what could not be used."""
    failed = {failure.video for failure in failures}
    usable = [record for record in records if record.id not in failed]
    if not usable:
        raise DfdError(f"no face in any of {len(records)} videos, the first because: {failures[0].detail}")
    _warn_of_losses(records, failed)
    described = [_described(record, folder) for record in usable]
    anew = [facts["video"] for _, facts in described if facts.get("found_anew")]
    if anew:
        log.warning(
            "%d fakes have another shape than their originals, e.g. %s: their faces were looked for, and their "
            "pixels do not correspond",
            len(anew),
            anew[0],
        )
    manifest = Manifest(tuple(record for record, _ in described), folder)
    with writing(folder):
        write_table([facts for _, facts in described], folder / VIDEOS)
        write_table([asdict(failure) for failure in failures], folder / FAILURES, list(Failure.__dataclass_fields__))
        manifest.write(folder / MANIFEST)
    return manifest, list(failures)


def read_failures(folder: Path) -> list[Failure]:
    """Return what preprocessing could not use."""
    path = folder / FAILURES
    return [Failure(**row) for row in pd.read_parquet(path).to_dict("records")] if path.is_file() else []


def in_shard(record: Record, shard: str | None) -> bool:
    """Whether a record belongs to shard "i/n" (i from 0); a fake goes where its original goes."""
    if shard is None:
        return True
    number, _, count = shard.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise DfdError(f"shard={shard}: write i/n with i from 0 to n-1, such as shard=0/8")
    key = f"{record.dataset}/{record.original or record.id}"
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % int(count) == int(number)


def write_table(rows: Sequence[Mapping[str, Any]], path: Path, columns: Sequence[str] | None = None) -> None:
    """Write rows as Parquet; the file appears whole or not at all."""
    part = path.with_suffix(".part")
    pd.DataFrame(rows, columns=list(columns) if columns else None).to_parquet(part, index=False)
    part.replace(path)


def process(items: Sequence[Item]) -> list[Failure]:
    """Cut some files in a worker, looking for the faces of all of them together."""
    jobs = {item.video: (item, _job(item, HELD // len(items))) for item in items}
    given = items[0].given
    return together(jobs, functools.partial(detector_on, given["options"], given["device"]))


def together(jobs: Mapping[str, tuple[Item, Looking]], detector: Callable[[], FaceDetector]) -> list[Failure]:
    """Run generators of pictures side by side, one batch of looks after another, until each is done or has failed."""
    failures = []
    answers: dict[str, list[Detections] | None] = dict.fromkeys(jobs)
    while answers:
        asked: dict[str, list[np.ndarray]] = {}
        for name, answer in answers.items():
            item, job = jobs[name]
            step = functools.partial(job.send, answer)  # type: ignore[arg-type]
            result = attempt("crop", item, item.given["limit"], step)
            if isinstance(result, Failure):
                failures.append(result)
            elif not isinstance(result, StopIteration):
                asked[name] = result
        pictures = [image for images in asked.values() for image in images]
        found = iter(detector().detect(pictures) if pictures else ())
        answers = {name: [next(found) for _ in images] for name, images in asked.items()}
    return failures


def detector_on(options: CropOptions, device: str) -> FaceDetector:
    """Return this process's detector of faces."""
    return options.face_detector(device)


def _job(item: Item, held: int) -> Looking:
    """Everything that is done with one file, as a generator of what it wants looked at."""
    options, looks = item.given["options"], item.given["looks"]
    boxes = size = None
    if item.given["original"] is not None and item.given["original"].is_file():
        with CropReader(item.given["original"]) as crops:
            boxes, size = crops.table, (crops.facts["width"], crops.facts["height"])
    work = Cutting(item.source, options, boxes, held, size)
    if boxes is None and looks.is_file():
        try:
            work.detections = read_looks(looks)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):  # looked at again, as if it had never been
            log.warning("%s is damaged: %s is looked at again", looks, item.source)
    known = len(work.detections or ())
    yield from work.look()
    if work.detections is not None and len(work.detections) > known:
        write_looks(looks, work.detections)
    if item.target != looks:
        write_container(item.target, work.table, work.stream(), options.image_format, options.jpeg_quality, work.facts)


def write_looks(path: Path, detections: Mapping[int, Detections]) -> None:
    """Keep what the detector found, so that other crops of the same video need no second look."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    frames = sorted(detections)
    faces = [detections[frame] for frame in frames]
    columns = {name: np.concatenate([getattr(f, name) for f in faces]) for name in Detections._fields}
    columns |= {"frame": np.array(frames), "faces": np.array([len(f.confidences) for f in faces])}
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **columns)
    part.replace(path)


def read_looks(path: Path) -> dict[int, Detections]:
    """Return what the detector found, by frame."""
    with np.load(path) as table:
        ends = np.cumsum(table["faces"])[:-1]
        parts = zip(*(np.split(table[name], ends) for name in Detections._fields), strict=True)
        return {int(frame): Detections(*part) for frame, part in zip(table["frame"], parts, strict=True)}


def _item(folder: Path, record: Record, options: CropOptions, detect_only: bool, engine: Engine) -> Item:
    looks = asset_path(folder.parent, f"detections-{options.looks_hash}", record.id, ".npz")
    original = None if record.original is None else crop_path(folder, replace(record, id=record.original))
    given = {"options": options, "looks": looks, "original": original, "device": engine.device, "limit": engine.limits}
    return Item(record.id, Path(record.path), looks if detect_only else crop_path(folder, record), given)


def _chunk(records: Sequence[Record], engine: Engine) -> int:
    """Pictures are small work, and an accelerator wants large batches; a video is enough for a core."""
    if records and is_image(Path(records[0].path)):
        return 32
    return 1 if engine.device == "cpu" else 4


def _finished(records: Sequence[Record], folder: Path) -> tuple[Manifest, list[Failure]] | None:
    """Return the result of an earlier call if it covers exactly these records, brought up to date with them."""
    if not (folder / MANIFEST).is_file():
        return None
    manifest, failures = Manifest.read(folder / MANIFEST), read_failures(folder)
    known = {record.id: record for record in manifest.records}
    if not all(crop_path(folder, record).is_file() for record in manifest.records):
        return None  # a damaged one was deleted, to be made again
    failed = {failure.video for failure in failures}
    if {record.id for record in records} - failed != set(known):
        return None
    if _forget_changed(records, folder):
        return None
    by_id = {record.id: record for record in records}
    if any(failure.video in by_id and _may_go_better(by_id[failure.video], folder) for failure in failures):
        return None
    current = tuple(
        replace(record, fps=known[record.id].fps, frames=known[record.id].frames, assets=known[record.id].assets)
        for record in records
        if record.id in known
    )
    return Manifest(current, folder), failures


def _forget_changed(records: Sequence[Record], folder: Path) -> int:
    """Drop what was made of files that have another size now, and of fakes of theirs; return how many those are.

    Files that are gone are no reason: who is short of space may delete the videos once their faces are cut.
    """
    table = pd.read_parquet(folder / VIDEOS) if (folder / VIDEOS).is_file() else pd.DataFrame()
    known = dict(zip(table["video"], table["bytes"], strict=True)) if "bytes" in table else {}
    changed = {r.id for r in records if r.id in known and _size(r.path) not in (None, known[r.id])}
    dropped = [record for record in records if record.id in changed or record.original in changed]
    for record in dropped:
        crop_path(folder, record).unlink(missing_ok=True)
        for stage in asset_stages():
            asset_path(folder, stage.name, record.id, stage.suffix).unlink(missing_ok=True)
        for looks in folder.parent.glob("detections-*"):
            asset_path(folder.parent, looks.name, record.id, ".npz").unlink(missing_ok=True)
    if changed:
        log.warning("%d videos have changed since their faces were cut: %d are cut again", len(changed), len(dropped))
    return len(changed)


def _size(path: str) -> int | None:
    return Path(path).stat().st_size if Path(path).is_file() else None


def _may_go_better(record: Record, folder: Path) -> bool:
    """Whether a file that failed has changed since, or is there now."""
    item = Item(record.id, Path(record.path), crop_path(folder, record))
    return item.source.is_file() and remembered(item) is None


def _described(record: Record, folder: Path) -> tuple[Record, dict[str, Any]]:
    """Return a record with what its container says of it, and the row of the table of videos."""
    path = crop_path(folder, record)
    with CropReader(path) as crops:
        facts, table = crops.facts, crops.table
    valid = table["valid"]
    sure, main = table["confidence"][valid], table["track"] == 0
    row = {"video": record.id, **facts, "rows": len(table["frame"]), "valid": float(valid.mean())}
    row |= {"no_face": float((~valid[main]).mean()), "interpolated": float((~table["detected"][valid]).mean())}
    row |= {"faces": len(np.unique(table["track"])), "least_confidence": float(sure.min()) if len(sure) else 0.0}
    assets = {**record.assets, "crops": path.relative_to(folder).as_posix(), **made_assets(record, folder)}
    return replace(record, fps=facts["fps"], frames=facts["frames"], assets=assets), row


def _warn_of_losses(records: Sequence[Record], failed: set[str]) -> None:
    for label, name in enumerate(("real", "fake")):
        of_class = [record.id for record in records if record.label == label]
        lost = sum(id in failed for id in of_class)
        if of_class and lost > len(of_class) / 2:
            log.warning(
                "%d of %d %s videos could not be used: look at %s before you train", lost, len(of_class), name, FAILURES
            )
