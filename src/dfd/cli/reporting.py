"""From scored rows to a report on disk and a table on the screen."""

import base64
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from rich.console import Console

from dfd.cli.runs import write_facts
from dfd.core import predictions
from dfd.data.datamodule import FaceDataModule
from dfd.evaluation.evaluate import Evaluation
from dfd.evaluation.report import write_report
from dfd.evaluation.tables import evaluation_table
from dfd.training.scoring import Rows, prediction_table

log = logging.getLogger("dfd")


def report(
    folder: Path,
    rows: Rows,
    data: FaceDataModule,
    split: str,
    facts: Mapping[str, Any],
    threshold: float,
    resamples: int,
) -> Evaluation:
    """Write the prediction table, the facts and the report of one evaluation; print its table and where it lies."""
    records = data.records(split)
    table = prediction_table(rows, records)
    meta = {key: str(facts[key]) for key in ("model", "run", "manifest") if key in facts}
    predictions.write(table, folder / "predictions.parquet", meta | {"condition": "clean"})
    thumbnails = _thumbnails(rows, data, split)
    write_facts(folder, {**facts, "split": split, "thumbnails": thumbnails})
    evaluation = write_report(folder, threshold=threshold, resamples=resamples)
    console = Console()
    console.print(evaluation_table(evaluation, title=str(facts.get("title", folder.name))))
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True)
    return evaluation


def _thumbnails(rows: Rows, data: FaceDataModule, split: str, count: int = 12) -> dict[str, str]:
    """Return pictures of the most wrong videos, by their id, as data URLs for the report."""
    views = pd.DataFrame(rows._asdict())
    videos = views.groupby("video").agg(score=("score", "mean"), label=("label", "first"), t=("t", "first"))
    wrong = (videos["score"] - videos["label"]).abs().sort_values(ascending=False, kind="stable").index[:count]
    records = data.records(split)
    return {records[v].id: data_url(data.view(split, int(v), float(videos.loc[v, "t"]))) for v in wrong}


def data_url(pixels: np.ndarray) -> str:
    """Return a picture (3, S, S) uint8 RGB as a JPEG data URL."""
    bgr = np.ascontiguousarray(pixels.transpose(1, 2, 0)[..., ::-1])
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def heat_url(values: np.ndarray) -> str:
    """Return a map (H, W) of non-negative values, from none to its largest, as a JPEG data URL."""
    scaled = np.rint(255 * values / max(float(values.max()), 1e-12)).astype(np.uint8)
    return data_url(cv2.applyColorMap(scaled, cv2.COLORMAP_INFERNO)[..., ::-1].transpose(2, 0, 1))
