"""Average the best epochs of a run by a logged number: python scripts/average_checkpoints.py outputs/run --best 5.

The run needs `callbacks=every`. The number is taken from its metrics.csv, which validation wrote: never from a test.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from dfd.core.errors import DfdError
from dfd.metrics.direction import lower_is_better


def best_epochs(metrics: Path, by: str, count: int, skip: int) -> list[int]:
    """Return the epochs of the best values, highest or lowest; the first `skip` epochs do not count."""
    if not metrics.is_file():
        raise DfdError(f"no {metrics}: give a run folder, whose training writes it")
    table = pd.read_csv(metrics)
    if by not in table.columns:
        raise DfdError(f"--by {by} was never logged; logged are {', '.join(table.columns)}")
    table = table[table["epoch"] >= skip].dropna(subset=by)  # not every epoch is validated
    if table.empty:
        raise DfdError(f"--by {by} has no value from epoch {skip} on: --skip fewer, or average by another number")
    table = table.sort_values(by, ascending=lower_is_better(by), kind="stable")
    return sorted(table["epoch"].astype(int).head(count))


def main() -> int:
    """Parse the command line and average."""
    from dfd.training.averaging import average_checkpoints

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--best", type=int, default=5, help="how many epochs")
    parser.add_argument("--by", default="val/auc", help="a column of metrics.csv")
    parser.add_argument("--skip", type=int, default=0, help="epochs at the start that do not count")
    arguments = parser.parse_args()
    folder = arguments.run / "checkpoints"
    try:
        epochs = best_epochs(arguments.run / "metrics.csv", arguments.by, arguments.best, arguments.skip)
        average_checkpoints([folder / f"epoch{epoch:03d}.ckpt" for epoch in epochs], folder / "average.ckpt")
    except DfdError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"wrote {folder / 'average.ckpt'}: the mean of epochs {', '.join(map(str, epochs))}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
