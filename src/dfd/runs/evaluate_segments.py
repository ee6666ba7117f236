"""Evaluation of networks that find forged stretches of time in features."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from dfd.core import segments
from dfd.core.process_group import is_first
from dfd.core.resources import Cost
from dfd.core.run_folder import access_entry, log_access, logged_accesses, write_facts
from dfd.evaluation.localisation import decoding
from dfd.evaluation.localisation.report import (
    HEADLINE,
    SEGMENTS,
    headline,
    segment_table,
    title_of,
    write_segment_report,
)
from dfd.evaluation.localisation.truth import truth_of
from dfd.metrics.proposals import Decoding
from dfd.runs.evaluation import Evaluated, Task
from dfd.training.run_split import score_split
from dfd.training.sequence_scoring import SegmentRows, decoded, judged
from dfd.training.sequence_scoring import segment_table as table_of

CANDIDATES = "candidates.npz"  # of the validation split: what decodings are chosen on


def validate(task: Task) -> None:
    """Choose the decoding on the validation split, and store it with the run."""
    rows = score_split(task.loaded.network, task.data, task.split, task.trainer)
    if is_first():
        _choose(task, rows)


def evaluate(task: Task) -> Evaluated | None:
    """Score a split, decode as the run's validation chose, and report."""
    started, cost = time.time(), Cost()
    rows = score_split(task.loaded.network, task.data, task.split, task.trainer)
    if not is_first():
        return None
    how = _choose(task, rows) if task.validates else decoding.for_test(task.eval.get("decode"), task.run)
    facts = {"seconds": round(time.time() - started, 1), "cost": cost.words(), **task.facts}
    return _report(task, rows, how, facts)


def _choose(task: Task, rows: SegmentRows) -> Decoding:
    """Try what `eval.decode` lists on the candidates of the validation split."""
    records = task.data.records(task.split)
    options = decoding.grid(task.eval.get("decode"), Decoding())
    best, tried = decoding.choose(options, lambda how: judged(decoded(rows, how), records)["val/map"])
    if task.run is not None:
        decoding.store(task.run, best, tried, task.facts)
        np.savez(task.run / CANDIDATES, **rows._asdict())
    return best


def _report(task: Task, rows: SegmentRows, how: Decoding, facts: dict[str, Any]) -> Evaluated:
    records, folder = task.data.records(task.split), task.folder
    folder.mkdir(parents=True, exist_ok=True)
    meta: dict[str, str] = {key: str(facts[key]) for key in ("model", "run", "manifest") if key in facts}
    segments.write(table_of(decoded(rows, how), records), folder / SEGMENTS, meta)
    truth_of(records, [task.data.seconds(record) for record in records]).write(folder)
    place = {"dataset": str(facts.get("dataset")), "condition": "clean", "command": str(facts.get("command", ""))}
    more: dict[str, Any] = {"split": task.split, "kind": "segments", "decoding": vars(how)}
    tests = task.split == "test" and task.run is not None
    if tests:
        more["touches"] = [*logged_accesses(task.run, place["dataset"]), access_entry(place, None)]  # type: ignore[arg-type]
    write_facts(folder, {**facts, **more})
    evaluation = write_segment_report(folder, float(task.eval.get("confidence", 0.95)))
    if tests:
        log_access(task.run, place, evaluation.files["file AUC"].value)  # type: ignore[arg-type]
    console = Console()
    console.print(segment_table(evaluation, f"{title_of(facts)}, {task.split}"))
    console.print(headline(evaluation), soft_wrap=True)
    console.print(f"report: {Path(folder) / 'report.html'}", soft_wrap=True)
    return Evaluated(folder, evaluation.protocols[HEADLINE[0]]["ap@0.5"].value)
