"""Results of files as tables: a row per view, a row per file, and what DFDC takes as a submission."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from dfd.core.text import csv_cell, printable
from dfd.data.overlay import captioned
from dfd.inference.talk_windows import summary_row
from dfd.inference.verdict import FileResult

VIEWS, VERDICTS, SUBMISSION = "predictions.csv", "verdicts.csv", "submission.csv"
SUMMARY = "detection_summary.csv"  # of talking faces


def verdict_row(result: FileResult) -> dict[str, Any]:
    """Return one line of `verdicts.csv`; `score` and `probability` grow with fakeness."""
    return {
        "file": printable(str(result.path)),
        "verdict": result.verdict,
        "score": result.score,
        "probability": result.probability,
        "views": result.count,
        "faces": result.faces,
        "ood": result.views[0].ood,
        "reason": printable(result.reason),
        "kind": result.kind,
    }


def verdict_table(results: Sequence[FileResult]) -> pd.DataFrame:
    """Return a row per file."""
    return pd.DataFrame([verdict_row(result) for result in results])


def write_results(results: Sequence[FileResult], folder: Path) -> pd.DataFrame:
    """Write all tables, and what explains a file where that was asked for; return the verdicts."""
    folder.mkdir(parents=True, exist_ok=True)
    views = [
        pd.DataFrame({"file": csv_cell(str(result.path)), "t": v.t, "score": v.score, "track": v.track, "run": number})
        for result in results
        for number, v in enumerate(result.views)
    ]
    pd.concat(views).to_csv(folder / VIEWS, index=False)
    for position, result in enumerate(results):
        picture = result.views[0].evidence
        if picture is not None:
            name = f"{explained_name(position, result)}_explained.png"
            lines = [result.path.name, f"{result.verdict}, score {result.score:.3f} (higher = fake)"]
            Image.fromarray(captioned(picture, lines)).save(folder / name, dpi=(300, 300))
    _write_windows(results, folder)
    verdicts = verdict_table(results)
    cells = {name: [csv_cell(text) for text in verdicts[name]] for name in ("file", "reason")}
    verdicts.assign(**cells).to_csv(folder / VERDICTS, index=False)
    names = [csv_cell(Path(file).name) for file in verdicts["file"]]
    submission = pd.DataFrame({"filename": names, "label": verdicts["score"].fillna(0.5)})
    submission.to_csv(folder / SUBMISSION, index=False)
    return verdicts


def explained_name(position: int, result: FileResult) -> str:
    """Return how the files that explain one file are called, without their suffix."""
    return f"{position:03d}_{result.path.stem}"


def _write_windows(results: Sequence[FileResult], folder: Path) -> None:
    """Write a table of windows per talking face, and a line for each in `detection_summary.csv`."""
    rows = []
    for position, result in enumerate(results):
        windows = result.views[0].windows
        if windows is not None:
            windows.to_csv(folder / f"{explained_name(position, result)}_delays.csv", index=False, float_format="%.6g")
            rows.append(summary_row(result.path, result.verdict, result.score, windows))
    if rows:
        pd.DataFrame(rows).to_csv(folder / SUMMARY, index=False)
