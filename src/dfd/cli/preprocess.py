"""dfd-preprocess: from an official download to face crops, stage by stage."""

import inspect
import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dfd.cli.app import command
from dfd.cli.invocation import Invocation
from dfd.cli.sample_banner import banner
from dfd.core.build import Allowed, allowed, build, check, locate
from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.records import SPLITS, Failure, Record
from dfd.preprocess.dataset import Prepared, Source, find_source, indexed, prepare_data
from dfd.preprocess.stages import Stage, made_assets, plan, run_stage, summarise

if TYPE_CHECKING:
    from dfd.preprocess.runner import Engine

log = logging.getLogger("dfd")


def preprocess(cfg: DictConfig, _: Invocation | None = None) -> None:
    """Run the chosen stages, and show what there is and what was lost."""
    data = OmegaConf.to_container(cfg.data, resolve=True)
    assert isinstance(data, dict)
    allow = allowed(cfg.plugins)
    check(data, allow, "data")
    stages = plan(cfg.stages, cfg.plugins)
    names = [stage.name for stage in stages]
    engine = _engine(cfg)
    data_dir = Path(cfg.paths.data_dir)
    source = find_source(data, data_dir)  # type: ignore[arg-type]
    if source.sample:
        log.warning(banner(data["title"], source, {}))
    if data["crops"] is None and ("crop" in names or not any(stage.make or stage.summarise for stage in stages)):
        _whole(data, data_dir, allow, engine, cfg.shard)  # type: ignore[arg-type]
        return
    parts = _parts(data)  # type: ignore[arg-type]
    console = Console()
    if "probe" in names:
        for part in parts.values():
            probe(part, data_dir, allow, engine, console)
    if names == ["probe"]:
        return
    if cfg.shard is not None or names[-1] == "detect":
        for part in parts.values():
            share(part, data_dir, allow, engine, cfg.shard, names, console)
        return
    prepared = _with_assets(data, parts, stages, data_dir, allow, engine)  # type: ignore[arg-type]
    for stage in stages:
        for line in summarise(stage, prepared.manifest, {"against": list(cfg.against)}) if stage.summarise else ():
            console.print(line, highlight=False, soft_wrap=True)
    if "crop" in names:
        _show(prepared, console)
    else:
        console.print(_summary(prepared))


def _whole(data: dict[str, Any], data_dir: Path, allow: Allowed, engine: "Engine", shard: str | None) -> None:
    """Prepare a dataset of which no faces are cut: pictures as they are, or features over time."""
    console = Console()
    if data.get("features") and shard is not None:
        from dfd.preprocess.features.stage import FeatureOptions, extract_shard

        with indexed(data, data_dir, allow, lock=False) as (source, records, _):
            options = FeatureOptions(**data["features"], allow=allow)
            line = extract_shard(records, source.processed / "features", options, engine, shard)
        console.print(f"{source.tag}: {line}", "the same call without shard= collects the tables", sep="\n")
        return
    prepared = prepare_data(data, data_dir, allow, engine=engine)
    kept = f"features: {prepared.manifest.folder}" if data.get("features") else "pictures are taken as they are"
    console.print(_summary(prepared), kept, sep="\n", soft_wrap=True)


def _with_assets(
    data: dict[str, Any],
    parts: dict[str, dict[str, Any]],
    stages: list[Stage],
    data_dir: Path,
    allow: Allowed,
    engine: "Engine",
) -> Prepared:
    """Cut faces where a stage needs them, and make the assets of every stage, in each part of a combination."""
    making = [stage for stage in stages if stage.make is not None]
    if not any(stage.name == "crop" for stage in stages):
        return _of_media(data, making, data_dir, allow, engine)
    prepared = prepare_data(data, data_dir, allow, engine=engine)
    if not making:
        return prepared
    more: list[Failure] = []
    for name, part in parts.items():
        one = prepare_data(part, data_dir, allow, engine=engine) if name else prepared
        manifest, failures = _make(one, making, engine)
        more += [replace(f, video=f"{name}/{f.video}" if name else f.video) for f in failures]
    if data.get("parts"):  # side by side once more, with what they have now
        manifest = prepare_data(data, data_dir, allow, engine=engine).manifest
    return replace(prepared, manifest=manifest, failures=prepared.failures + more)


def _of_media(data: dict[str, Any], making: list[Stage], data_dir: Path, allow: Allowed, engine: "Engine") -> Prepared:
    """Make assets of the media files themselves, without cutting a face."""
    from dfd.preprocess.pipeline import MANIFEST

    with indexed(data, data_dir, allow) as (source, records, notes):
        manifest, failures = Manifest(tuple(records), source.processed), list[Failure]()
        for stage in making:
            failures += run_stage(stage, manifest, engine)
            known = [replace(r, assets={**r.assets, **made_assets(r, manifest.folder)}) for r in manifest.records]
            manifest = replace(manifest, records=tuple(known))
        manifest.write(source.processed / MANIFEST)
    failed = {failure.video for failure in failures}
    return Prepared(source, manifest, failures, notes, [record for record in records if record.id in failed])


def _parts(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the datasets of a combination by name, with its choice of crops; one dataset has no name."""
    parts = data.get("parts")
    if not parts:
        return {"": data}
    return {name: {**part, "crops": {**part["crops"], **data["crops"]}} for name, part in parts.items()}


def probe(data: dict[str, Any], data_dir: Path, allow: Allowed, engine: "Engine", console: Console) -> None:
    """Compare a download with what its authors published; what keeps their protocol from being kept is an error."""
    from dfd.preprocess.doctor import compare, examine, problems

    index = data["index"]
    lenient = "allow_missing" in inspect.signature(locate(index["_target_"], allow, "index")).parameters
    found = {**data, "index": {**index, "allow_missing": True} if lenient else index}
    with indexed(found, data_dir, allow) as (source, records, notes):
        table = examine(records, source.processed, engine)
    expected = {} if source.sample else _expected(data)
    rows = compare(records, expected)
    console.print(_found(source, rows, table))
    said = problems(rows, table)
    if lenient and not source.sample and not index.get("allow_missing"):
        missing = _missing(index, allow, source)
        notes = [note for note in notes if not missing or "is not complete" not in note]  # said once, with what to do
        said += missing
    in_table = {f"{method} {split}: {count} of {published}" for method, split, count, published in rows}
    for line in (*(line for line in said if line not in in_table), *notes):
        console.print(Text(line, "yellow"), soft_wrap=True)
    if said:
        raise DfdError(
            f"{data['title']} in {source.root} is not what was published ({len(said)} finding(s) above): "
            f"{data.get('get_it') or 'finish the download'}"
        )
    console.print(f"{source.tag}: complete, and every file can be read")


def share(
    data: dict[str, Any],
    data_dir: Path,
    allow: Allowed,
    engine: "Engine",
    shard: str | None,
    stages: list[str],
    console: Console,
) -> None:
    """Detect, or detect and cut, one share of a dataset; shares may run side by side on different machines."""
    from dfd.preprocess.pipeline import cut_faces, in_shard

    with indexed(data, data_dir, allow, lock=shard is None) as (source, records, _):
        options = build(data["crops"], allow, "crops")
        if all("crops" in record.assets for record in records):
            console.print(f"{source.tag}: its faces are cut already, and are read as they are")
            return
        mine = [record for record in records if in_shard(record, shard)]
        if not mine:
            console.print(f"{source.tag}: shard {shard} holds none of the {len(records)} videos")
            return
        detect_only = stages[-1] == "detect"
        failures = cut_faces(mine, source.processed / options.hash, options, engine, detect_only)
    reasons = ", ".join(f"{n} x {reason}" for reason, n in Counter(f.reason for f in failures).items()) or "none failed"
    what = "looked at" if detect_only else "cut"
    console.print(f"{source.tag}: shard {shard or '0/1'}: {len(mine) - len(failures)} videos {what}, {reasons}")
    console.print("when all shares are done, the same call without shard= collects the tables")


def _make(prepared: Prepared, making: list[Stage], engine: "Engine") -> tuple[Manifest, list[Failure]]:
    """Make assets from the crops of one dataset; return its manifest, brought up to date, and what failed."""
    from dfd.preprocess.pipeline import collect

    manifest, failures = prepared.manifest, list[Failure]()
    for stage in making:
        failures += run_stage(stage, manifest, engine)
        bare = [replace(record, assets={}) for record in manifest.records]
        manifest = collect(bare, manifest.folder, prepared.failures)[0]
    return manifest, failures


def _show(prepared: Prepared, console: Console) -> None:
    from dfd.preprocess.sheet import write_page

    page = write_page(prepared.manifest, prepared.failures, prepared.source.tag, prepared.source.processed)
    console.print(_summary(prepared))
    console.print(f"manifest: {prepared.manifest.folder / 'manifest.parquet'}", soft_wrap=True)
    console.print(f"contact sheet, least certain faces first: {page}", soft_wrap=True)


def _engine(cfg: DictConfig) -> "Engine":
    from dfd.preprocess.runner import Engine

    if cfg.launcher not in ("local", "ray"):
        raise DfdError(f"launcher={cfg.launcher}: choose local or ray")
    return Engine(cfg.workers, cfg.device, cfg.launcher, cfg.address, cfg.limit)


def _expected(data: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Return the published counts of those methods that the index is asked for."""
    asked = data["index"].get("methods")
    told = data.get("expected") or {}
    return {method: n for method, n in told.items() if asked is None or method in ("real", "fake", *asked)}


def _missing(index: dict[str, Any], allow: Allowed, source: Source) -> list[str]:
    """Return the index's own words on what is not there."""
    try:
        list(build({**index, "allow_missing": False}, allow, "index")(source.root))
    except DfdError as error:
        return [str(error)]
    return []


def _found(source: Source, rows: list[tuple[str, str, int, int]], table: pd.DataFrame) -> Table:
    seconds = float((table["frames"] / table["fps"].where(table["fps"] > 0)).sum())
    title = f"{source.tag}: {len(table)} files, {readable_size(table['bytes'].clip(0).sum())}, {readable_time(seconds)}"
    shown = Table(title=title)
    for column in ("method", "split", "found", "published"):
        shown.add_column(column, justify="right" if column in ("found", "published") else "left")
    for method, split, found, published in rows:
        style = "red" if published >= 0 and found != published else ""
        shown.add_row(method, split, str(found), "" if published < 0 else str(published), style=style)
    return shown


def readable_size(count: float) -> str:
    """Return bytes in the unit that suits them."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"


def readable_time(seconds: float) -> str:
    """Return seconds in the unit that suits them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _summary(prepared: Prepared) -> Table:
    table = Table(title=f"{prepared.source.tag}: what there is")
    records: tuple[Record, ...] = prepared.manifest.records
    methods = sorted({record.method for record in records}, key=lambda m: (m != "real", m))
    for column in ("method", *SPLITS):
        table.add_column(column, justify="left" if column == "method" else "right")
    counts = Counter((record.method, record.split) for record in records)
    for method in methods:
        table.add_row(method, *(str(counts[method, split]) for split in SPLITS))
    reasons = Counter(failure.reason for failure in prepared.failures)
    lost = [f"{count} x {reason}" for reason, count in reasons.items()]
    examples = f", e.g. {', '.join(failure.video for failure in prepared.failures[:3])}" if lost else ""
    notes = "".join(f"\n{note}" for note in prepared.notes)
    table.caption = (", ".join(lost) + examples or "every file that is there was used") + notes
    return table


main = command("preprocess", preprocess)

if __name__ == "__main__":
    main()
