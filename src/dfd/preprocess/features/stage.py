"""Fill a store of features for every extractor: each file decoded once, resumable, what cannot be used counted."""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd

from dfd.core.build import OWN, Allowed, build
from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.records import Failure, Record
from dfd.data.features import ASSET, VIDEOS, FeatureStore, array_path, write_array, write_header
from dfd.preprocess.features.base import Extractor, digest
from dfd.preprocess.features.extract import described, extract
from dfd.preprocess.features.files import FeatureFiles
from dfd.preprocess.features.reduce import reduce_store
from dfd.preprocess.pipeline import FAILURES, MANIFEST, asset_path, in_shard, write_table
from dfd.preprocess.runner import Engine, Item, attempt, run, writing

log = logging.getLogger(__name__)

Tree = Mapping[str, Any]


@dataclass(frozen=True)
class FeatureOptions:
    """How features are made and kept.

    Args:
        extractors: `_target_` trees by a name of your own; a null leaves one out.
        dtype: of what is written; float16 halves it and costs handcrafted features nothing.
        pca: values to keep of every stream that has more, fitted on training videos; null: all.
        allow: what may be built.
    """

    extractors: Mapping[str, Tree]
    dtype: str = "float16"
    pca: int | None = None
    allow: Allowed = OWN


def prepare_features(
    records: Sequence[Record], folder: Path, options: FeatureOptions, engine: Engine | None = None
) -> tuple[Manifest, list[Failure]]:
    """Extract what is not extracted yet; return a manifest whose records name their stores, and what failed and why."""
    engine = engine or Engine()
    stores = open_stores(folder, options)
    failures = _extract(records, stores, options, engine) + _describe_files(records, stores)
    failed = {failure.video for failure in failures}
    usable = [record for record in records if record.id not in failed]
    if not usable:
        raise DfdError(f"no features of any of {len(records)} videos, the first because: {failures[0].detail}")
    for store in stores:
        if isinstance(store.extractor, FeatureFiles) or not _is_collected(store, usable):
            store.collect(usable)
    places = [store.folder for store in stores]
    if options.pca:
        places = [reduce_store(place, usable, options.pca, engine) for place in places]
    manifest = Manifest(tuple(_named(usable, places)), folder)
    with writing(folder):
        write_table([asdict(failure) for failure in failures], folder / FAILURES, list(Failure.__dataclass_fields__))
        manifest.write(folder / MANIFEST)
    return manifest, failures


def extract_shard(records: Sequence[Record], folder: Path, options: FeatureOptions, engine: Engine, shard: str) -> str:
    """Extract one share of a dataset, "i/n", and say how it went; shares may run side by side on several machines."""
    mine = [record for record in records if in_shard(record, shard)]
    failures = _extract(mine, open_stores(folder, options), options, engine) if mine else []
    reasons = ", ".join(f"{n} x {reason}" for reason, n in Counter(f.reason for f in failures).items())
    return f"shard {shard}: features of {len(mine) - len(failures)} videos, {reasons or 'none failed'}"


@dataclass(frozen=True)
class Store:
    """A store that is being filled."""

    folder: Path
    extractor: Extractor | FeatureFiles
    tree: Tree

    def facts(self, record: Record) -> Path:
        """Return where what is known of a record lies once all of its arrays are written."""
        return asset_path(self.folder, "facts", record.id, ".json")

    def collect(self, records: Sequence[Record]) -> None:
        """Write the table of all videos."""
        rows = [json.loads(self.facts(record).read_text()) for record in records]
        with writing(self.folder):
            write_table(rows, self.folder / VIDEOS)


def open_stores(folder: Path, options: FeatureOptions) -> list[Store]:
    """Build every extractor and the header of its store, in a folder whose name says what is in it."""
    stores, owner = [], dict[str, str]()
    for name, tree in options.extractors.items():
        if tree is None:
            continue
        extractor = build(tree, options.allow, "extractors")
        for stream in extractor.streams:
            if stream.name in owner:
                raise DfdError(f"both {owner[stream.name]} and {name} make a stream {stream.name!r}: keep one of them")
            owner[stream.name] = name
        known = digest({**extractor.identity, "dtype": options.dtype})
        place = folder / f"{name}-{known[:8]}"
        files = extractor if isinstance(extractor, FeatureFiles) else None
        more = {"dtype": options.dtype} if files is None else {"key": files.key, "transposed": files.transposed}
        write_header(place, tree, known, extractor.streams, **more)
        stores.append(Store(place, extractor, tree))
    if not stores:
        raise DfdError("data.features names no extractor")
    return stores


def _extract(
    records: Sequence[Record], stores: Sequence[Store], options: FeatureOptions, engine: Engine
) -> list[Failure]:
    """Run the extractors that have not seen a file yet over it; one decoding for all of them."""
    own = [store for store in stores if not isinstance(store.extractor, FeatureFiles)]
    items = []
    for record in records:
        _forget_changed(record, own)
        due = [store for store in own if not store.facts(record).is_file()] or own[-1:]
        given = {
            "stores": [(str(store.folder), json.dumps(store.tree, sort_keys=True)) for store in due],
            "dtype": options.dtype,
            "allow": options.allow,
            "limit": engine.limits,
        }
        if due:
            items.append(Item(record.id, Path(record.path), due[-1].facts(record), given))
    title = f"features of {records[0].dataset}" if records else ""
    return run("features", items, features_of, engine, title)


def features_of(items: Sequence[Item]) -> list[Failure]:
    """Extract the features of some files, in a worker."""
    results = (attempt("features", item, item.given["limit"], partial(_write, item)) for item in items)
    return [result for result in results if isinstance(result, Failure)]


def _write(item: Item) -> None:
    """Write the arrays of every store, and then what is known of the file: a store that has that has the arrays."""
    stores = [(Path(folder), _extractor(tree, item.given["allow"])) for folder, tree in item.given["stores"]]
    extracted = extract(item.source, [extractor for _, extractor in stores], item.given["dtype"])
    known = described(extracted) | {"video": item.video, "bytes": item.source.stat().st_size}
    for folder, extractor in stores:
        names = [stream.name for stream in extractor.streams]
        for name in names:
            write_array(array_path(folder, name, item.video), extracted.rows[name])
        files = {f"file.{n}": array_path(folder, n, item.video).relative_to(folder).as_posix() for n in names}
        own = {key: value for key, value in known.items() if not key.startswith("rows.") or key[5:] in names}
        _write_facts(asset_path(folder, "facts", item.video, ".json"), own | files)


@cache
def _extractor(tree: str, allow: Allowed) -> Extractor:
    """Build an extractor, once per process."""
    return build(json.loads(tree), allow, "extractors")


def _write_facts(path: Path, facts: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(facts))
    part.replace(path)


def _describe_files(records: Sequence[Record], stores: Sequence[Store]) -> list[Failure]:
    """Look at the files of others; what is missing or does not fit is a failure of its video."""
    failures = []
    for store in stores:
        if not isinstance(store.extractor, FeatureFiles):
            continue
        for record in records:
            try:
                _write_facts(store.facts(record), store.extractor.examine(record) | {"video": record.id})
            except DfdError as error:
                reason = "bad_features" if store.extractor.file(record).is_file() else "missing_features"
                failures.append(Failure(record.id, "features", reason, str(error)))
    return failures


def _forget_changed(record: Record, stores: Sequence[Store]) -> None:
    """Drop what is known of a file that has another size now; one that is gone keeps its features."""
    path = Path(record.path)
    for store in stores:
        facts = store.facts(record)
        if facts.is_file() and path.is_file() and json.loads(facts.read_text())["bytes"] != path.stat().st_size:
            log.warning("%s has changed: its features are extracted again", record.id)
            facts.unlink()
            (store.folder / VIDEOS).unlink(missing_ok=True)


def _is_collected(store: Store, records: Sequence[Record]) -> bool:
    path = store.folder / VIDEOS
    return path.is_file() and {r.id for r in records} <= set(pd.read_parquet(path, columns=["video"])["video"])


def _named(records: Sequence[Record], places: Sequence[Path]) -> list[Record]:
    """Return records with the stores of their streams, and with how long their videos are."""
    stores = [FeatureStore(place) for place in places]
    assets = {f"{ASSET}{name}": store.folder.name for store in stores for name in store.streams}
    named = []
    for record in records:
        known = next((row for store in stores if (row := store.videos[record.id]).get("frames")), None)
        fps, frames = (record.fps, record.frames) if known is None else (float(known["fps"]), int(known["frames"]))
        named.append(replace(record, assets={**record.assets, **assets}, fps=fps, frames=frames))
    return named
