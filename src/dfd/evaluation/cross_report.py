"""One detector on several datasets: a matrix on the screen and as files."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dfd.evaluation.cross import Crossing, crossing, plain, read_tables
from dfd.evaluation.pages import render
from dfd.evaluation.protocol import Protocol
from dfd.evaluation.report import SAMPLE, bar, read_facts
from dfd.evaluation.tables import markdown_table


def report_cross(output: Path, folders: list[Path], protocol: Protocol) -> float:
    """Write `cross.{json,md,csv,html}` over evaluation folders and print the matrix; return the macro-average AUC."""
    tables, missing = read_tables(folders)
    found = crossing(tables, protocol, missing)
    facts = [read_facts(folder) for folder in folders]
    sample = [fact["dataset"] for fact in facts if fact.get("sample")]
    title = f"{facts[0].get('model', 'detector')} across datasets"
    folder = output / "+".join(found.each)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cross.json").write_text(json.dumps(plain(found), indent=2))
    (folder / "cross.md").write_text(_markdown(found, title, sample), encoding="utf-8")
    (folder / "cross.csv").write_text(_csv(found), encoding="utf-8")
    page = render("cross", [], title=title, crossing=found, protocol=protocol, sample=sample, bar=bar)
    (folder / "cross.html").write_text(page, encoding="utf-8")
    console = Console()
    for table in _tables(found, title, bool(sample)):
        console.print(table)
    console.print(f"report: {folder / 'cross.html'}", soft_wrap=True)
    return found.macro.value


def _tables(found: Crossing, title: str, sample: bool) -> list[Table]:
    note = "made on the rendered SAMPLE: compares with no published number" if sample else None
    table = Table(title=title)
    for name in ("dataset", "AUC", "FPR", "TPR"):
        table.add_column(name, justify="left" if name == "dataset" else "right", no_wrap=True)
    for name, number in found.each.items():
        at = found.shared[name]
        table.add_row(name, str(number), f"{at['fpr']:.3f}", f"{at['tpr']:.3f}")
    table.add_section()
    table.add_row("macro average", str(found.macro))
    at = found.shared["all together"]
    table.add_row("all as one set", str(found.pooled), f"{at['fpr']:.3f}", f"{at['tpr']:.3f}")
    mixed = Table(title="AUC of the row's reals against the column's fakes", caption=note)
    mixed.add_column("reals of", no_wrap=True)
    for name in found.mixed:
        mixed.add_column(f"fakes of\n{name}", justify="right", overflow="fold")
    for name, row in found.mixed.items():
        mixed.add_row(name, *(f"{value:.3f}" for value in row.values()))
    return [table, mixed]


def _markdown(found: Crossing, title: str, sample: list[str]) -> str:
    body = [
        [name, str(number), f"{found.shared[name]['fpr']:.3f}", f"{found.shared[name]['tpr']:.3f}"]
        for name, number in found.each.items()
    ]
    body += [["macro average", str(found.macro), "", ""], ["as one set", str(found.pooled), "", ""]]
    header = ["dataset", "AUC", "FPR at the common threshold", "TPR"]
    mixed = [[real, *(f"{value:.3f}" for value in row.values())] for real, row in found.mixed.items()]
    parts = [f"# {title}", *([SAMPLE] if sample else []), markdown_table(header, body)]
    parts.append(
        "Reals of the row against fakes of the column:\n\n" + markdown_table(["reals of", *found.mixed], mixed)
    )
    return "\n\n".join(parts) + "\n"


def _csv(found: Crossing) -> str:
    lines = ["reals,fakes,auc,low,high"]
    for real, row in found.mixed.items():
        for fake, value in row.items():
            own = found.each[real] if real == fake else None
            lines.append(f"{real},{fake},{value},{own.low if own else ''},{own.high if own else ''}")
    lines.append(f"macro,macro,{found.macro.value},{found.macro.low},{found.macro.high}")
    lines.append(f"all,all,{found.pooled.value},{found.pooled.low},{found.pooled.high}")
    return "\n".join(lines) + "\n"
