"""The stage `audio`: the sound of every video beside its faces, on the clock of its pictures."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dfd.core.manifest import Manifest
from dfd.core.records import Failure, Record
from dfd.data.audio import SILENCE, read_sound
from dfd.data.headers import BadVideo
from dfd.preprocess.pipeline import asset_path
from dfd.preprocess.runner import Engine, Item, attempt, run

KIND, SUFFIX = "audio", ".npy"


def make_sound(manifest: Manifest, engine: Engine | None = None) -> tuple[Manifest, list[Failure]]:
    """Decode the sound of every record; return those that have any, and why the others have not."""
    engine = engine or Engine()
    folder = manifest.folder
    items = [_item(folder, record, engine) for record in manifest.records]
    waiting = [item for item in items if not item.target.is_file()]
    dataset = manifest.records[0].dataset if manifest.records else ""
    failures = run(KIND, waiting, listen, engine, f"sound of {dataset}") if waiting else []
    failed = {failure.video for failure in failures}
    records = tuple(_with_sound(record, folder) for record in manifest.records if record.id not in failed)
    return Manifest(records, folder), failures


def listen(items: Sequence[Item]) -> list[Failure]:
    """Decode some files in a worker."""
    failures = []
    for item in items:
        result = attempt(KIND, item, item.given["limit"], functools.partial(_write, item))
        if isinstance(result, Failure):
            failures.append(result)
    return failures


def _write(item: Item) -> None:
    sound = read_sound(item.source)
    if sound.silent:
        raise BadVideo(f"{item.source}: its sound is silent (below {20 * np.log10(SILENCE):.0f} dB)", "silent")
    item.target.parent.mkdir(parents=True, exist_ok=True)
    part = item.target.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, np.round(sound.samples.clip(-1, 1) * 32767).astype(np.int16), allow_pickle=False)
    part.replace(item.target)


def _item(folder: Path, record: Record, engine: Engine) -> Item:
    target = asset_path(folder, KIND, record.id, SUFFIX)
    return Item(record.id, Path(record.path), target, {"limit": engine.limit})


def _with_sound(record: Record, folder: Path) -> Record:
    path = asset_path(folder, KIND, record.id, SUFFIX).relative_to(folder).as_posix()
    return replace(record, assets={**record.assets, KIND: path})
