"""Evaluation of restorers: how much closer to the clean pictures a split's degraded ones came."""

import json
import time

from rich.console import Console
from rich.table import Table

from dfd.core.process_group import is_first
from dfd.core.resources import Cost
from dfd.core.run_folder import write_facts
from dfd.runs.evaluation import Evaluated, Task
from dfd.training.pair_scoring import PairScoring, means
from dfd.training.run_split import score_split

METRICS, TABLE = "metrics.json", "restored.parquet"


def validate(task: Task) -> None:
    """Decide nothing: a restorer has no operating point."""


def evaluate(task: Task) -> Evaluated | None:
    """Restore a split and report PSNR, SSIM and edges, before and after."""
    started, cost = time.time(), Cost()
    rows = score_split(task.loaded.network, task.data, task.split, task.trainer)
    if not is_first():
        return None
    task.folder.mkdir(parents=True, exist_ok=True)
    found = means(rows)
    facts = {"split": task.split, "seconds": round(time.time() - started, 1), "cost": cost.words(), **task.facts}
    write_facts(task.folder, facts)
    PairScoring(task.loaded.network).table(rows, task.data.records(task.split)).to_parquet(
        task.folder / TABLE, index=False
    )
    (task.folder / METRICS).write_text(json.dumps({**found, "pictures": len(rows.video)}, indent=2))
    table = Table("measure", "degraded", "restored", "gain", title=str(task.facts.get("title", task.folder.name)))
    for name in ("psnr", "ssim", "edges"):
        gain = found[f"{name}_gain"]
        table.add_row(name, f"{found[name] - gain:.3f}", f"{found[name]:.3f}", f"{gain:+.3f}")
    console = Console()
    console.print(table)
    console.print(f"numbers: {task.folder / METRICS}", soft_wrap=True)
    return Evaluated(task.folder, found["psnr_gain"])
