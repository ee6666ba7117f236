"""From a `data=` choice to a checked manifest: the user's download, or the rendered sample where there is none."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from dfd.core.build import build
from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest, check
from dfd.core.records import Failure

log = logging.getLogger("dfd")

SAMPLES = ("ffpp", "celebdf", "cddb")


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


def find_source(data: Mapping[str, Any], data_dir: Path) -> Source:
    """Decide between the given root, the usual place, and the sample."""
    from dfd.data.sample import describe

    name = data["name"]
    usual = data_dir / name
    if data.get("root") is not None:
        root, sample = Path(data["root"]).expanduser(), False
    elif data.get("fetch") or (usual.is_dir() and any(usual.iterdir())):
        root, sample = usual, False
    elif name in SAMPLES:
        root, sample = data_dir / "sample" / name, True
    else:
        raise DfdError(f"no {data.get('title', name)} at {usual}: say where it is with data.root=/path")
    place = name
    if sample:  # crops of another sample must not be taken for those of this one
        facts = describe(name, **(data.get("sample") or {}))
        count = facts.get("identities") or facts["pictures"]
        place = f"{name}-sample-v{facts['version']}-seed{facts['seed']}-{count}"
    processed = Path(data["processed"]) if data.get("processed") else data_dir / "processed" / place
    return Source(name, root.absolute(), processed.absolute(), sample)


def prepare_data(
    data: Mapping[str, Any],
    data_dir: Path,
    allow: Sequence[str],
    crops: Mapping[str, Any] | None = None,
    workers: int | None = None,
    device: str = "cpu",
) -> Prepared:
    """Index a dataset, check it, and cut its faces where that is not done yet; render the sample first if needed."""
    from dfd.preprocess.pipeline import prepare

    source = find_source(data, data_dir)
    options = None if data["crops"] is None else build({**data["crops"], **(crops or {})}, allow)
    source.processed.mkdir(parents=True, exist_ok=True)
    with FileLock(source.processed / ".lock"):  # processes of one run, or runs of one sweep, wait for the first
        if source.sample:
            _render(source, data.get("sample") or {})
        elif data.get("fetch"):
            build(data["fetch"], allow)(source.root)
        records = list(build(data["index"], allow)(source.root))
        if not records:
            raise DfdError(f"{source.name}: {source.root} holds no videos")
        notes = check(records, shared_groups=data["shared_groups"])
        for note in notes:
            log.warning(note)
        if options is None:
            return Prepared(source, Manifest(tuple(records), source.root), [], notes)
        manifest, failures = prepare(records, source.processed / options.hash, options, workers=workers, device=device)
    if failures:
        log.warning(
            "%d of %d videos of %s could not be used (listed in the report)", len(failures), len(records), source.tag
        )
    return Prepared(source, manifest, failures, notes)


def shuffled(manifest: Manifest, seed: int) -> Manifest:
    """Return a manifest whose train and val labels say nothing: what is learned from it must be worth nothing.

    Labels are drawn anew within each split and class, the same share of fakes in both, so that no chance imbalance
    between the true classes is left to be learned. The test split keeps its labels.
    """
    random = np.random.default_rng(seed)
    strata = {(r.split, r.label) for r in manifest.records if r.split != "test"}
    records = {record.id: record for record in manifest.records}
    for split, label in sorted(strata):
        share = np.mean([r.label for r in manifest.records if r.split == split])
        members = [r for r in manifest.records if (r.split, r.label) == (split, label)]
        labels = np.arange(len(members)) < round(share * len(members))
        for record, new in zip(members, random.permutation(labels), strict=True):
            records[record.id] = replace(record, label=int(new))
    return Manifest(tuple(records.values()), manifest.folder)


def _render(source: Source, options: Mapping[str, Any]) -> None:
    from dfd.data.sample import build as build_sample

    build_sample(source.name, source.root, **options)
