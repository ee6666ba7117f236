"""dfd-report: compare runs, rewrite their reports, or evaluate anybody's predictions."""

import argparse
import logging
import sys
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console

from dfd.cli.exits import plain_command
from dfd.core.errors import DfdError, did_you_mean
from dfd.evaluation import compare
from dfd.evaluation.importers import SUFFIXES
from dfd.evaluation.protocol import Protocol
from dfd.runs.reports import Request, report_files, report_runs

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
    request = Request(options.output, options.format.split(","), options.rewrite, options.threshold, options.resamples)
    paths = compare.outermost(options.paths)
    folders, files = [p for p in paths if p.is_dir()], [p for p in paths if not p.is_dir()]
    if files:
        missing = [path for path in files if not path.exists()]
        if missing:
            raise DfdError(f"no run and no file at {missing[0]}")
        odd = [path for path in files if path.suffix not in SUFFIXES]
        if odd:
            raise DfdError(f"{odd[0]} is neither a run folder nor a file of {', '.join(SUFFIXES)}")
        report_files(files, preset(options.eval or "video"), request, console)
    if folders:
        report_runs(folders, preset(options.eval) if options.eval else None, request, console)


if __name__ == "__main__":
    sys.exit(main())
