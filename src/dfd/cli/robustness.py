"""A run under corruption: score every kind and level, draw the curves."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from dfd.cli.app import allowed
from dfd.cli.reporting import touch
from dfd.core.build import build
from dfd.core.errors import DfdError
from dfd.core.records import Record

if TYPE_CHECKING:
    import pandas as pd

    from dfd.cli.datasets import Prepared
    from dfd.evaluation.protocol import Protocol
    from dfd.evaluation.robustness import Robustness
    from dfd.models.base import Detector

log = logging.getLogger("dfd")


def can_be_corrupted(records: "Sequence[Record]") -> None:
    """Refuse data whose full frames are not at hand: corruption comes before the face is cut out."""
    from dfd.data.video import IMAGE_SUFFIXES

    without = next((r for r in records if not str(r.assets.get("crops", "")).endswith(".zip")), None)
    if without is not None:
        raise DfdError(
            f"corruption= changes full frames of videos, of {without.dataset} there are only pictures or faces that "
            "others cut"
        )
    picture = next((r for r in records if Path(r.path).suffix.lower() in IMAGE_SUFFIXES), None)
    if picture is not None:
        raise DfdError(f"corruption= needs videos, of {picture.dataset} there are pictures, for one {picture.path}")


def robustness(
    cfg: DictConfig,
    folder: Path,
    data_cfg: Mapping[str, Any],
    prepared: "Prepared",
    network: "Detector",
    trainer: Mapping[str, Any],
    facts: Mapping[str, Any],
    protocol: "Protocol",
    run: Path | None = None,
) -> None:
    """Score a split under every corruption, and write `robustness.{json,md,html}` beside the clean report.

    Every look at a test split is noted with the `run`.
    """
    from dfd.core import predictions
    from dfd.evaluation.pages import render
    from dfd.evaluation.report import PREDICTIONS, SAMPLE
    from dfd.evaluation.robustness import curves, markdown
    from dfd.evaluation.robustness import robustness as compare

    clean, _ = predictions.read(folder / PREDICTIONS)
    folder = folder / f"corruption-{cfg.corruption.name}"
    tables: dict[tuple[str, int], pd.DataFrame] = {}
    levels = list(cfg.corruption.levels)
    for kind in cfg.corruption.kinds:
        for level, table in _tables(cfg, kind, data_cfg, prepared, network, trainer).items():
            meta = {key: str(facts[key]) for key in ("model", "run", "manifest")} | {"condition": f"{kind}-{level}"}
            predictions.write(table, folder / f"{kind}-{level}.parquet", meta)
            tables[kind, level] = table
            if run is not None and cfg.split == "test":
                place = {"dataset": str(facts["dataset"]), "condition": meta["condition"]}
                touch(run, place | {"command": str(facts["command"])}, None)
    found = compare(clean, tables, protocol)
    title = f"{facts['title']}: robustness"
    sample = f"{SAMPLE}\n\n" if facts.get("sample") else ""
    (folder / "robustness.json").write_text(found.to_json())
    (folder / "robustness.md").write_text(f"# {title}\n\n{sample}{markdown(found, levels)}", encoding="utf-8")
    page = render(
        "robustness",
        curves(found),
        title=title,
        found=found,
        facts={**facts, "split": cfg.split},
        protocol=protocol,
        levels=levels,
        videos=clean["video"].nunique(),
    )
    (folder / "robustness.html").write_text(page, encoding="utf-8")
    console = Console()
    console.print(_table(found, levels, title))
    console.print(f"report: {folder / 'robustness.html'}", soft_wrap=True)


def _tables(
    cfg: DictConfig,
    kind: str,
    data_cfg: Mapping[str, Any],
    prepared: "Prepared",
    network: "Detector",
    trainer: Mapping[str, Any],
) -> "dict[int, pd.DataFrame]":
    """Score one kind at all levels; its crops are made once, and deleted again where the user wants no copies."""
    from dfd.cli.eval import score
    from dfd.preprocess.corrupted import corrupted
    from dfd.training.scoring import prediction_table

    records, levels = prepared.manifest.split(cfg.split), list(cfg.corruption.levels)
    found = {}
    made = corrupted(records, prepared.manifest.folder, kind, levels, int(data_cfg["crops"]["size"]))
    for level, manifest in made.items():
        data = build(data_cfg["loader"], allowed(cfg.plugins))(manifest, network.input)
        log.info("%s, level %d", kind, level)
        found[level] = prediction_table(score(network, data, cfg.split, trainer), data.records(cfg.split))
        if not cfg.corruption.keep:
            shutil.rmtree(manifest.folder)
    return found


def _table(found: "Robustness", levels: list[int], title: str) -> Table:
    table = Table(title=title, caption=f"clean {found.clean}; mean corrupted AUC {found.mean}; loss {found.loss}")
    table.add_column("AUC at level", no_wrap=True)
    for name in (*map(str, levels), "mean"):
        table.add_column(name, justify="right", no_wrap=True)
    for kind, numbers in found.each.items():
        row = [numbers[level].short() if level in numbers else "-" for level in levels]
        table.add_row(kind, *row, found.kinds[kind].short())
    return table
