"""A run under corruption: every kind and level scored, with the curves and pages that show it."""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from dfd.core import predictions
from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.records import Record
from dfd.core.run_folder import log_access
from dfd.data.corrupt import TALKING
from dfd.data.kinds import is_image
from dfd.evaluation.pages import render
from dfd.evaluation.protocol import Protocol
from dfd.evaluation.report import PREDICTIONS, SAMPLE
from dfd.evaluation.robustness import Robustness, curves, markdown
from dfd.evaluation.robustness import robustness as compare
from dfd.preprocess.corrupted import corrupted

log = logging.getLogger("dfd")

ScoreManifest = Callable[[Manifest], pd.DataFrame]  # a prediction table of the split under evaluation


@dataclass(frozen=True)
class Corruptions:
    """What is done to a split's videos before their faces are cut.

    Args:
        name: of the set, and of the report's folder.
        kinds: kinds of corruption, each at every level.
        levels: strengths, 1 to 5.
        keep: whether the corrupted crops stay on disk.
        size: side of the crops in pixels.
    """

    name: str
    kinds: Sequence[str]
    levels: Sequence[int]
    keep: bool
    size: int


def refuse_uncorruptible(records: Sequence[Record], kinds: Sequence[str] = ()) -> None:
    """Refuse data without full frames, since corruption comes before the face is cut out, or without sound."""
    silent = next((r for r in records if "audio" not in r.assets), None)
    sounds = [kind for kind in kinds if kind in TALKING]
    if silent is not None and sounds:
        raise DfdError(f"corruption.kinds={sounds} change sound, and this run does not hear {silent.dataset}")
    without = next((r for r in records if not str(r.assets.get("crops", "")).endswith(".zip")), None)
    if without is not None:
        raise DfdError(
            f"corruption= changes full frames of videos, of {without.dataset} there are only pictures or faces that "
            "others cut"
        )
    picture = next((r for r in records if is_image(Path(r.path))), None)
    if picture is not None:
        raise DfdError(f"corruption= needs videos, of {picture.dataset} there are pictures, e.g. {picture.path}")


def robustness(
    corruptions: Corruptions,
    score: ScoreManifest,
    manifest: Manifest,
    split: str,
    folder: Path,
    facts: Mapping[str, Any],
    protocol: Protocol,
    run: Path | None = None,
) -> None:
    """Score a split under every corruption, and write `robustness.{json,md,html}` beside the clean report.

    Args:
        corruptions: kinds and levels.
        score: scores the split of a manifest with the run's network.
        manifest: the clean videos and their crops.
        split: the split under evaluation.
        folder: of the clean report, whose prediction table is compared with.
        facts: what the reports say of the run.
        protocol: how predictions become numbers.
        run: the run folder, which logs every evaluation of a test split; None logs nothing.
    """
    clean, _ = predictions.read(folder / PREDICTIONS)
    folder = folder / f"corruption-{corruptions.name}"
    tables: dict[tuple[str, int], pd.DataFrame] = {}
    for kind in corruptions.kinds:
        for level, table in _score_levels(corruptions, kind, score, manifest, split).items():
            meta = {key: str(facts[key]) for key in ("model", "run", "manifest")} | {"condition": f"{kind}-{level}"}
            predictions.write(table, folder / f"{kind}-{level}.parquet", meta)
            tables[kind, level] = table
            if run is not None and split == "test":
                place = {"dataset": str(facts["dataset"]), "condition": meta["condition"]}
                log_access(run, place | {"command": str(facts["command"])}, None)
    found = compare(clean, tables, protocol)
    title = f"{facts['title']}: robustness"
    _write(folder, found, title, list(corruptions.levels), {**facts, "split": split}, protocol, clean)
    console = Console()
    console.print(_table(found, list(corruptions.levels), title))
    console.print(f"report: {folder / 'robustness.html'}", soft_wrap=True)


def _score_levels(
    corruptions: Corruptions, kind: str, score: ScoreManifest, manifest: Manifest, split: str
) -> dict[int, pd.DataFrame]:
    """Score one kind at all levels; its crops are made once, and deleted again where no copies are wanted."""
    found = {}
    made = corrupted(manifest.split(split), manifest.folder, kind, list(corruptions.levels), corruptions.size)
    for level, changed in made.items():
        log.info("%s, level %d", kind, level)
        found[level] = score(changed)
        if not corruptions.keep:
            shutil.rmtree(changed.folder)
    return found


def _write(
    folder: Path,
    found: Robustness,
    title: str,
    levels: list[int],
    facts: Mapping[str, Any],
    protocol: Protocol,
    clean: pd.DataFrame,
) -> None:
    sample = f"{SAMPLE}\n\n" if facts.get("sample") else ""
    (folder / "robustness.json").write_text(found.to_json())
    (folder / "robustness.md").write_text(f"# {title}\n\n{sample}{markdown(found, levels)}", encoding="utf-8")
    videos = clean["video"].nunique()
    context = {"title": title, "found": found, "facts": facts, "protocol": protocol, "levels": levels, "videos": videos}
    (folder / "robustness.html").write_text(render("robustness", curves(found), **context), encoding="utf-8")


def _table(found: Robustness, levels: list[int], title: str) -> Table:
    table = Table(title=title, caption=f"clean {found.clean}; mean corrupted AUC {found.mean}; loss {found.loss}")
    table.add_column("AUC at level", no_wrap=True)
    for name in (*map(str, levels), "mean"):
        table.add_column(name, justify="right", no_wrap=True)
    for kind, numbers in found.each.items():
        row = [numbers[level].short() if level in numbers else "-" for level in levels]
        table.add_row(kind, *row, found.kinds[kind].short())
    return table
