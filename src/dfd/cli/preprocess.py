"""dfd-preprocess: cut the faces out of a dataset's videos, once."""

import logging
from collections import Counter
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from dfd.cli.app import allowed, command
from dfd.cli.datasets import Prepared, find_source, prepare_data
from dfd.cli.sample import banner
from dfd.core.build import check
from dfd.core.records import SPLITS

log = logging.getLogger("dfd")


def preprocess(cfg: DictConfig) -> None:
    """Index, cut faces, and show what there is and what was lost."""
    from dfd.preprocess.sheet import contact_sheet

    data = OmegaConf.to_container(cfg.data, resolve=True)
    assert isinstance(data, dict)
    check(data, allowed(cfg.plugins), "data")
    source = find_source(data, Path(cfg.paths.data_dir))  # type: ignore[arg-type]
    if source.sample:
        log.warning(banner(data["title"], source, {}))
    prepared = prepare_data(
        data,  # type: ignore[arg-type]
        Path(cfg.paths.data_dir),
        allowed(cfg.plugins),
        workers=cfg.workers,
        device=cfg.device,
    )
    console = Console()
    console.print(_summary(prepared))
    if data["crops"] is None:
        console.print("its pictures are taken as they are: there is nothing to cut")
        return
    sheet = contact_sheet(prepared.manifest, prepared.manifest.folder / "contact_sheet.png")
    console.print(f"manifest: {prepared.manifest.folder / 'manifest.parquet'}", soft_wrap=True)
    console.print(f"contact sheet, least certain faces first: {sheet}", soft_wrap=True)


def _summary(prepared: Prepared) -> Table:
    table = Table(title=f"{prepared.source.tag}: what there is")
    methods = sorted({record.method for record in prepared.manifest.records}, key=lambda m: (m != "real", m))
    for column in ("method", *SPLITS):
        table.add_column(column, justify="left" if column == "method" else "right")
    counts = Counter((record.method, record.split) for record in prepared.manifest.records)
    for method in methods:
        table.add_row(method, *(str(counts[method, split]) for split in SPLITS))
    reasons = Counter(failure.reason for failure in prepared.failures)
    table.caption = ", ".join(f"{count} x {reason}" for reason, count in reasons.items()) or "nothing was left out"
    return table


main = command("preprocess", preprocess)

if __name__ == "__main__":
    main()
