"""An evaluation folder to a report: reads `predictions.parquet` and `facts.json`, writes JSON, Markdown and HTML."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from dfd.core import predictions
from dfd.core.errors import DfdError
from dfd.evaluation.evaluate import NAMES, Evaluation, by_video, evaluate
from dfd.evaluation.figures import Line, histogram, interval_bar, lines
from dfd.evaluation.tables import counted, markdown_table, rows
from dfd.metrics.ranking import pr_curve, roc_curve

PREDICTIONS, FACTS, METRICS = "predictions.parquet", "facts.json", "metrics.json"
PROVENANCE = (
    "model", "dataset", "trained_on", "split", "checkpoint", "initialised_from", "manifest", "seed", "command",
    "started", "seconds",
)  # fmt: skip


def write_report(folder: Path, *, threshold: float = 0.5, resamples: int = 1000) -> Evaluation:
    """Evaluate the folder's prediction table and write `metrics.json`, `report.md` and `report.html` beside it."""
    table, _ = predictions.read(folder / PREDICTIONS)
    facts = read_facts(folder)
    evaluation = evaluate(table, threshold=threshold, resamples=resamples, seed=int(facts.get("seed") or 0))
    (folder / METRICS).write_text(evaluation.to_json())
    (folder / "report.md").write_text(markdown(evaluation, facts))
    (folder / "report.html").write_text(html(evaluation, facts, table))
    return evaluation


def read_facts(folder: Path) -> dict[str, Any]:
    """Return what the run said about itself; nothing if it said nothing."""
    path = folder / FACTS
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise DfdError(f"{path} is damaged ({error}): evaluate the run again") from error


def markdown(evaluation: Evaluation, facts: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    parts = [f"# {_title(facts)}"]
    if facts.get("sample"):
        parts.append(
            "**SAMPLE: made on the rendered stand-in, not on real data. Not comparable with any published number.**"
        )
    parts += [markdown_table(evaluation), f"{counted(evaluation)}. Brackets: 95 % group-bootstrap intervals."]
    remarks = [*evaluation.notes, *facts.get("notes", [])]
    if facts.get("scaled_down"):
        remarks.append("scaled down for the sample: " + ", ".join(f"{k}={v}" for k, v in facts["scaled_down"].items()))
    parts += ["\n".join(f"* {remark}" for remark in remarks)] if remarks else []
    failures = facts.get("failures", [])
    parts.append("## Left out\n\n" + ("\n".join(_failure_lines(failures)) or "Nothing."))
    provenance = [f"* {key.replace('_', ' ')}: `{facts[key]}`" for key in PROVENANCE if key in facts]
    parts.append("## Provenance\n\n" + "\n".join(provenance))
    return "\n\n".join(parts) + "\n"


def html(evaluation: Evaluation, facts: Mapping[str, Any], table: pd.DataFrame) -> str:
    """Return the report as one self-contained page."""
    environment = Environment(loader=PackageLoader("dfd.evaluation", "."), autoescape=True, trim_blocks=True)
    videos = by_video(table)
    return environment.get_template("report.html.j2").render(
        title=_title(facts),
        facts=facts,
        evaluation=evaluation,
        names=NAMES,
        rows=list(rows(evaluation)),
        counted=counted(evaluation),
        figures=[(name, Markup(figure)) for name, figure in _figures(evaluation, facts, videos)],
        bar=lambda number: Markup(interval_bar(number.value, number.low, number.high)),
        mistakes=_mistakes(videos, facts.get("thumbnails", {}), evaluation.threshold),
        reasons=Counter(failure["reason"] for failure in facts.get("failures", [])),
        provenance=[(key.replace("_", " "), facts[key]) for key in PROVENANCE if facts.get(key) is not None],
    )


def _title(facts: Mapping[str, Any]) -> str:
    return str(facts.get("title", "Evaluation"))


def _figures(evaluation: Evaluation, facts: Mapping[str, Any], videos: pd.DataFrame) -> list[tuple[str, str]]:
    labels, scores = videos["label"].to_numpy(), videos["score"].to_numpy()
    groups = [("a", "real", scores[labels == 0]), ("b", "fake", scores[labels == 1])]
    figures = [("Scores of videos", histogram([group for group in groups if len(group[2])], "score (up = more fake)"))]
    if len(set(labels)) == 2:
        fpr, tpr, _ = roc_curve(labels, scores)
        precision, recall, _ = pr_curve(labels, scores)
        chance = float(labels.mean())
        roc = [Line([0, 1], [0, 1], "muted"), Line(fpr, tpr)]
        figures.insert(0, ("ROC of videos", lines(roc, "false positive rate", "true positive rate")))
        pr = [Line([0, 1], [chance, chance], "muted"), Line(recall, precision)]
        figures.insert(1, ("Precision and recall of videos", lines(pr, "recall", "precision")))
    history = [epoch for epoch in facts.get("history", []) if "epoch" in epoch]
    curves = [
        Line([e["epoch"] for e in history if key in e], [e[key] for e in history if key in e], style, key)
        for key, style in (("train/loss", "a"), ("val/loss", "muted"), ("val/auc", "b"))
        if any(key in e for e in history)
    ]
    if curves:
        top = max(1.0, max(float(np.nanmax(curve.y)) for curve in curves))
        figures.append(("Training", lines(curves, "epoch", "loss and AUC", (0, top))))
    return figures


def _mistakes(videos: pd.DataFrame, thumbnails: Mapping[str, str], threshold: float) -> list[dict[str, Any]]:
    """Return the videos on the wrong side of the threshold, the most wrong first, with a picture where there is one."""
    wrong = videos[(videos["score"] >= threshold) != (videos["label"] == 1)]
    worst = (
        wrong.assign(by=(wrong["score"] - threshold).abs()).sort_values("by", ascending=False, kind="stable").head(12)
    )
    return [row | {"thumbnail": thumbnails.get(row["video"])} for row in worst.to_dict("records")]


def _failure_lines(failures: list[Mapping[str, Any]]) -> list[str]:
    counts = Counter(failure["reason"] for failure in failures)
    lines = [f"* {count} x {reason}" for reason, count in counts.most_common()]
    return lines + [f"  * `{f['video']}`: {f['detail']}" for f in failures[:50]]
