"""dfd-preprocess: from an official download to face crops, stage by stage."""

import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from rich import filesize
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dfd.cli.app import command
from dfd.cli.invocation import Invocation
from dfd.cli.sample_banner import banner
from dfd.core.build import Allowed, allowed, check
from dfd.core.errors import DfdError
from dfd.core.records import SPLITS, Record
from dfd.core.text import readable_time
from dfd.preprocess.dataset import Prepared, find_source, prepare_data
from dfd.preprocess.stages import plan, summarise

if TYPE_CHECKING:
    from dfd.preprocess.diagnosis import Diagnosis
    from dfd.preprocess.runner import Engine

log = logging.getLogger("dfd")


def preprocess(cfg: DictConfig, _: Invocation | None = None) -> None:
    """Run the chosen stages, and show what there is and what was lost."""
    from dfd.preprocess.assets import make_assets, parts_of, work_share

    data: dict[str, Any] = OmegaConf.to_container(cfg.data, resolve=True)  # type: ignore[assignment]
    allow, data_dir = allowed(cfg.plugins), Path(cfg.paths.data_dir)
    check(data, allow, "data")
    stages = plan(cfg.stages, cfg.plugins)
    names = [stage.name for stage in stages]
    engine, console = _engine(cfg), Console()
    source = find_source(data, data_dir)
    if source.sample:
        log.warning(banner(data["title"], source, {}))
    if data["crops"] is None and ("crop" in names or not any(stage.make or stage.summarise for stage in stages)):
        _without_faces(data, data_dir, allow, engine, cfg.shard, console)
        return
    parts = parts_of(data)
    if "probe" in names:
        for part in parts.values():
            _probe(part, data_dir, allow, engine, console)
    if names == ["probe"]:
        return
    if cfg.shard is not None or names[-1] == "detect":
        for part in parts.values():
            lines = work_share(part, data_dir, allow, engine, cfg.shard, names[-1] == "detect")
            console.print(*lines, sep="\n")
        return
    prepared = make_assets(data, stages, data_dir, allow, engine)
    for stage in stages:
        for line in summarise(stage, prepared.manifest, {"against": list(cfg.against)}) if stage.summarise else ():
            console.print(line, highlight=False, soft_wrap=True)
    console.print(_summary(prepared))
    if "crop" in names:
        _sheet(prepared, console)


def _engine(cfg: DictConfig) -> "Engine":
    from dfd.preprocess.runner import Engine

    if cfg.launcher not in ("local", "ray"):
        raise DfdError(f"launcher={cfg.launcher}: choose local or ray")
    return Engine(cfg.workers, cfg.device, cfg.launcher, cfg.address, cfg.limit, int(cfg.memory * 2**30))


def _without_faces(
    data: dict[str, Any], data_dir: Path, allow: Allowed, engine: "Engine", shard: str | None, console: Console
) -> None:
    """Prepare a dataset of which no faces are cut: pictures as they are, or features over time."""
    from dfd.preprocess.assets import work_share_of_features

    if data.get("features") and shard is not None:
        console.print(*work_share_of_features(data, data_dir, allow, engine, shard), sep="\n")
        return
    prepared = prepare_data(data, data_dir, allow, engine=engine)
    kept = f"features: {prepared.manifest.folder}" if data.get("features") else "pictures are taken as they are"
    console.print(_summary(prepared), kept, sep="\n", soft_wrap=True)


def _probe(data: dict[str, Any], data_dir: Path, allow: Allowed, engine: "Engine", console: Console) -> None:
    """Compare a download with what its authors published; what keeps their protocol from being kept is an error."""
    from dfd.preprocess.diagnosis import diagnose

    found = diagnose(data, data_dir, allow, engine)
    console.print(_counts(found))
    for line in found.remarks:
        console.print(Text(line, "yellow"), soft_wrap=True)
    if found.problems:
        raise DfdError(
            f"{data['title']} in {found.source.root} is not what was published ({len(found.problems)} finding(s) "
            f"above): {data.get('get_it') or 'finish the download'}"
        )
    console.print(f"{found.source.tag}: complete, and every file can be read")


def _counts(found: "Diagnosis") -> Table:
    files = found.files
    seconds = float((files["frames"] / files["fps"].where(files["fps"] > 0)).sum())
    size, length = filesize.decimal(int(files["bytes"].clip(0).sum())), readable_time(seconds)
    table = Table(title=f"{found.source.tag}: {len(files)} files, {size}, {length}")
    for column in ("method", "split", "found", "published"):
        table.add_column(column, justify="right" if column in ("found", "published") else "left")
    for method, split, count, published in found.counts:
        style = "red" if published >= 0 and count != published else ""
        table.add_row(method, split, str(count), "" if published < 0 else str(published), style=style)
    return table


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


def _sheet(prepared: Prepared, console: Console) -> None:
    from dfd.preprocess.sheet import write_page

    page = write_page(prepared.manifest, prepared.failures, prepared.source.tag, prepared.source.processed)
    console.print(f"manifest: {prepared.manifest.folder / 'manifest.parquet'}", soft_wrap=True)
    console.print(f"contact sheet, least certain faces first: {page}", soft_wrap=True)


main = command("preprocess", preprocess)

if __name__ == "__main__":
    main()
