"""The registry of preprocessing stages: what each needs, what it makes, and how it is run on one record.

`stages=` names entries of it. A plugin package registers its own (`register`), or is named by the dotted path of a
`Stage`: stages=[crop,mylab.quality.SHARPNESS] plugins=[mylab].
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from dfd.core.errors import DfdError, did_you_mean
from dfd.core.manifest import Manifest
from dfd.core.records import Failure, Record
from dfd.preprocess.asset_files import asset_path
from dfd.preprocess.runner import Engine, Item, attempt, run


@dataclass(frozen=True)
class Task:
    """One record's share of a stage.

    Args:
        record: with the assets that were made before.
        folder: that the paths of assets start from.
        target: the file to write; it gets its name once it is whole.
        device: for networks.
        options: of the command, such as `against`.
    """

    record: Record
    folder: Path
    target: Path
    device: str = "cpu"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def media(self) -> Path:
        """The media file itself."""
        return Path(self.record.path)

    def asset(self, kind: str) -> Path:
        """Return where an asset of the record lies."""
        return self.folder / self.record.assets[kind]


@dataclass(frozen=True)
class Summary:
    """All records of a dataset, for a stage that writes one table of them."""

    manifest: Manifest
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """One step of preprocessing.

    Functions may be dotted paths, "package.module:function", which are imported where they run. A stage that makes an
    asset is run on every record in parallel, resumed where it stopped, and counts what failed; one that summarises is
    run once, after all assets. The stages of raw files (probe, detect, crop) do neither: they prepare the dataset.

    Args:
        name: in `stages=`, and of the asset that it makes.
        help: what it is for, in a few words.
        needs: stages that come before; they run too where they have not.
        suffix: of the file that it makes of a record.
        make: writes `task.target` from a `Task`.
        applies: whether a record (`Record`, folder) has such an asset; None: every one.
        after: takes the finished records with their files, for what is to be said about all of them.
        summarise: writes a table from a `Summary` and returns the lines to print.
        chunk: records per job of a worker.
        own_crops: whether it reads crops that dfd has cut, and not faces that others have prepared.
    """

    name: str
    help: str
    needs: tuple[str, ...] = ()
    suffix: str = ""
    make: str | Callable[[Task], None] | None = None
    applies: str | Callable[[Record, Path], bool] | None = None
    after: str | Callable[[Sequence[tuple[Record, Path]]], None] | None = None
    summarise: str | Callable[[Summary], Sequence[str]] | None = None
    chunk: int = 1
    own_crops: bool = False


REGISTRY: dict[str, Stage] = {}


def register(stage: Stage) -> Stage:
    """Add a stage to those that `stages=` knows; the same name again replaces it."""
    REGISTRY[stage.name] = stage
    return stage


def plan(chosen: Sequence[str], plugins: Sequence[str] = ()) -> list[Stage]:
    """Return the chosen stages and those that they need, each after what it needs; `plugins` may bring their own."""
    if not chosen:
        raise DfdError(f"stages is empty: choose from {', '.join(REGISTRY)}")
    for plugin in plugins:
        _import(plugin)  # where it registers its stages
    wanted: dict[str, Stage] = {}

    def add(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise DfdError(f"stages need each other in a circle: {' -> '.join((*path, name))}")
        stage = _find(name, plugins)
        for needed in stage.needs:
            add(needed, (*path, name))
        wanted.setdefault(stage.name, stage)

    for name in sorted(chosen, key=lambda name: list(REGISTRY).index(name) if name in REGISTRY else len(REGISTRY)):
        add(name, ())
    return list(wanted.values())


def _find(name: str, plugins: Sequence[str]) -> Stage:
    if name in REGISTRY:
        return REGISTRY[name]
    module, _, attribute = name.rpartition(".")
    if not any(f"{module}.".startswith(f"{plugin}.") for plugin in plugins):
        raise DfdError(f"stages={name}: there are {', '.join(REGISTRY)}{did_you_mean(name, REGISTRY)}")
    stage = getattr(_import(module), attribute, None)
    if not isinstance(stage, Stage):
        raise DfdError(f"stages={name}: {module} has no dfd.preprocess.stages.Stage of that name")
    return register(stage)


def _import(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise DfdError(f"cannot import {module!r}, which plugins= or stages= names: {error}") from error


def run_stage(
    stage: Stage, manifest: Manifest, engine: Engine, options: Mapping[str, Any] | None = None
) -> list[Failure]:
    """Make the asset of every record that has none yet; return what failed and why."""
    refuse_prepared(stage, manifest)
    applies = _function(stage.applies)
    items, finished = [], []
    for record in manifest.records:
        if applies is not None and not applies(record, manifest.folder):
            continue
        target = asset_path(manifest.folder, stage.name, record.id, stage.suffix)
        task = Task(record, manifest.folder, target, engine.device, options or {})
        given = {"stage": stage.name, "make": stage.make, "task": task, "limit": engine.limits}
        items.append(Item(record.id, _source(record, manifest.folder), target, given))
        finished.append((record, target))
    failures = run(stage.name, items, run_tasks, engine, stage.name, stage.chunk)
    after = _function(stage.after)
    if after is not None:
        after([(record, target) for record, target in finished if target.is_file()])
    return failures


def run_tasks(items: Sequence[Item]) -> list[Failure]:
    """Run a stage on some records, in a worker."""
    results = []
    for item in items:
        make: Any = _function(item.given["make"])
        work = partial(_made_whole, make, item.given["task"])
        results.append(attempt(item.given["stage"], item, item.given["limit"], work))
    return [result for result in results if isinstance(result, Failure)]


def _made_whole(make: Callable[[Task], None], task: Task) -> None:
    """Make a file under another name beside its own: a kill or a failure leaves no half of it."""
    part = task.target.with_name(f".{task.target.stem}.part{task.target.suffix}")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        make(replace(task, target=part))
        if part.is_file():
            part.replace(task.target)
    finally:
        part.unlink(missing_ok=True)


def summarise(stage: Stage, manifest: Manifest, options: Mapping[str, Any] | None = None) -> list[str]:
    """Write a stage's table of all records; return the lines to print."""
    refuse_prepared(stage, manifest)
    function: Any = _function(stage.summarise)
    return list(function(Summary(manifest, options or {})))


def refuse_prepared(stage: Stage, manifest: Manifest) -> None:
    """Refuse faces that others have prepared where a stage reads the crops that dfd cuts."""
    if stage.own_crops and not all(record.assets.get("crops", "").endswith(".zip") for record in manifest.records):
        raise DfdError(f"stages={stage.name} works on crops that dfd has cut, not on faces that others have prepared")


def made_assets(record: Record, folder: Path) -> dict[str, str]:
    """Return the assets that registered stages have made of a record, by paths relative to the folder."""
    paths = {stage.name: asset_path(folder, stage.name, record.id, stage.suffix) for stage in asset_stages()}
    return {name: path.relative_to(folder).as_posix() for name, path in paths.items() if path.is_file()}


def asset_stages() -> list[Stage]:
    """Return the registered stages that make an asset of every record."""
    return [stage for stage in REGISTRY.values() if stage.make is not None]


def _source(record: Record, folder: Path) -> Path:
    """Return the file whose change or absence decides whether a record is tried: its crops, else the media file."""
    return folder / record.assets["crops"] if "crops" in record.assets else Path(record.path)


def _function(named: str | Callable[..., Any] | None) -> Callable[..., Any] | None:
    if not isinstance(named, str):
        return named
    module, _, name = named.partition(":")
    return getattr(importlib.import_module(module), name)


HERE = "dfd.preprocess."
register(Stage("probe", "compare a download with what its authors published, and read every file"))
register(Stage("detect", "look for faces, and keep where they are"))
register(Stage("crop", "cut the faces out", needs=("detect",)))
register(
    Stage(
        "audio",
        "the sound of every video, on the clock of its pictures",
        suffix=".npy",
        make=f"{HERE}sound:write_sound",
    )
)
register(
    Stage(
        "landmarks",
        "five points of the face on every stored crop",
        needs=("crop",),
        suffix=".npy",
        make=f"{HERE}landmarks:write_landmarks",
        chunk=4,
        own_crops=True,
    )
)
register(
    Stage(
        "masks",
        "what a forgery changed, against its original or from the dataset's mask videos",
        needs=("crop",),
        suffix=".zip",
        make=f"{HERE}masks:write_masks",
        applies=f"{HERE}masks:has_source",
        after=f"{HERE}masks:warn_of_untouched",
        chunk=4,
        own_crops=True,
    )
)
register(Stage("features", "features over time of datasets with forged stretches, see data/features="))
register(
    Stage("track", "who is in a video, from when to when", needs=("crop",), summarise=f"{HERE}summary:write_tracks")
)
register(
    Stage(
        "folds",
        "folds.csv for code of the DFDC winner",
        needs=("crop",),
        summarise=f"{HERE}folds:summarise_folds",
        own_crops=True,
    )
)
register(
    Stage(
        "leakage",
        "near-duplicates across splits and datasets",
        needs=("crop",),
        summarise=f"{HERE}leakage:write_leaks",
    )
)
