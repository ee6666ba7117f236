"""Reports over runs that there are, and over predictions of anybody: tables, pages, paired tests."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from dfd.core import predictions
from dfd.core.errors import DfdError
from dfd.evaluation import compare
from dfd.evaluation.evaluate import Evaluation, evaluate
from dfd.evaluation.importers import Imported, read_all
from dfd.evaluation.protocol import Protocol
from dfd.evaluation.report import FACTS, MISSING, PREDICTIONS, read_evaluation, write_report
from dfd.evaluation.tables import SUFFIXES as FORMS
from dfd.evaluation.tables import evaluation_table, export
from dfd.evaluation.versus import Versus, versus


@dataclass(frozen=True)
class Request:
    """What is asked of a report.

    Args:
        output: folder for pages and tables, if any.
        formats: of tables that are exported.
        rewrite: whether reports of runs are written again.
        threshold: of the accuracy; None: the protocol's.
        resamples: of the bootstrap; None: the protocol's.
    """

    output: Path | None
    formats: Sequence[str]
    rewrite: bool
    threshold: float | None
    resamples: int | None

    def adjusted(self, protocol: Protocol) -> Protocol:
        """Return a protocol with what was asked for."""
        given: dict[str, Any] = {"threshold": self.threshold, "resamples": self.resamples}
        return replace(protocol, **{key: value for key, value in given.items() if value is not None})


def report_files(files: Sequence[Path], protocol: Protocol, request: Request, console: Console) -> None:
    """Evaluate files of predictions, one by one and against each other."""
    protocol = request.adjusted(protocol)
    tables = read_all(files)
    for name, imported in tables.items():
        if request.output is None:
            evaluation = evaluate(imported.table, protocol, missing=imported.missing, noun=imported.noun)
            evaluation.notes.extend(imported.notes)
            console.print(evaluation_table(evaluation, title=name))
        else:
            folder = request.output / name.replace("/", "_") if len(tables) > 1 else request.output
            evaluation = _written(folder, name, imported, protocol)
            console.print(evaluation_table(evaluation, title=name))
            for form in request.formats:
                (folder / f"report_table{FORMS.get(form, '')}").write_text(export(evaluation, form), encoding="utf-8")
            console.print(f"report: {folder / 'report.html'}", soft_wrap=True)
    if len(tables) > 1:
        found = versus({name: imported.table for name, imported in tables.items()}, protocol)
        _print_verdicts(found, console)
        if request.output is not None:
            (request.output / "pairs.json").write_text(json.dumps([pair.plain() for pair in found], indent=2))


def _written(folder: Path, name: str, imported: Imported, protocol: Protocol) -> Evaluation:
    """Write a report of somebody's predictions."""
    if folder.is_file():
        raise DfdError(f"{folder} is a file, and a report needs a folder of that name: give another --output")
    folder.mkdir(parents=True, exist_ok=True)
    predictions.write(imported.table, folder / PREDICTIONS, {"model": name})
    imported.missing.to_parquet(folder / MISSING, index=False)
    facts = {"title": name, "model": name, "notes": imported.notes, "dataset": imported.table["dataset"].iloc[0]}
    facts |= {"noun": imported.noun} if imported.noun else {}
    (folder / FACTS).write_text(json.dumps(facts, indent=2))
    evaluation = write_report(folder, protocol)
    evaluation.notes.extend(imported.notes)
    return evaluation


def report_runs(folders: Sequence[Path], protocol: Protocol | None, request: Request, console: Console) -> None:
    """Compare the evaluations of runs."""
    given = {"eval": protocol, "threshold": request.threshold, "resamples": request.resamples}
    changes = [f"--{name}" for name, value in given.items() if value is not None]
    if changes and not request.rewrite:
        raise DfdError(
            f"{', '.join(changes)} would not change the numbers of runs, which lie in their folders: add --rewrite to "
            "compute them again"
        )
    evaluations = compare.find(folders)
    if request.rewrite:
        for folder in track(evaluations, "rewriting", console=Console(stderr=True)):
            _rewrite(folder, protocol, request)
    table = compare.collect(folders)
    console.print(compare.comparison_table(table))
    seeds = compare.over_seeds(table)
    for row in seeds.to_dict("records"):
        console.print(f"{row['model']} on {row['dataset']}, {row['seeds']} seeds: AUC {row['AUC']} (mean ± sd)")
    pairs, notes = compare.pairs(table)
    _print_verdicts(pairs, console)
    for note in [*notes, *compare.repeated(table)]:
        console.print(note, soft_wrap=True)
    if request.output:
        page = compare.write_comparison(table, request.output, pairs, notes)
        console.print(f"comparison: {page}", soft_wrap=True)
    if len(evaluations) <= 5:
        for folder in evaluations:
            console.print(f"report: {folder / 'report.html'}", soft_wrap=True)


def _rewrite(folder: Path, protocol: Protocol | None, request: Request) -> None:
    if protocol is not None:
        write_report(folder, request.adjusted(protocol))
        return
    try:
        own = read_evaluation(folder).protocol
    except DfdError:  # damaged or of an older version: that is what this is for
        own = Protocol()
    write_report(folder, request.adjusted(own))


def _print_verdicts(pairs: Sequence[Versus], console: Console, most: int = 10) -> None:
    for pair in pairs[:most]:
        console.print(pair.verdict(), soft_wrap=True)
    if len(pairs) > most:
        console.print(f"... and {len(pairs) - most} more comparisons: --output writes all")
