"""A folder with `scores.parquet` and `facts.json` to `metrics.json`, `report.md` and `report.html`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from rich.table import Table

from dfd.evaluation.figures import Line, histogram, lines
from dfd.evaluation.numbers import Number
from dfd.evaluation.ood.evaluate import POOLED, OodEvaluation, evaluate_ood
from dfd.evaluation.ood.figures import scatter
from dfd.evaluation.ood.scores import OOD, PREFIX, TEST, by_video, read_scores
from dfd.evaluation.report import METRICS, read_facts
from dfd.metrics.ood import risk_coverage
from dfd.metrics.ranking import roc_curve

SCORES = "scores.parquet"
COLOURS = ("c1", "c2", "c3", "c4", "c5", "c6", "c7")
NAMES = {
    "auroc": "AUROC", "aupr_in": "AUPR in", "aupr_in_trapezoid": "AUPR in, trapezoid", "aupr_out": "AUPR out",
    "aupr_out_trapezoid": "AUPR out, trapezoid", "fpr95_id_positive": "FPR95 id+", "fpr95_ood_positive": "FPR95 ood+",
    "detection_error": "det. error", "oscr": "OSCR",
}  # fmt: skip
CONVENTIONS = (
    "FPR95 id+: the share of OOD videos accepted where 95 % of ID ones are. FPR95 ood+: the share of ID "
    "videos rejected where 95 % of OOD ones are. AUPR is average precision, by steps; trapezoids, as OpenOOD and "
    "pytorch-ood have it, give more. Detection error: at equal priors. Thresholds come from known validation videos "
    "only. A detector is marked where the 95 % interval of its lead over every other that ranks differently is above 0."
)
PROVENANCE = (
    "model", "known", "strange", "outliers", "checkpoint", "id_kept", "lead", "tuned_on", "fitted_on", "command",
    "started", "seconds",
)  # fmt: skip


def write_ood_report(folder: Path, *, resamples: int = 500) -> OodEvaluation:
    """Make every number, table and figure of a folder from its scores and facts."""
    table, thresholds = read_scores(folder / SCORES)
    facts = read_facts(folder)
    evaluation = evaluate_ood(table, thresholds, resamples=resamples)
    (folder / METRICS).write_text(evaluation.to_json())
    (folder / "report.md").write_text(markdown(evaluation, facts), encoding="utf-8")
    (folder / "report.html").write_text(html(evaluation, facts, table), encoding="utf-8")
    return evaluation


def ood_table(evaluation: OodEvaluation, title: str) -> Table:
    """Return the headline for the terminal: ranking against all OOD videos, and the shares rejected."""
    counts = evaluation.counts
    numbers = f"{counts['known']} in-distribution (ID), {counts['strange']} out-of-distribution (OOD) videos"
    caption = f"{numbers}; 95 % jackknife intervals over groups"
    table = Table(title=title, caption="\n".join([caption, *_remarks(evaluation)]))
    for name in ("detector", "AUROC", "FPR95 id+", "ID rej.", "OOD rej."):
        table.add_column(name, justify="left" if name == "detector" else "right", no_wrap=True)
    order = sorted(evaluation.numbers, key=lambda name: -np.nan_to_num(evaluation.numbers[name][POOLED]["auroc"].value))
    for name in order:
        row, answers = evaluation.numbers[name][POOLED], evaluation.answers[name]
        marked = f"[bold]{name}*[/]" if evaluation.best.get(POOLED) == name else name
        shares = _share(answers["known rejected"]), _share(answers["strange rejected"])
        table.add_row(marked, str(row["auroc"]), row["fpr95_id_positive"].short(), *shares)
    return table


def markdown(evaluation: OodEvaluation, facts: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    parts = [f"# {facts.get('title', 'Out of distribution')}"]
    if facts.get("sample"):
        parts.append(
            "**SAMPLE: made on the drawn stand-in, not on real data. Not comparable with any published number.**"
        )
    sources = evaluation.sources
    parts.append("## AUROC of detectors against sources\n\n" + _grid(["detector", *sources], _auroc_rows(evaluation)))
    rows = [[name, *(row[POOLED][key].short() for key in NAMES)] for name, row in evaluation.numbers.items()]
    parts.append("## Against all\n\n" + _grid(["detector", *NAMES.values()], rows))
    keys = list(next(iter(evaluation.answers.values())))
    rows = [[name, *(f"{answers[key]:.3f}" for key in keys)] for name, answers in evaluation.answers.items()]
    parts.append("## Answering and abstaining\n\n" + _grid(["detector", *keys], rows))
    remarks = [*_remarks(evaluation), *facts.get("notes", []), CONVENTIONS]
    parts.append("\n".join(f"* {remark}" for remark in remarks))
    left = [f"* {name}: {reason}" for name, reason in facts.get("left_out", {}).items()]
    parts.append("## Left out\n\n" + ("\n".join(left) or "Nothing."))
    parts.append("## Provenance\n\n" + "\n".join(f"* {key}: `{facts[key]}`" for key in PROVENANCE if facts.get(key)))
    return "\n\n".join(parts) + "\n"


def html(evaluation: OodEvaluation, facts: Mapping[str, Any], table: pd.DataFrame) -> str:
    """Return the report as one self-contained page."""
    environment = Environment(loader=PackageLoader("dfd.evaluation.ood", "."), autoescape=True, trim_blocks=True)
    lead = facts.get("lead") or next(iter(evaluation.numbers))
    videos = by_video(table)
    return environment.get_template("report.html.j2").render(
        title=facts.get("title", "Out of distribution"),
        facts=facts,
        evaluation=evaluation,
        names=NAMES,
        conventions=CONVENTIONS,
        pooled=POOLED,
        lead=lead,
        figures=[(name, Markup(figure)) for name, figure in _figures(evaluation, videos, table, lead)],
        remarks=_remarks(evaluation) + facts.get("notes", []),
        provenance=[(key.replace("_", " "), facts[key]) for key in PROVENANCE if facts.get(key)],
    )


def _figures(evaluation: OodEvaluation, videos: pd.DataFrame, views: pd.DataFrame, lead: str) -> list[tuple[str, str]]:
    known, outliers = videos[videos["role"] == TEST], videos[videos["role"] == OOD]
    column = PREFIX + lead
    ood = np.repeat([0, 1], [len(known), len(outliers)])
    figures = []
    if len(outliers):
        fpr, tpr, _ = roc_curve(ood, pd.concat([known, outliers])[column].to_numpy(float))
        figures.append(
            (
                f"ROC of {lead}",
                lines([Line([0, 1], [0, 1], "muted"), Line(fpr, tpr)], "ID rejected", "OOD rejected"),
            )
        )
    coverage, risk = risk_coverage(~known["right"].to_numpy(bool), known[column].to_numpy(float))
    top = max(0.05, float(risk.max()) * 1.1)
    figures.append((f"Risk over coverage, {lead}", lines([Line(coverage, risk)], "share answered", "errors", (0, top))))
    if "pca_x" in views:
        inside, outside = (views.loc[views["role"] == role, ["pca_x", "pca_y"]].to_numpy(float) for role in (TEST, OOD))
        groups = [("a", "in-distribution", inside), ("b", "out of distribution", outside)]
        figures.append(("Features, first two components", scatter([group for group in groups if len(group[2])])))
    if "tsne_x" in views:
        mapped = views[views["role"].isin([TEST, OOD]) & views["tsne_x"].notna()]
        groups = _by_source(mapped, ["tsne_x", "tsne_y"])
        figures += [("Features, neighbours together (t-SNE), by source", scatter(groups))] if groups else []
    limits = np.quantile(videos[column], [0.005, 0.995])
    for source in [] if outliers.empty else [None, *sorted(outliers["source"].unique())]:
        some = outliers if source is None else outliers[outliers["source"] == source]
        parts = [
            ("a", "in-distribution", known[column].clip(*limits).to_numpy(float)),
            ("b", "out of distribution", some[column].clip(*limits).to_numpy(float)),
        ]
        figures.append((f"{lead}: ID and {source or 'all OOD'}", histogram(parts, "score (up = more OOD)")))
    return figures


def _by_source(views: pd.DataFrame, columns: list[str]) -> list[tuple[str, str, np.ndarray]]:
    """Return the places of views by their source, the most frequent ones by name."""
    counts = views["source"].value_counts()
    names = counts.index[: len(COLOURS)] if len(counts) <= len(COLOURS) else counts.index[: len(COLOURS) - 1]
    groups = [(style, str(name), views["source"] == name) for style, name in zip(COLOURS, names, strict=False)]
    if len(names) < len(counts):
        groups.append((COLOURS[-1], "others", ~views["source"].isin(names)))
    return [(style, name, views.loc[rows, columns].to_numpy(float)) for style, name, rows in groups]


def _auroc_rows(evaluation: OodEvaluation) -> list[list[str]]:
    return [
        [name, *(_marked(row[s]["auroc"], evaluation.best.get(s) == name) for s in evaluation.sources)]
        for name, row in evaluation.numbers.items()
    ]


def _marked(number: Number, best: bool) -> str:
    return f"**{number}**" if best else str(number)


def _grid(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _remarks(evaluation: OodEvaluation) -> list[str]:
    alike = [f"{', '.join(members)} rank all videos alike" for members in evaluation.alike]
    return alike + evaluation.notes


def _share(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"
