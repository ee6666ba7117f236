"""Evaluation of networks that look at talking faces and listen: synchronisers, and detectors over them."""

import logging
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from dfd.core import delays
from dfd.core.errors import DfdError
from dfd.core.process_group import is_first
from dfd.core.run_folder import write_facts
from dfd.evaluation.protocol import Protocol
from dfd.evaluation.synchrony import (
    CATEGORIES,
    SYNCHRONY,
    category_numbers,
    category_table,
    delay_numbers,
    delay_table,
    write_numbers,
)
from dfd.models.base import Synchroniser
from dfd.runs import evaluate_views
from dfd.runs.evaluation import Evaluated, Task
from dfd.training.run_split import score_split
from dfd.training.scoring import TalkScoring

log = logging.getLogger("dfd")
LOADER = "dfd.data.talk_datamodule.TalkDataModule"
SHARED = ("_partial_", "batch_size", "workers", "prefetch", "view_margin", "align")  # options that any loader has


def listening(data: dict[str, Any], saved_loader: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a data configuration as networks that listen need it: with sound, and the loader of talking faces."""
    loader = data["loader"]
    if loader["_target_"] != LOADER:
        own = dict(saved_loader or {})
        loader = {"_target_": LOADER, **{key: loader[key] for key in SHARED if key in loader}, **own}
    # `train_on` says how a run's own data were shared out; of any other it means nothing
    return {**data, "sound": True, "loader": loader}


def validate(task: Task) -> None:
    """Let validation choose the operating point of a detector, where it has both classes; a synchroniser has none."""
    if isinstance(task.loaded.network, Synchroniser):
        return
    labels = {record.label for record in task.data.records(task.split)}
    if len(labels) < 2:
        log.warning("the %s split holds one class only: no threshold is chosen, scores have no verdicts", task.split)
        return
    evaluate_views.validate(task)


def evaluate(task: Task) -> Evaluated | None:
    """Score a split and report it."""
    if isinstance(task.loaded.network, Synchroniser):
        return _delays(task)
    evaluated = evaluate_views.evaluate(task)
    if evaluated is not None:
        from dfd.core import predictions
        from dfd.evaluation.report import PREDICTIONS

        table, _ = predictions.read(evaluated.folder / PREDICTIONS)
        numbers = category_numbers(table, Protocol.of(dict(task.eval)))
        write_numbers(evaluated.folder, CATEGORIES, numbers)
        Console().print(category_table(numbers, str(task.facts.get("title", ""))))
    return evaluated


def _delays(task: Task) -> Evaluated | None:
    """Report how exact the delays of a synchroniser are."""
    if (task.options or {}).get("corruption", {}).get("kinds"):
        raise DfdError("corruption=: of a synchroniser only the detector over it is evaluated so, model=av_anomaly")
    started = time.time()
    network = task.loaded.network
    rows = score_split(network, task.data, task.split, task.trainer)
    if not is_first():
        return None
    table = TalkScoring(network).table(rows, task.data.records(task.split))
    meta = {key: str(task.facts[key]) for key in ("model", "run", "manifest") if key in task.facts}
    delays.write(table, task.folder / TalkScoring.table_file, network.delays, meta)
    numbers = delay_numbers(table)
    write_numbers(task.folder, SYNCHRONY, numbers)
    write_facts(task.folder, {**task.facts, "split": task.split, "seconds": round(time.time() - started, 1)})
    console = Console()
    console.print(delay_table(numbers, str(task.facts.get("title", ""))))
    console.print(f"delays: {task.folder / TalkScoring.table_file}", soft_wrap=True)
    return Evaluated(task.folder, numbers["all"]["within1"])
