"""dfd-report: compare runs, rewrite their reports, or evaluate anybody's predictions."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from dfd.core import predictions
from dfd.core.errors import DfdError
from dfd.evaluation.compare import collect, comparison_table, write_comparison
from dfd.evaluation.evaluate import evaluate
from dfd.evaluation.report import METRICS, write_report
from dfd.evaluation.tables import evaluation_table

EXAMPLES = """examples:
  dfd-report outputs/ffpp_meso_20260101-120000       one run: its table, and where its report is
  dfd-report outputs/* --output comparison           many runs: one table, also as .md and .csv
  dfd-report outputs/* --rewrite                     make every report anew from its prediction table
  dfd-report predictions.csv                         anybody's predictions: a table with the columns
                                                     video, dataset, method, group, label, t, score
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        "dfd-report", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, evaluation folders, or prediction tables")
    parser.add_argument("--output", type=Path, help="folder for comparison.md and comparison.csv")
    parser.add_argument("--rewrite", action="store_true", help="write metrics.json and the reports anew")
    parser.add_argument("--threshold", type=float, default=0.5, help="of the accuracy (default 0.5)")
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap (default 1000)")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        _report(options)
    except DfdError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def _report(options: argparse.Namespace) -> None:
    console = Console()
    tables = [path for path in options.runs if path.suffix in (".csv", ".parquet")]
    for path in tables:
        table, _ = predictions.read(path)
        evaluation = evaluate(table, threshold=options.threshold, resamples=options.resamples)
        console.print(evaluation_table(evaluation, title=path.name))
    runs = [path for path in options.runs if path not in tables]
    if not runs:
        return
    folders = [
        path.parent
        for run in runs
        for path in (run / METRICS, *sorted(run.glob(f"eval/*/{METRICS}")))
        if path.is_file()
    ]
    if options.rewrite:
        for folder in folders:
            write_report(folder, threshold=options.threshold, resamples=options.resamples)
    comparison = collect(runs)
    console.print(comparison_table(comparison))
    if options.output:
        console.print(f"comparison: {write_comparison(comparison, options.output)}", soft_wrap=True)
    if len(folders) <= 5:
        for folder in folders:
            console.print(f"report: {folder / 'report.html'}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
