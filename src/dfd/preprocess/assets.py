"""The stages of a command on one dataset: faces cut, assets made of them or of the media, or one share of the work."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dfd.core.build import Allowed, build
from dfd.core.manifest import Manifest
from dfd.core.records import Failure
from dfd.preprocess.dataset import Prepared, indexed, prepare_data
from dfd.preprocess.pipeline import MANIFEST, collect, cut_faces, in_shard
from dfd.preprocess.runner import Engine
from dfd.preprocess.stages import Stage, made_assets, run_stage

COLLECT = "when all shares are done, the same call without shard= collects the tables"


def parts_of(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the datasets of a combination by name, with its choice of crops; one dataset has no name."""
    parts = data.get("parts")
    if not parts:
        return {"": dict(data)}
    return {name: {**part, "crops": {**part["crops"], **data["crops"]}} for name, part in parts.items()}


def make_assets(
    data: Mapping[str, Any], stages: Sequence[Stage], data_dir: Path, allow: Allowed, engine: Engine
) -> Prepared:
    """Cut faces where a stage needs them, and make the assets of every stage, in each part of a combination."""
    making = [stage for stage in stages if stage.make is not None]
    if not any(stage.name == "crop" for stage in stages):
        return _of_media(data, making, data_dir, allow, engine)
    prepared = prepare_data(data, data_dir, allow, engine=engine)
    if not making:
        return prepared
    more: list[Failure] = []
    for name, part in parts_of(data).items():
        one = prepare_data(part, data_dir, allow, engine=engine) if name else prepared
        manifest, failures = _of_crops(one, making, engine)
        more += [replace(f, video=f"{name}/{f.video}" if name else f.video) for f in failures]
    if data.get("parts"):  # side by side once more, with what they have now
        manifest = prepare_data(data, data_dir, allow, engine=engine).manifest
    return replace(prepared, manifest=manifest, failures=prepared.failures + more)


def _of_crops(prepared: Prepared, making: Sequence[Stage], engine: Engine) -> tuple[Manifest, list[Failure]]:
    """Make assets from the crops of one dataset; return its manifest, brought up to date, and what failed."""
    manifest, failures = prepared.manifest, list[Failure]()
    for stage in making:
        failures += run_stage(stage, manifest, engine)
        bare = [replace(record, assets={}) for record in manifest.records]
        manifest = collect(bare, manifest.folder, prepared.failures)[0]
    return manifest, failures


def _of_media(
    data: Mapping[str, Any], making: Sequence[Stage], data_dir: Path, allow: Allowed, engine: Engine
) -> Prepared:
    """Make assets of the media files themselves, without cutting a face."""
    with indexed(data, data_dir, allow) as (source, records, notes):
        manifest, failures = Manifest(tuple(records), source.processed), list[Failure]()
        for stage in making:
            failures += run_stage(stage, manifest, engine)
            known = [replace(r, assets={**r.assets, **made_assets(r, manifest.folder)}) for r in manifest.records]
            manifest = replace(manifest, records=tuple(known))
        manifest.write(source.processed / MANIFEST)
    failed = {failure.video for failure in failures}
    return Prepared(source, manifest, failures, notes, [record for record in records if record.id in failed])


def work_share(
    data: Mapping[str, Any], data_dir: Path, allow: Allowed, engine: Engine, shard: str | None, detect_only: bool
) -> list[str]:
    """Detect, or detect and cut, one share of a dataset; return the lines to print.

    Shares may run side by side on different machines.
    """
    with indexed(data, data_dir, allow, lock=shard is None) as (source, records, _):
        options = build(data["crops"], allow, "crops")
        if all("crops" in record.assets for record in records):
            return [f"{source.tag}: its faces are cut already, and are read as they are"]
        mine = [record for record in records if in_shard(record, shard)]
        if not mine:
            return [f"{source.tag}: shard {shard} holds none of the {len(records)} videos"]
        failures = cut_faces(mine, source.processed / options.hash, options, engine, detect_only)
    reasons = ", ".join(f"{n} x {reason}" for reason, n in Counter(f.reason for f in failures).items()) or "none failed"
    what = "searched for faces" if detect_only else "cut"
    done = f"{source.tag}: shard {shard or '0/1'}: {len(mine) - len(failures)} videos {what}, {reasons}"
    return [done, COLLECT]


def work_share_of_features(
    data: Mapping[str, Any], data_dir: Path, allow: Allowed, engine: Engine, shard: str
) -> list[str]:
    """Extract the features of one share of a dataset; return the lines to print."""
    from dfd.preprocess.features.stage import FeatureOptions, extract_shard

    with indexed(data, data_dir, allow, lock=False) as (source, records, _):
        options = FeatureOptions(**data["features"], allow=allow)
        line = extract_shard(records, source.processed / "features", options, engine, shard)
    return [f"{source.tag}: {line}", COLLECT]
