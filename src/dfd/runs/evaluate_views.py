"""Evaluation of networks that score views of a file: images and clips."""

import time
from collections.abc import Mapping
from typing import Any

from dfd.core.build import allowed, allowed_networks, build
from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.process_group import is_first
from dfd.core.resources import Cost
from dfd.evaluation.operating import store_operating_point
from dfd.evaluation.protocol import Protocol
from dfd.inference.robustness import Corruptions, refuse_uncorruptible, robustness
from dfd.metrics.pooling import pool
from dfd.metrics.ranking import roc_auc
from dfd.models.checkpoint import load_network, read_checkpoint
from dfd.runs.evaluation import Evaluated, Task
from dfd.runs.reporting import report
from dfd.training.run_split import score_split
from dfd.training.scoring import Rows, prediction_table


def validate(task: Task) -> None:
    """Score validation videos and store thresholds and calibration with the run."""
    rows = score_split(task.loaded.network, task.data, task.split, task.trainer)
    if is_first():
        _store(task, rows)


def evaluate(task: Task) -> Evaluated | None:
    """Score a split and report it; with corruptions and the other checkpoints of the run where that is asked for."""
    options = task.options or {}
    corruption = options.get("corruption") or {}
    if corruption.get("kinds"):
        refuse_uncorruptible(task.prepared.manifest.split(task.split), corruption["kinds"])
    started, cost = time.time(), Cost()
    rows = score_split(task.loaded.network, task.data, task.split, task.trainer)
    selection = _selection(task, rows) if options.get("oracle") else None
    if not is_first():
        return None
    facts = {"seconds": round(time.time() - started, 1), "cost": cost.words(), **task.facts}
    if selection is not None:
        facts["selection"] = selection
    if task.validates and task.run is not None:
        _store(task, rows)
    protocol, lost = Protocol.of(dict(task.eval)), task.prepared.lost
    network, run = task.loaded.network, task.run
    evaluation = report(task.folder, rows, task.data, task.split, facts, protocol, lost, run, network)
    if corruption.get("kinds"):
        _corrupted(task, corruption, facts, protocol)
    return Evaluated(task.folder, evaluation.video["auc"].value)


def _store(task: Task, rows: Rows) -> None:
    assert task.run is not None
    table = prediction_table(rows, task.data.records(task.split))
    store_operating_point(task.run, table, Protocol.of(dict(task.eval)), task.facts)


def _corrupted(task: Task, corruption: Mapping[str, Any], facts: Mapping[str, Any], protocol: Protocol) -> None:
    assert task.options is not None
    data, allow = task.options["data"], allowed(task.options["plugins"])

    def table_of(manifest: Manifest) -> Any:
        changed = build(data["loader"], allow, "loader")(manifest, task.loaded.network.input)
        rows = score_split(task.loaded.network, changed, task.split, task.trainer)
        return prediction_table(rows, changed.records(task.split))

    corruptions = Corruptions(**corruption, size=int(data["crops"]["size"]))
    manifest = task.prepared.manifest
    robustness(corruptions, table_of, manifest, task.split, task.folder, facts, protocol, task.run)


def _selection(task: Task, rows: Rows) -> dict[str, Any]:
    """Score every checkpoint of the run on this split; return what choosing among them by it would have gained."""
    assert task.options is not None
    networks = allowed_networks(task.options["plugins"])
    chosen = task.loaded.path
    steps = {read_checkpoint(chosen).get("global_step")}  # best and last are copies of some epoch
    others = []
    for path in sorted(chosen.parent.glob("*.ckpt")):
        step = read_checkpoint(path).get("global_step")
        if step is not None and step not in steps:  # none: an average of several
            steps.add(step)
            others.append(path)
    if not others:
        raise DfdError(f"oracle=true compares epochs, {chosen.parent} holds one only: train with callbacks=every")
    found = {chosen.name: _auc(rows)}
    for path in others:
        network = load_network(path, networks).network
        found[path.name] = _auc(score_split(network, task.data, task.split, task.trainer))
    best = sorted(found.values(), reverse=True)
    return {
        "chosen": found[chosen.name],
        "chosen_name": chosen.name,
        "count": len(found),
        "best": best[0],
        "top3": sum(best[:3]) / len(best[:3]),
        "all": found,
    }


def _auc(rows: Rows) -> float:
    return roc_auc(*pool(rows.video, rows.label, rows.score))
