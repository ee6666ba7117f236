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
from dfd.core.build import allowed, build, check, locate
from dfd.core.errors import DfdError, did_you_mean
from dfd.core.manifest import Manifest
from dfd.core.records import SPLITS, Failure, Record
from dfd.preprocess.dataset import Prepared, Source, find_source, indexed, prepare_data

if TYPE_CHECKING:
    from dfd.preprocess.runner import Engine

log = logging.getLogger("dfd")

STAGES = ("probe", "detect", "track", "crop", "landmarks", "masks", "folds", "leakage")


def preprocess(cfg: DictConfig, _: Invocation | None = None) -> None:
    """Run the chosen stages, and show what there is and what was lost."""
    data = OmegaConf.to_container(cfg.data, resolve=True)
    assert isinstance(data, dict)
    allow = allowed(cfg.plugins)
    check(data, allow, "data")
    stages = _stages(cfg.stages)
    engine = _engine(cfg)
    data_dir = Path(cfg.paths.data_dir)
    source = find_source(data, data_dir)  # type: ignore[arg-type]
    if source.sample:
        log.warning(banner(data["title"], source, {}))
    if data["crops"] is None:
        prepared = prepare_data(data, data_dir, allow)  # type: ignore[arg-type]
        Console().print(_summary(prepared), "its pictures are taken as they are: there is nothing to cut", sep="\n")
        return
    parts = _parts(data)  # type: ignore[arg-type]
    console = Console()
    if "probe" in stages:
        for part in parts.values():
            probe(part, data_dir, allow, engine, console)
    if stages == ["probe"]:
        return
    if cfg.shard is not None or stages[-1] == "detect":
        for part in parts.values():
            share(part, data_dir, allow, engine, cfg.shard, stages, console)
        return
    prepared = prepare_data(data, data_dir, allow, engine=engine)  # type: ignore[arg-type]
    if {"landmarks", "masks"} & set(stages):
        more = []
        for name, part in parts.items():
            one = prepare_data(part, data_dir, allow, engine=engine) if name else prepared
            manifest, failures = _marks(one, stages, engine)
            more += [replace(f, video=f"{name}/{f.video}" if name else f.video) for f in failures]
        if data.get("parts"):  # side by side once more, with what they have now
            manifest = prepare_data(data, data_dir, allow, engine=engine).manifest  # type: ignore[arg-type]
        prepared = replace(prepared, manifest=manifest, failures=prepared.failures + more)
    _tables(prepared.manifest, stages, cfg.against, console)
    _show(prepared, console)


def _parts(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the datasets of a combination by name, with its choice of crops; one dataset has no name."""
    parts = data.get("parts")
    if not parts:
        return {"": data}
    return {name: {**part, "crops": {**part["crops"], **data["crops"]}} for name, part in parts.items()}


def probe(data: dict[str, Any], data_dir: Path, allow: tuple[str, ...], engine: "Engine", console: Console) -> None:
    """Compare a download with what its authors published; what keeps their protocol from being kept is an error."""
    from dfd.preprocess.doctor import compare, examine, problems

    index = data["index"]
    lenient = "allow_missing" in inspect.signature(locate(index["_target_"], allow)).parameters
    found = {**data, "index": {**index, "allow_missing": True} if lenient else index}
    with indexed(found, data_dir, allow) as (source, records, notes):
        table = examine(records, source.processed, engine)
    expected = {} if source.sample else _expected(data)
    rows = compare(records, expected)
    console.print(_found(source, rows, table))
    said = problems(rows, table)
    if lenient and not source.sample and not index.get("allow_missing"):
        said += _missing(index, allow, source)
    for line in (*said, *notes):
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
    allow: tuple[str, ...],
    engine: "Engine",
    shard: str | None,
    stages: list[str],
    console: Console,
) -> None:
    """Detect, or detect and cut, one share of a dataset; shares may run side by side on different machines."""
    from dfd.preprocess.pipeline import cut_faces, in_shard

    with indexed(data, data_dir, allow, lock=shard is None) as (source, records, _):
        options = build(data["crops"], allow)
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


def _marks(prepared: Prepared, stages: list[str], engine: "Engine") -> tuple[Manifest, list[Failure]]:
    """Add landmarks and masks to the crops of one dataset; return its manifest, brought up to date, and what failed."""
    from dfd.preprocess.pipeline import collect

    manifest, failures = prepared.manifest, list[Failure]()
    _refuse_others(manifest, {"landmarks", "masks"} & set(stages))
    if "landmarks" in stages:
        from dfd.preprocess.landmarks import find_landmarks

        failures += find_landmarks(manifest, engine)
    if "masks" in stages:
        from dfd.preprocess.masks import make_masks

        failures += make_masks(manifest, engine)
    bare = [replace(record, assets={}) for record in manifest.records]
    return collect(bare, manifest.folder, prepared.failures)[0], failures


def _refuse_others(manifest: Manifest, needing: set[str]) -> None:
    if needing and not all(record.assets["crops"].endswith(".zip") for record in manifest.records):
        raise DfdError(f"stages={min(needing)} works on crops that dfd has cut, not on faces that others have prepared")


def _tables(manifest: Manifest, stages: list[str], against: list[str], console: Console) -> None:
    """Write what sums up the crops."""
    from dfd.preprocess.pipeline import write_table

    _refuse_others(manifest, {"folds"} & set(stages))
    if "track" in stages:
        from dfd.preprocess.summary import tracks

        write_table(tracks(manifest), manifest.folder / "tracks.parquet")
        console.print(f"tracks: {manifest.folder / 'tracks.parquet'}", soft_wrap=True)
    if "folds" in stages:
        from dfd.preprocess.folds import write_folds

        console.print(f"folds: {write_folds(manifest, manifest.folder / 'folds.csv')}", soft_wrap=True)
    if "leakage" in stages:
        _leakage(manifest, against, console)


def _leakage(manifest: Manifest, against: list[str], console: Console) -> None:
    from dfd.preprocess.leakage import leaks
    from dfd.preprocess.pipeline import MANIFEST, write_table

    others = {folder: Manifest.read(Path(folder) / MANIFEST) for folder in against}
    table, said = leaks(manifest, others)
    write_table(table.to_dict("records"), manifest.folder / "leakage.parquet", list(table.columns))
    for line in said:
        console.print(f"leakage: {line}", highlight=False, soft_wrap=True)


def _show(prepared: Prepared, console: Console) -> None:
    from dfd.preprocess.sheet import write_page

    page = write_page(prepared.manifest, prepared.failures, prepared.source.tag, prepared.source.processed)
    console.print(_summary(prepared))
    console.print(f"manifest: {prepared.manifest.folder / 'manifest.parquet'}", soft_wrap=True)
    console.print(f"contact sheet, least certain faces first: {page}", soft_wrap=True)


def _stages(chosen: Any) -> list[str]:
    for stage in chosen:
        if stage not in STAGES:
            raise DfdError(f"stages={stage}: there are {', '.join(STAGES)}{did_you_mean(stage, STAGES)}")
    if not chosen:
        raise DfdError(f"stages is empty: choose from {', '.join(STAGES)}")
    return [stage for stage in STAGES if stage in chosen]


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


def _missing(index: dict[str, Any], allow: tuple[str, ...], source: Source) -> list[str]:
    """Return the index's own words on what is not there."""
    try:
        list(build({**index, "allow_missing": False}, allow)(source.root))
    except DfdError as error:
        return [str(error)]
    return []


def _found(source: Source, rows: list[tuple[str, str, int, int]], table: pd.DataFrame) -> Table:
    hours = (table["frames"] / table["fps"].where(table["fps"] > 0)).sum() / 3600
    title = f"{source.tag}: {len(table)} files, {table['bytes'].clip(0).sum() / 1e9:.1f} GB, {hours:.1f} h"
    shown = Table(title=title)
    for column in ("method", "split", "found", "published"):
        shown.add_column(column, justify="right" if column in ("found", "published") else "left")
    for method, split, found, published in rows:
        style = "red" if published >= 0 and found != published else ""
        shown.add_row(method, split, str(found), "" if published < 0 else str(published), style=style)
    return shown


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
    table.caption = ", ".join(f"{count} x {reason}" for reason, count in reasons.items()) or "nothing was left out"
    return table


main = command("preprocess", preprocess)

if __name__ == "__main__":
    main()
