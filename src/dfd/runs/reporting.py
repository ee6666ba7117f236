"""From scored rows to a report on disk and a table on the screen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from dfd.core import predictions
from dfd.core.records import Record
from dfd.core.run_folder import access_entry, log_access, logged_accesses, write_facts
from dfd.data.datamodule import FaceDataModule
from dfd.data.overlay import data_url
from dfd.evaluation.evaluate import Evaluation
from dfd.evaluation.operating import FILE, operating_point_of
from dfd.evaluation.protocol import Protocol
from dfd.evaluation.report import MISSING, PREDICTIONS, read_facts, write_report
from dfd.evaluation.tables import evaluation_table
from dfd.models.base import Detector
from dfd.models.explain import can_be_explained
from dfd.training.evidence import evidence_picture
from dfd.training.scoring import Rows, prediction_table


def report(
    folder: Path,
    rows: Rows,
    data: FaceDataModule,
    split: str,
    facts: Mapping[str, Any],
    protocol: Protocol,
    lost: Sequence[Record] = (),
    run: Path | None = None,
    network: Detector | None = None,
) -> Evaluation:
    """Write the prediction table, the facts and the report of one evaluation; print its table and where it lies.

    `lost` are the records of all splits that have no face; `run` is the run folder, which logs every evaluation of a
    test split.
    """
    table = prediction_table(rows, data.records(split))
    condition = str(facts.get("condition", "clean"))
    meta = {key: str(facts[key]) for key in ("model", "run", "manifest") if key in facts}
    predictions.write(table, folder / PREDICTIONS, meta | {"condition": condition})
    missing_table([record for record in lost if record.split == split]).to_parquet(folder / MISSING, index=False)
    more: dict[str, Any] = {
        "split": split,
        "clips": data.input.kind == "clip",
        **_pictures(rows, data, split, network),
    }
    place = {"dataset": str(facts.get("dataset")), "condition": condition, "command": str(facts.get("command", ""))}
    if split == "test" and run is not None:
        more["touches"] = [*logged_accesses(run, place["dataset"], condition), access_entry(place, None)]
    write_facts(folder, {**_history(folder, facts), **facts, **more})
    _copy_operating(run, Path(facts["checkpoint"]), folder)
    evaluation = write_report(folder, protocol)
    if split == "test" and run is not None:
        log_access(run, place, evaluation.video["auc"].value)
    console = Console()
    console.print(evaluation_table(evaluation, title=str(facts.get("title", folder.name))))
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True)
    return evaluation


def missing_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return what is known of videos that have no prediction."""
    names = ("id", "dataset", "method", "group", "label")
    rows = [[getattr(record, name) for name in names] for record in records]
    return pd.DataFrame(rows, columns=["video", *names[1:]])


def _history(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the course of training, which an earlier report of the same checkpoint shows."""
    before = read_facts(folder)
    return {"history": before["history"]} if "history" in before and before["checkpoint"] == facts["checkpoint"] else {}


def _copy_operating(run: Path | None, checkpoint: Path, folder: Path) -> None:
    """Keep what validation decided with the evaluation, so that its report can be rebuilt."""
    operating = None if run is None else operating_point_of(run, checkpoint)
    if operating is not None:
        operating.write(folder)
    elif (folder / FILE).is_file():
        (folder / FILE).unlink()


def _pictures(
    rows: Rows, data: FaceDataModule, split: str, network: Detector | None, count: int = 12
) -> dict[str, dict[str, str]]:
    """Return faces of the most wrong videos, and what in them spoke for "fake", by id, as data URLs for the report."""
    views = pd.DataFrame(rows._asdict())
    videos = views.groupby("video").agg(score=("score", "mean"), label=("label", "first"), t=("t", "first"))
    wrong = (videos["score"] - videos["label"]).abs().sort_values(ascending=False, kind="stable").index[:count]
    shown = {data.records(split)[v].id: data.view(split, int(v), float(videos.loc[v, "t"])) for v in wrong}
    pictures = {"thumbnails": {name: data_url(frames[0]) for name, frames in shown.items()}}
    if network is None or not can_be_explained(network):
        return pictures
    return pictures | {
        "heat_maps": {name: data_url(evidence_picture(network, frames)) for name, frames in shown.items()}
    }
