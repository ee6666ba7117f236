"""dfd-import: published weights of other code as a checkpoint that run= takes."""

import csv
import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path

from dfd.cli.exits import INCOMPLETE, plain_command
from dfd.cli.words import read_words
from dfd.core.errors import DfdError

HELP = """dfd-import KIND FILE [OUTPUT]                   write FILE.ckpt, or OUTPUT, which run= takes
dfd-import dfdc-check submission.csv            compare with the DFDC winner's scores of Kaggle's first ten test videos

Every weight must find its place, or nothing is written. Kinds:
"""


@dataclass
class Options:
    """What only some kinds ask.

    Args:
        ema: tall: take the averaged weights that the container holds.
        streams: localisation: features as [name:width:rate], in the order of training.
        length: localisation: steps of the grid; null: the authors'.
        current: localisation: take the weights themselves, not their moving average.
        tolerance: dfdc-check: by how much a score may differ.
    """

    ema: bool = False
    streams: list[str] = field(default_factory=list)
    length: int | None = None
    current: bool = False
    tolerance: float = 0.05


def _kinds() -> str:
    from dfd.runs.importing import IMPORTERS

    return "\n".join(f"  {kind:14} {(function.__doc__ or '').splitlines()[0]}" for kind, function in IMPORTERS.items())


@plain_command(lambda: HELP + _kinds() + "\n" + (Options.__doc__ or ""))
def main(words: list[str]) -> int:
    """Run the command; return its exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    others, options = read_words(Options, words)
    if len(others) == 2 and others[0] == "dfdc-check":
        return _check(Path(others[1]), options.tolerance)
    if len(others) not in (2, 3):
        raise DfdError("say what: dfd-import KIND FILE [OUTPUT]; --help lists the kinds")
    from dfd.runs.importing import Choices, import_file

    choices = Choices(options.ema, tuple(options.streams), options.length, options.current)
    path = import_file(others[0], Path(others[1]), Path(others[2]) if len(others) == 3 else None, choices)
    print(f"wrote {path}: python eval.py run={path} data=...")  # noqa: T201
    return 0


def read_scores(path: Path) -> dict[str, float]:
    """Return the scores of a submission.csv by video."""
    if not path.is_file():
        raise DfdError(f"no file at {path}: give a submission.csv")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or ["none"]
        if not {"filename", "label"} <= set(columns):
            raise DfdError(f"{path} has the columns {', '.join(columns)}: it needs filename and label")
        try:
            return {Path(row["filename"]).stem: float(row["label"]) for row in reader}
        except (TypeError, ValueError) as error:
            raise DfdError(f"{path} is not a table of filename and score, line {reader.line_num}: {error}") from None


def _check(submission: Path, tolerance: float) -> int:
    """Compare a submission.csv over Kaggle's first ten test videos with the published scores of the ensemble."""
    from dfd.models.dfdc_weights import PUBLISHED, off_published

    off = off_published(read_scores(submission), tolerance)
    for name, (ours, published) in off.items():
        sys.stderr.write(f"{name}: {ours:.4f}, published {published:.4f}\n")
    print(f"{len(PUBLISHED) - len(off)} of {len(PUBLISHED)} videos within {tolerance:g}")  # noqa: T201
    return INCOMPLETE if off else 0


if __name__ == "__main__":
    sys.exit(main())
