"""dfd-report: compare runs, rewrite their reports, or evaluate anybody's predictions."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import track

from dfd.cli.exits import plain_command
from dfd.core import predictions
from dfd.core.errors import DfdError, did_you_mean
from dfd.evaluation import compare
from dfd.evaluation.evaluate import Evaluation, evaluate
from dfd.evaluation.importers import SUFFIXES, Imported, read_all
from dfd.evaluation.protocol import Protocol
from dfd.evaluation.report import FACTS, MISSING, PREDICTIONS, read_evaluation, write_report
from dfd.evaluation.tables import SUFFIXES as FORMS
from dfd.evaluation.tables import evaluation_table, export
from dfd.evaluation.versus import Versus, versus

EXAMPLES = """examples:
  dfd-report outputs/ffpp_meso_20260101-120000       one run: its table, and where its report is
  dfd-report outputs/** --output board               every run: a sortable page, CSV, Markdown, LaTeX, JSON
  dfd-report outputs/* --rewrite                     rebuild every report from its prediction table
  dfd-report predictions.csv labels.csv              anybody's predictions, joined with labels by name
  dfd-report ours.csv theirs.csv labels.csv          two detectors on the same videos: who is better, and is it sure
  dfd-report submission.csv labels.csv --eval dfdc   a DFDC submission by its own protocol
  dfd-report metric_dict_best.pickle --eval deepfakebench --output page --format latex,csv

files: CSV, Parquet, JSON or pickle, with a name (video, filename, path, ...) and a score, and perhaps label, method,
group (person or source video), dataset, t; any other column of few values becomes a table of its own.
"""


@plain_command(lambda: _parser().format_help())
def main(words: list[str]) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(words)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    _report(options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "dfd-report", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", type=Path, help="run folders, or files of predictions and labels")
    parser.add_argument("--output", type=Path, help="folder for pages and tables")
    parser.add_argument("--eval", help="a protocol of configs/eval (default: each run's own; video for files)")
    parser.add_argument("--format", default="csv,latex,markdown,json", help="what files are exported as, into --output")
    parser.add_argument("--rewrite", action="store_true", help="write metrics.json and the reports of runs again")
    parser.add_argument("--threshold", type=float, help="of the accuracy (default: the protocol's)")
    parser.add_argument("--resamples", type=int, help="of the bootstrap (default: the protocol's)")
    parser.add_argument("--segments", action="store_true", help="proposals of forged stretches; the last file is true")
    parser.add_argument("--subset", help="of the annotations, with --segments: e.g. test")
    return parser


def preset(name: str) -> Protocol:
    """Return a protocol of `configs/eval`."""
    from dfd.core.configs import config_dir

    folder = config_dir() / "eval"
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in names:
        raise DfdError(f"no protocol {name!r}{did_you_mean(name, names)}: there are {', '.join(names)}")
    merged = OmegaConf.merge(*(OmegaConf.load(folder / f"{each}.yaml") for each in ("video", name)))
    values: dict = OmegaConf.to_container(merged)  # type: ignore[assignment]
    return Protocol.of({key: value for key, value in values.items() if key != "defaults"})


def _report(options: argparse.Namespace) -> None:
    console = Console()
    if options.segments:
        from dfd.cli.report_segments import report_segments

        report_segments(options.paths, options.output, options.subset, console)
        return
    paths = compare.outermost(options.paths)
    folders, files = [p for p in paths if p.is_dir()], [p for p in paths if not p.is_dir()]
    if files:
        missing = [path for path in files if not path.exists()]
        if missing:
            raise DfdError(f"no run and no file at {missing[0]}")
        odd = [path for path in files if path.suffix not in SUFFIXES]
        if odd:
            raise DfdError(f"{odd[0]} is neither a run folder nor a file of {', '.join(SUFFIXES)}")
        _files(files, options, console)
    if folders:
        _runs(folders, options, console)


def _files(files: Sequence[Path], options: argparse.Namespace, console: Console) -> None:
    """Evaluate files of predictions, one by one and against each other."""
    protocol = _adjusted(preset(options.eval or "video"), options)
    tables = read_all(files)
    for name, imported in tables.items():
        if options.output is None:
            evaluation = evaluate(imported.table, protocol, missing=imported.missing, noun=imported.noun)
            evaluation.notes.extend(imported.notes)
            console.print(evaluation_table(evaluation, title=name))
        else:
            folder = options.output / name.replace("/", "_") if len(tables) > 1 else options.output
            evaluation = _written(folder, name, imported, protocol)
            console.print(evaluation_table(evaluation, title=name))
            for form in options.format.split(","):
                (folder / f"report_table{FORMS.get(form, '')}").write_text(export(evaluation, form), encoding="utf-8")
            console.print(f"report: {folder / 'report.html'}", soft_wrap=True)
    if len(tables) > 1:
        found = versus({name: imported.table for name, imported in tables.items()}, protocol)
        _print_verdicts(found, console)
        if options.output is not None:
            (options.output / "pairs.json").write_text(json.dumps([pair.plain() for pair in found], indent=2))


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


def _runs(folders: Sequence[Path], options: argparse.Namespace, console: Console) -> None:
    """Compare the evaluations of runs."""
    changes = [f"--{name}" for name in ("eval", "threshold", "resamples") if getattr(options, name) is not None]
    if changes and not options.rewrite:
        raise DfdError(
            f"{', '.join(changes)} would not change the numbers of runs, which lie in their folders: add --rewrite to "
            "compute them again"
        )
    evaluations = compare.find(folders)
    if options.rewrite:
        for folder in track(evaluations, "rewriting", console=Console(stderr=True)):
            _rewrite(folder, options)
    table = compare.collect(folders)
    console.print(compare.comparison_table(table))
    seeds = compare.over_seeds(table)
    for row in seeds.to_dict("records"):
        console.print(f"{row['model']} on {row['dataset']}, {row['seeds']} seeds: AUC {row['AUC']} (mean ± sd)")
    pairs, notes = compare.pairs(table)
    _print_verdicts(pairs, console)
    for note in [*notes, *compare.repeated(table)]:
        console.print(note, soft_wrap=True)
    if options.output:
        page = compare.write_comparison(table, options.output, pairs, notes)
        console.print(f"comparison: {page}", soft_wrap=True)
    if len(evaluations) <= 5:
        for folder in evaluations:
            console.print(f"report: {folder / 'report.html'}", soft_wrap=True)


def _rewrite(folder: Path, options: argparse.Namespace) -> None:
    if options.eval:
        write_report(folder, _adjusted(preset(options.eval), options))
        return
    try:
        own = read_evaluation(folder).protocol
    except DfdError:  # damaged or of an older version: that is what this is for
        own = Protocol()
    write_report(folder, _adjusted(own, options))


def _adjusted(protocol: Protocol, options: argparse.Namespace) -> Protocol:
    given = {"threshold": options.threshold, "resamples": options.resamples}
    return replace(protocol, **{key: value for key, value in given.items() if value is not None})


def _print_verdicts(pairs: Sequence[Versus], console: Console, most: int = 10) -> None:
    for pair in pairs[:most]:
        console.print(pair.verdict(), soft_wrap=True)
    if len(pairs) > most:
        console.print(f"... and {len(pairs) - most} more comparisons: --output writes all")


if __name__ == "__main__":
    sys.exit(main())
