"""From scored rows to a report on disk and a table on the screen."""

import base64
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from rich.console import Console

from dfd.cli.runs import write_facts
from dfd.cli.validation import decided
from dfd.core import predictions
from dfd.core.records import Record
from dfd.data.datamodule import FaceDataModule
from dfd.evaluation.evaluate import Evaluation
from dfd.evaluation.operating import FILE
from dfd.evaluation.protocol import Protocol
from dfd.evaluation.report import MISSING, PREDICTIONS, read_facts, write_report
from dfd.evaluation.tables import evaluation_table
from dfd.models.base import Detector
from dfd.models.explain import can_be_explained
from dfd.training.callbacks import explained
from dfd.training.scoring import Rows, prediction_table

log = logging.getLogger("dfd")

TOUCHES = "test_touches.jsonl"  # in a run folder: every look at a test split


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

    `lost` are the records of all splits that have no face; `run` is the run folder, which notes every look at a test.
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
        more["touches"] = [*touches(run, place["dataset"], condition), _touch(place, None)]
    write_facts(folder, {**_history(folder, facts), **facts, **more})
    _copy_operating(run, Path(facts["checkpoint"]), folder)
    evaluation = write_report(folder, protocol)
    if split == "test" and run is not None:
        touch(run, place, evaluation.video["auc"].value)
    console = Console()
    console.print(evaluation_table(evaluation, title=str(facts.get("title", folder.name))))
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True)
    return evaluation


def missing_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return what is known of videos that have no prediction."""
    names = ("id", "dataset", "method", "group", "label")
    rows = [[getattr(record, name) for name in names] for record in records]
    return pd.DataFrame(rows, columns=["video", *names[1:]])


def touch(run: Path, place: Mapping[str, str], auc: float | None) -> None:
    """Note a look at a test split: its dataset, condition and command."""
    with (run / TOUCHES).open("a") as file:
        file.write(json.dumps(_touch(place, auc)) + "\n")


def touches(run: Path, dataset: str, condition: str = "clean") -> list[dict[str, Any]]:
    """Return the looks that a run has had at a dataset's test split."""
    if not (run / TOUCHES).is_file():
        return []
    looks = [json.loads(line) for line in (run / TOUCHES).read_text().splitlines() if line.strip()]
    return [look for look in looks if look["dataset"] == dataset and look["condition"] == condition]


def _history(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the course of training, which an earlier report of the same checkpoint shows."""
    before = read_facts(folder)
    return {"history": before["history"]} if "history" in before and before["checkpoint"] == facts["checkpoint"] else {}


def _touch(place: Mapping[str, str], auc: float | None) -> dict[str, Any]:
    return {"when": time.strftime("%Y-%m-%d %H:%M"), **place, "auc": None if auc is None or np.isnan(auc) else auc}


def _copy_operating(run: Path | None, checkpoint: Path, folder: Path) -> None:
    """Keep what validation decided with the evaluation, so that its report can be made anew."""
    operating = None if run is None else decided(run, checkpoint)
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
    return pictures | {"heat_maps": {name: data_url(explained(network, frames)) for name, frames in shown.items()}}


def data_url(pixels: np.ndarray) -> str:
    """Return a picture (3, S, S) uint8 RGB as a JPEG data URL."""
    bgr = np.ascontiguousarray(pixels.transpose(1, 2, 0)[..., ::-1])
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def heat_url(values: np.ndarray) -> str:
    """Return a map (H, W) of non-negative values, from none to its largest, as a JPEG data URL."""
    scaled = np.rint(255 * values / max(float(values.max()), 1e-12)).astype(np.uint8)
    return data_url(cv2.applyColorMap(scaled, cv2.COLORMAP_INFERNO)[..., ::-1].transpose(2, 0, 1))
