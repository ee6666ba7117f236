"""An evaluation as a table: for the terminal and as Markdown."""

from collections.abc import Iterator

from rich.table import Table

from dfd.evaluation.evaluate import NAMES, Evaluation, Numbers

WITH_INTERVAL = ("auc",)  # in the terminal, whose lines are short; the reports give all of them


def rows(evaluation: Evaluation) -> Iterator[tuple[str, Numbers]]:
    """Yield the rows of the headline table."""
    yield "video", evaluation.video
    yield "frame", evaluation.frame
    yield from ((f"  {method}", numbers) for method, numbers in evaluation.methods.items())


def counted(evaluation: Evaluation) -> str:
    """Say how much the numbers rest on."""
    c = evaluation.counts
    return f"{c['videos']} videos ({c['real']} real, {c['fake']} fake), {c['rows']} rows, {c['groups']} groups"


def evaluation_table(evaluation: Evaluation, title: str) -> Table:
    """Return a table for the terminal."""
    table = Table(
        title=title, caption="\n".join([counted(evaluation), "95 % group-bootstrap intervals", *evaluation.notes])
    )
    table.add_column("level", no_wrap=True)
    for name in NAMES.values():
        table.add_column(name, justify="right", no_wrap=True)
    for level, numbers in rows(evaluation):
        table.add_row(
            level, *(str(numbers[name]) if name in WITH_INTERVAL else numbers[name].short() for name in NAMES)
        )
    return table


def markdown_table(evaluation: Evaluation) -> str:
    """Return the same table in Markdown."""
    lines = ["| level | " + " | ".join(NAMES.values()) + " |", "|---|" + "--:|" * len(NAMES)]
    lines += [
        f"| {level} | " + " | ".join(str(numbers[name]) for name in NAMES) + " |" for level, numbers in rows(evaluation)
    ]
    return "\n".join(lines)
