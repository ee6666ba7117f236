"""Leave out one manipulation in turn, train on the others, test on it: scripts/leave_one_out.py model=... data=ffpp."""

import argparse
import csv
import shutil
import subprocess
import sys
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from dfd.core.configs import config_dir
from dfd.evaluation.report import read_evaluation

DONE = "trained"  # a mark in a run folder whose training came to its end: a killed one has a best.ckpt too
HANDED_ON = ("data.", "paths.", "eval.", "eval=", "trainer.", "trainer=", "plugins=")  # to the evaluations

EXAMPLES = """examples:
  scripts/leave_one_out.py model=efficientnet data=ffpp data.root=/data/FaceForensics++
  scripts/leave_one_out.py --methods Deepfakes,FaceSwap model=meso data=ffpp trainer.max_epochs=2
"""


def main() -> None:
    """Train once per manipulation, evaluate on the others' test videos and on its own, and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", help="which to leave out in turn (default: every one of the dataset)")
    parser.add_argument("--output", type=Path, default=Path("outputs/leave_one_out"))
    options, overrides = parser.parse_known_args()
    data = next((text[5:] for text in overrides if text.startswith("data=")), "ffpp")
    known = methods(data)
    rows = []
    for left in options.methods.split(",") if options.methods else known:
        if left not in known:
            parser.error(f"no manipulation {left!r} in data={data}: there are {', '.join(known)}")
        rows.append((left, *leave_out(left, known, data, options.output.absolute(), overrides)))
    show(rows, options.output)


def methods(data: str) -> list[str]:
    """Return the manipulations that a dataset's configuration names."""
    found = OmegaConf.select(OmegaConf.load(config_dir() / "data" / f"{data}.yaml"), "index.methods", default=[])
    if len(found) < 2:
        sys.exit(f"data={data} names no manipulations to leave out (index.methods)")
    return list(found)


def leave_out(left: str, known: list[str], data: str, output: Path, overrides: list[str]) -> tuple[str, str]:
    """Train without one manipulation, unless that was done; return video AUC on those seen and on the one unseen."""
    run = output / f"without-{left}"
    seen = ",".join(method for method in known if method != left)
    train(run, *overrides, f"data.index.methods=[{seen}]", "test=false")
    numbers = []
    for name, some in (("seen", seen), ("unseen", left)):
        folder = run / "eval" / name
        same = [text for text in overrides if text.lstrip("+").startswith(HANDED_ON)]
        command("eval", f"run={run}", f"data={data}", *same, f"data.index.methods=[{some}]", f"output={folder}")
        numbers.append(str(read_evaluation(folder).video["auc"]))
    return numbers[0], numbers[1]


def train(run: Path, *overrides: str) -> None:
    """Train into a folder, unless that was done; go on with a training that was stopped or killed."""
    if (run / DONE).is_file():
        return
    checkpoints, resume = run / "checkpoints", []
    if (checkpoints / "last.ckpt").is_file():
        resume = ["ckpt_path=last"]
    else:
        shutil.rmtree(checkpoints, ignore_errors=True)  # what was left before a first epoch
    command("train", *overrides, f"run_dir={run}", *resume)
    (run / DONE).touch()


def command(name: str, *arguments: str) -> None:
    """Run one of our commands; its failure ends this script with its own message."""
    done = subprocess.run([sys.executable, "-m", f"dfd.cli.{name}", *arguments], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def show(rows: list[tuple[str, str, str]], output: Path) -> None:
    """Print the table and write it as CSV."""
    header = ["left out", "video AUC on those seen", "on the one unseen"]
    table = Table(*header, title="Leave one manipulation out")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    with (output / "leave_one_out.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


if __name__ == "__main__":
    main()
