"""`dfd-report --segments`: anybody's proposals of forged stretches against anybody's annotations."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from dfd.core import segments
from dfd.core.errors import DfdError
from dfd.evaluation.localisation.evaluate import evaluate_segments
from dfd.evaluation.localisation.formats import (
    SUFFIXES,
    read_annotations,
    read_proposals,
    same_names,
    write_annotations,
    write_challenge,
    write_results,
)
from dfd.evaluation.localisation.report import FACTS, SEGMENTS, headline, segment_table, write_segment_report
from dfd.evaluation.localisation.versus import compare_proposals


def report_segments(paths: Sequence[Path], output: Path | None, subset: str | None, console: Console) -> None:
    """Evaluate every file of proposals against the last file, which holds the annotations; compare them in pairs."""
    if len(paths) < 2:
        raise DfdError("--segments needs a file of proposals (or several) and, last, one of annotations")
    *files, known = paths
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise DfdError(f"no file at {missing[0]}")
    truth = read_annotations(known, known.stem, subset)
    tables = {}
    for path in files:
        if path.suffix not in SUFFIXES:
            raise DfdError(f"{path} is not a file of proposals ({', '.join(SUFFIXES)})")
        tables[path.stem] = same_names(read_proposals(path), truth)
    for name, table in tables.items():
        if output is None:
            evaluation = evaluate_segments(table, truth)
        else:
            folder = output / name if len(tables) > 1 else output
            folder.mkdir(parents=True, exist_ok=True)
            segments.write(table, folder / SEGMENTS, {"model": name})
            truth.write(folder)
            (folder / FACTS).write_text(json.dumps({"title": name, "model": name, "dataset": known.stem}))
            evaluation = write_segment_report(folder)
            write_results(table, folder / "results.json")
            write_challenge(table, truth, folder / "challenge.json")
            write_annotations(truth, folder / "annotations.json")
            console.print(f"report: {folder / 'report.html'}", soft_wrap=True)
        console.print(segment_table(evaluation, name))
        console.print(headline(evaluation), soft_wrap=True)
    for verdict in compare_proposals(tables, truth):
        console.print(verdict, soft_wrap=True)
