"""From a `data=` choice to a checked manifest: the user's download, or the rendered sample where there is none."""

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfd.core.build import Allowed, build
from dfd.core.errors import DfdError
from dfd.core.locks import alone_in
from dfd.core.manifest import Manifest, check
from dfd.core.records import Failure, Record
from dfd.data.datasets.layout import collected_notes

if TYPE_CHECKING:
    from dfd.preprocess.runner import Engine

log = logging.getLogger("dfd")

SAMPLES = ("ffpp", "celebdf", "dfdc", "cddb", "temporal", "lavdf", "tvil", "fakeavceleb")
ONLY_RENDERED = ("temporal",)  # nobody can download these


@dataclass(frozen=True)
class Source:
    """Where a dataset's raw files are, and where its crops go; `sample` if it is the rendered stand-in."""

    name: str
    root: Path
    processed: Path
    sample: bool

    @property
    def tag(self) -> str:
        """The dataset's name as it appears in run names and tables."""
        return f"{self.name}-sample" if self.sample else self.name


@dataclass(frozen=True)
class Prepared:
    """A manifest ready for training, what could not be used, and what the report must say."""

    source: Source
    manifest: Manifest
    failures: list[Failure]
    notes: list[str]
    lost: list[Record]  # of the failures


def find_source(data: Mapping[str, Any], data_dir: Path) -> Source:
    """Decide between the given root, the usual place, and the sample."""
    name = data["name"]
    if Path(name).name != name or name in ("", ".", ".."):  # from the file of a run folder, perhaps
        raise DfdError(f"data.name={name!r} is not the plain name of a dataset")
    if data.get("parts"):
        parts = [find_source(part, data_dir) for part in data["parts"].values()]
        return Source(name, data_dir.absolute(), parts[0].processed.parent, any(part.sample for part in parts))
    usual = data_dir / name
    if data.get("root") is not None:
        root, sample = Path(data["root"]).expanduser(), False
    elif data.get("fetch") or (usual.is_dir() and any(usual.iterdir())):
        root, sample = usual, False
    elif name in SAMPLES:
        root, sample = data_dir / "sample" / name, True
    else:
        raise DfdError(f"no {data.get('title', name)} at {usual}: say where it is with data.root=/path")
    place = _place(data, name, root.absolute(), sample)
    processed = Path(data["processed"]) if data.get("processed") else data_dir / "processed" / place
    return Source(name, root.absolute(), processed.absolute(), sample)


def choose_data_dir(data: Mapping[str, Any], candidates: Sequence[Path]) -> Path:
    """Return the first folder of datasets that holds the crops of a dataset, else the first with its files.

    A run that was copied to another machine, or another checkout, names the folder of the one it was trained on.
    """
    sources = [(folder, _source_or_none(data, folder)) for folder in candidates]
    for holds in (_has_crops, _has_files):
        for folder, source in sources:
            if source is not None and holds(source):
                return folder
    return candidates[0]


def _has_crops(source: Source) -> bool:
    return any(source.processed.glob("*/manifest.parquet"))


def _has_files(source: Source) -> bool:
    return not source.sample and source.root.is_dir()


def _source_or_none(data: Mapping[str, Any], data_dir: Path) -> Source | None:
    try:
        return find_source(data, data_dir)
    except DfdError:
        return None


def prepare_data(
    data: Mapping[str, Any],
    data_dir: Path,
    allow: Allowed,
    crops: Mapping[str, Any] | None = None,
    engine: "Engine | None" = None,
) -> Prepared:
    """Index a dataset, check it, and cut its faces or extract its features where that is not done yet.

    The sample is rendered first if it is needed.
    """
    from dfd.preprocess.pipeline import prepare

    if data.get("parts"):
        return _combined(data, data_dir, allow, crops, engine)
    with indexed(data, data_dir, allow) as (source, records, notes):
        if data.get("features"):
            manifest, failures = _with_features(data["features"], records, source.processed / "features", allow, engine)
        # whole pictures need no cutting; faces that others have cut are read where they lie
        elif data["crops"] is None or all("crops" in record.assets for record in records):
            manifest, failures = Manifest(tuple(records), source.root), list[Failure]()
        else:
            options = build({**data["crops"], **(crops or {})}, allow, "crops")
            manifest, failures = prepare(records, source.processed / options.hash, options, engine=engine)
            if data.get("sound"):
                manifest, mute = _with_sound(manifest, engine)
                failures = failures + mute
    if failures:
        log.warning(
            "%d of %d videos of %s could not be used (listed in the report)", len(failures), len(records), source.tag
        )
    failed = {failure.video for failure in failures}
    return Prepared(source, manifest, failures, notes, [record for record in records if record.id in failed])


def _with_sound(manifest: Manifest, engine: "Engine | None") -> tuple[Manifest, list[Failure]]:
    """Decode the sound of every record; return those that have any, and why the others do not."""
    from dfd.preprocess.runner import Engine
    from dfd.preprocess.stages import REGISTRY, made_assets, run_stage

    failures = run_stage(REGISTRY["audio"], manifest, engine or Engine())
    heard = [replace(r, assets={**r.assets, **made_assets(r, manifest.folder)}) for r in manifest.records]
    return replace(manifest, records=tuple(r for r in heard if "audio" in r.assets)), failures


def _with_features(
    features: Mapping[str, Any],
    records: Sequence[Record],
    folder: Path,
    allow: Allowed,
    engine: "Engine | None",
) -> tuple[Manifest, list[Failure]]:
    from dfd.preprocess.features.stage import FeatureOptions, prepare_features

    return prepare_features(records, folder, FeatureOptions(**features, allow=allow), engine)


@contextmanager
def indexed(
    data: Mapping[str, Any], data_dir: Path, allow: Allowed, lock: bool = True
) -> Iterator[tuple[Source, list[Record], list[str]]]:
    """Hold a dataset and give its checked records; processes of one run, or runs of one sweep, wait for the first."""
    source = find_source(data, data_dir)
    with ExitStack() as held:
        if lock:
            held.enter_context(alone_in(source.processed))
        if source.sample:  # one of another seed or size is rendered in its place, but not while it is read
            held.enter_context(alone_in(source.root.parent, f".{source.name}.lock"))
            _render(source, data.get("sample") or {})
        elif data.get("fetch"):
            build(data["fetch"], allow, "fetch")(source.root)
        with collected_notes() as notes:
            records = list(build(data["index"], allow, "index")(source.root))
        if not records:
            raise DfdError(f"{source.name}: {source.root} holds no videos")
        notes += check(records, shared_groups=data["shared_groups"])
        for note in notes:
            log.warning(note)
        yield source, records, notes


def _combined(
    data: Mapping[str, Any],
    data_dir: Path,
    allow: Allowed,
    crops: Mapping[str, Any] | None,
    engine: "Engine | None",
) -> Prepared:
    """Prepare every part and put their records side by side; ids and groups carry the part's name."""
    common = {**data["crops"], **(crops or {})}
    parts = {name: prepare_data(part, data_dir, allow, common, engine) for name, part in data["parts"].items()}
    folder = Path(os.path.commonpath([part.manifest.folder for part in parts.values()]))
    records = [
        _of_part(record, name, part.manifest.folder.relative_to(folder))
        for name, part in parts.items()
        for record in part.manifest.records
    ]
    failures = [replace(f, video=f"{name}/{f.video}") for name, part in parts.items() for f in part.failures]
    notes = [note for part in parts.values() for note in part.notes]
    notes += check(records, shared_groups=data["shared_groups"])
    lost = [
        replace(r, id=f"{name}/{r.id}", group=f"{name}/{r.group}") for name, part in parts.items() for r in part.lost
    ]
    return Prepared(find_source(data, data_dir), Manifest(tuple(records), folder), failures, notes, lost)


def _of_part(record: Record, part: str, folder: Path) -> Record:
    files = {kind: path if kind == "numbering" else (folder / path).as_posix() for kind, path in record.assets.items()}
    original = None if record.original is None else f"{part}/{record.original}"
    donor = None if record.donor is None else f"{part}/{record.donor}"
    group = f"{part}/{record.group}"
    return replace(record, id=f"{part}/{record.id}", group=group, original=original, assets=files, donor=donor)


def _place(data: Mapping[str, Any], name: str, root: Path, sample: bool) -> str:
    """Name the folder of crops, so that those of another sample, compression or tree are never taken for these."""
    from dfd.data.sample import describe

    if sample:
        facts = describe(name, **(data.get("sample") or {}))
        count = facts.get("identities") or facts["pictures"]
        return f"{name}-sample-v{facts['version']}-seed{facts['seed']}-{count}"
    variant = str(data.get("variant") or "")
    if variant == "root":
        variant = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    return f"{name}-{variant}" if variant else name


def shuffled(manifest: Manifest, seed: int) -> Manifest:
    """Return a manifest whose train and val labels say nothing: what is learned from it must be worth nothing.

    Labels are redrawn within each split and class, the same share of fakes in both, so that no chance imbalance
    between the true classes is left to be learned. Who is called fake has the forged stretches of a random fake. The
    test split keeps its labels.
    """
    random = np.random.default_rng(seed)
    strata = {(r.split, r.label) for r in manifest.records if r.split != "test"}
    records = {record.id: record for record in manifest.records}
    for split, label in sorted(strata):
        share = np.mean([r.label for r in manifest.records if r.split == split])
        members = [r for r in manifest.records if (r.split, r.label) == (split, label)]
        labels = np.arange(len(members)) < round(share * len(members))
        stretches = [r.segments for r in manifest.records if r.split == split and r.segments]
        for record, new in zip(members, random.permutation(labels), strict=True):
            segments = stretches[random.integers(len(stretches))] if new and stretches else ()
            records[record.id] = replace(record, label=int(new), segments=segments)
    return Manifest(tuple(records.values()), manifest.folder)


def _render(source: Source, options: Mapping[str, Any]) -> None:
    from dfd.data.sample import build as build_sample

    build_sample(source.name, source.root, **options)
