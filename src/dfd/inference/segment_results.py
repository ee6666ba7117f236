"""Proposals of forged stretches on disk: tables, others' formats, and a page of timelines."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from dfd.core.text import csv_cell
from dfd.evaluation.localisation.formats import write_challenge, write_results
from dfd.evaluation.pages import render
from dfd.inference.segments import Located, drawing


def write_segments(located: Sequence[Located], folder: Path) -> pd.DataFrame:
    """Write proposals as CSV, ActivityNet results and a challenge's files, and a page of timelines; return them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [("file", str(one.path), p.start, p.end, p.stream, p.score) for one in located for p in one.proposals]
    table = pd.DataFrame(rows, columns=["dataset", "video", "start", "end", "stream", "score"])
    table.drop(columns="dataset").assign(video=table["video"].map(csv_cell)).to_csv(
        folder / "segments.csv", index=False
    )
    write_results(table, folder / "segments.json")
    write_challenge(table, None, folder / "challenge.json")
    names = ["file", "verdict", "score (higher = fake)", "seconds", "reason", "kind"]
    files = [
        (csv_cell(str(one.path)), one.verdict, one.score if one.judged else None, one.duration, one.reason, one.kind)
        for one in located
    ]
    pd.DataFrame(files, columns=names).to_csv(folder / "files.csv", index=False)
    drawn = []
    for position, one in enumerate(one for one in located if one.judged):
        picture = drawing(one)
        name = f"{position:04d}_{one.path.stem}.svg"
        (folder / name).write_text(picture, encoding="utf-8")
        verdict = f"{one.verdict}: {one.reason}" if one.reason else one.verdict
        drawn.append((str(one.path), one.score, verdict, Markup(picture)))
    failed = [(str(one.path), one.reason) for one in located if not one.judged]
    (folder / "timelines.html").write_text(
        render("timelines", [], title="Timelines", drawn=drawn, failed=failed), "utf-8"
    )
    return table
