"""Runs side by side: one row per run and evaluated dataset, those on the sample kept apart."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from dfd.core.errors import DfdError
from dfd.evaluation.evaluate import Evaluation
from dfd.evaluation.report import METRICS, read_facts

log = logging.getLogger(__name__)

SHOWN = ("run", "model", "seed", "dataset", "AUC", "AP", "EER", "frame AUC", "videos")
SHORT = ("run", "model", "dataset", "AUC", "frame AUC")  # in the terminal, whose lines are short


def collect(runs: Sequence[Path]) -> pd.DataFrame:
    """Return a row per evaluation under the given run (or evaluation) folders, real data first, the best first."""
    rows = [row for run in runs for row in _evaluations(run)]
    if not rows:
        raise DfdError(f"no evaluation under {', '.join(map(str, runs))}: run eval.py on these runs first")
    return pd.DataFrame(rows).sort_values(["sample", "auc"], ascending=[True, False], kind="stable", ignore_index=True)


def comparison_table(table: pd.DataFrame) -> Table:
    """Return the comparison for the terminal."""
    shown = Table(title="Comparison", caption=_caption(table))
    for name in SHORT:
        shown.add_column(name, justify="right" if "AUC" in name else "left", overflow="fold", no_wrap=name != "run")
    for _, row in table.iterrows():
        shown.add_row(*(str(row[name]) for name in SHORT))
    return shown


def write_comparison(table: pd.DataFrame, folder: Path) -> Path:
    """Write `comparison.csv` and `comparison.md` into a folder; return the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "comparison.csv", index=False)
    lines = ["| " + " | ".join(SHOWN) + " |", "|" + "---|" * len(SHOWN)]
    lines += ["| " + " | ".join(str(row[name]) for name in SHOWN) + " |" for _, row in table.iterrows()]
    (folder / "comparison.md").write_text("\n".join(lines) + f"\n\n{_caption(table)}\n")
    return folder / "comparison.md"


def _evaluations(run: Path) -> Iterator[dict[str, Any]]:
    if not run.is_dir():
        raise DfdError(f"no run at {run}: give run folders (outputs/...)")
    found = [run / METRICS] if (run / METRICS).is_file() else sorted(run.glob(f"eval/*/{METRICS}"))
    if not found:
        log.warning("%s has no evaluation and is left out", run)
    for path in found:
        try:
            evaluation, facts = Evaluation.from_json(path.read_text()), read_facts(path.parent)
        except (ValueError, KeyError, TypeError, DfdError) as error:
            log.warning("%s is damaged and left out: %s", path, error)
            continue
        yield _row(evaluation, facts, path.parent)


def _row(evaluation: Evaluation, facts: dict[str, Any], folder: Path) -> dict[str, Any]:
    video = evaluation.video
    return {
        "run": facts.get("run", folder.parents[1].name),
        "model": facts.get("model", "?"),
        "seed": facts.get("seed", ""),
        "dataset": facts.get("dataset", folder.name),
        "AUC": str(video["auc"]),
        "AP": video["ap"].short(),
        "EER": video["eer"].short(),
        "frame AUC": evaluation.frame["auc"].short(),
        "videos": evaluation.counts["videos"],
        "sample": bool(facts.get("sample")),
        "auc": video["auc"].value,
        "auc_low": video["auc"].low,
        "auc_high": video["auc"].high,
        "overrides": " ".join(facts.get("overrides", [])),
    }


def _caption(table: pd.DataFrame) -> str:
    caption = "By video; brackets are 95 % group-bootstrap intervals."
    return caption + (" Rows on the rendered SAMPLE compare with no real ones." if table["sample"].any() else "")
