"""An evaluation as a table: for the terminal, and as Markdown, LaTeX, CSV and JSON."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.table import Table

from dfd.core.errors import DfdError
from dfd.evaluation.evaluate import Evaluation
from dfd.evaluation.numbers import NAMES, Numbers

STEPPING = "EER and TPR at a fixed FPR"
WITH_INTERVAL = ("auc",)  # in the terminal, whose lines are short; the reports give all of them
SHOWN = (
    "auc", "ap", "ap_chance", "ap_balanced", "eer", "accuracy", "log_loss", "pauc", "tpr_1", "tpr_5", "tpr_10",
    "balanced_accuracy", "f1", "brier", "ece", "ece_calibrated",
)  # fmt: skip
FAKE = "fake"  # the method of a table that names none


def rows(evaluation: Evaluation) -> Iterator[tuple[str, Numbers]]:
    """Yield the rows of the headline table: the protocol's level, its methods, the other levels, baselines."""
    yield evaluation.noun, evaluation.video
    if list(evaluation.methods) != [FAKE]:  # methods that nobody named would repeat the row above
        yield from ((f"  {method}", numbers) for method, numbers in evaluation.methods.items())
    if evaluation.track:
        yield "person", evaluation.track
    if evaluation.noun == "video":
        yield ("clip" if evaluation.clips else "frame"), evaluation.frame
    yield from evaluation.baselines.items()


def counted(evaluation: Evaluation) -> str:
    """Return how many videos, rows and groups the numbers rest on."""
    c = evaluation.counts
    rows = f", {c['rows']} rows" if c["rows"] != c["videos"] else ""
    return f"{c['videos']} {evaluation.noun}s ({c['real']} real, {c['fake']} fake){rows}, {c['groups']} groups"


def intervals_caption(evaluation: Evaluation) -> str:
    """Return what the brackets are and how they were made."""
    c, noun = evaluation.counts, evaluation.noun
    if c["groups"] < 2:
        return "no intervals"
    what = f"every {noun} on its own" if c["groups"] == c["videos"] else f"{c['groups']} groups of {noun}s"
    return f"{100 * evaluation.protocol.confidence:g} % jackknife intervals over {what}; {STEPPING} by bootstrap"


def caption(confidence: float = 0.95) -> str:
    """Return what the brackets of a table are, where the groups differ from row to row."""
    return f"{100 * confidence:g} % jackknife intervals over groups"


def evaluation_table(evaluation: Evaluation, title: str) -> Table:
    """Return a table for the terminal: the metrics that the protocol puts first."""
    below = [counted(evaluation), intervals_caption(evaluation), *evaluation.notes]
    table = Table(title=title, caption="\n".join(below))
    table.add_column("level", overflow="fold")
    shown = evaluation.protocol.headline
    for name in shown:
        table.add_column(NAMES[name], justify="right", overflow="fold")  # a narrow terminal breaks numbers, cuts none
    for level, numbers in rows(evaluation):
        if level in evaluation.baselines and level == "chance":
            continue  # the terminal has no room for it
        table.add_row(
            level, *(str(numbers[name]) if name in WITH_INTERVAL else numbers[name].short() for name in shown)
        )
    return table


def markdown_table(header: Sequence[str], body: Sequence[Sequence[Any]]) -> str:
    """Return a table in Markdown, the first column to the left."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "--:|" * (len(header) - 1)]
    return "\n".join(lines + ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in body])


def latex_table(header: Sequence[str], body: Sequence[Sequence[Any]]) -> str:
    """Return a booktabs table in LaTeX."""
    lines = [f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", "\\toprule", _latex_row(header), "\\midrule"]
    return "\n".join([*lines, *(_latex_row(row) for row in body), "\\bottomrule", "\\end{tabular}"]) + "\n"


def cells(evaluation: Evaluation) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the headline table with every metric."""
    return ["level", *(NAMES[n] for n in SHOWN)], [
        [level.strip(), *(str(numbers[n]) if n in numbers else "-" for n in SHOWN)]
        for level, numbers in rows(evaluation)
    ]


def long_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row per level (or slice) and metric: value, low, high; for spreadsheets and plots."""
    parts: list[tuple[str, str, Mapping[str, Any]]] = [("level", name.strip(), n) for name, n in rows(evaluation)]
    parts += [("points", name, numbers) for name, numbers in evaluation.points.items()]
    parts += [(a, value, n) for a, values in evaluation.slices.items() for value, n in values.items()]
    return pd.DataFrame(
        [
            {"part": part, "name": name, "metric": metric, "value": n.value, "low": n.low, "high": n.high}
            for part, name, numbers in parts
            for metric, n in numbers.items()
        ]
    )


def export(evaluation: Evaluation, form: str) -> str:
    """Return the evaluation in a named form."""
    forms: dict[str, Callable[[], str]] = {
        "csv": lambda: long_table(evaluation).to_csv(index=False),
        "latex": lambda: latex_table(*cells(evaluation)),
        "markdown": lambda: markdown_table(*cells(evaluation)) + "\n",
        "json": evaluation.to_json,
    }
    if form not in forms:
        raise DfdError(f"no form {form!r} to export: allowed are {', '.join(forms)}")
    return forms[form]()


SUFFIXES = {"csv": ".csv", "latex": ".tex", "markdown": ".md", "json": ".json"}


def _latex_row(row: Sequence[Any]) -> str:
    escaped = (str(cell) for cell in row)
    for sign in "&%_#$":
        escaped = [cell.replace(sign, f"\\{sign}") for cell in escaped]  # type: ignore[assignment]
    return " & ".join(escaped) + r" \\"
