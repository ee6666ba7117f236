"""Train a recipe with several seeds and print mean, spread and minimum: scripts/seeds.py model=tall data=ffpp."""

import argparse
import csv
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import pandas as pd
from rich.console import Console
from rich.table import Table

from dfd.core.cores import cores
from dfd.evaluation.report import METRICS, read_evaluation

EXAMPLES = """Every run is pinned to CORES cores, as many runs side by side as the machine has cores for. The data is
prepared first, on all cores. A run that is done is not done again.

examples:
  scripts/seeds.py model=tall data=ffpp
  scripts/seeds.py --seeds 0-4 --variant "plain=" --variant "ema=callbacks=ema callbacks.ema.decay=0.98" model=tall
"""


console = Console(width=160)


@dataclass(frozen=True)
class Trial:
    """One training: a variant of the recipe with a seed, and what came of it."""

    variant: str
    seed: int
    folder: Path
    overrides: tuple[str, ...]

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.folder.with_suffix(".log")

    @property
    def clock(self) -> Path:
        """Where the seconds it took are kept."""
        return self.folder.with_suffix(".seconds")


def main() -> None:
    """Run all variants with all seeds and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0-4", help="such as 0-4 or 1,2,7 (default: 0-4)")
    parser.add_argument("--cores", type=int, default=2, help="of one run (default: 2)")
    parser.add_argument("--variant", action="append", metavar="NAME=OVERRIDES", help="repeat to compare recipes")
    parser.add_argument("--output", type=Path, default=Path("outputs/seeds"))
    options, overrides = parser.parse_known_args()
    variants = dict(text.partition("=")[::2] for text in options.variant or ["recipe="])
    output = options.output.absolute()
    trials = [
        Trial(name, seed, output / f"{name}_seed{seed}", (*overrides, *shlex.split(more), f"seed={seed}"))
        for seed in seeds(options.seeds)
        for name, more in variants.items()
    ]
    output.mkdir(parents=True, exist_ok=True)
    prepare(overrides)
    run_all(trials, options.cores)
    report(trials, output, " ".join(overrides))


def seeds(text: str) -> list[int]:
    """Return the seeds that "0-4" or "1,2,7" names."""
    parts = (part.partition("-") for part in text.split(","))
    return [seed for first, _, last in parts for seed in range(int(first), int(last or first) + 1)]


def prepare(overrides: Sequence[str]) -> None:
    """Render or index the data and cut its faces, once for all runs."""
    chosen = [text for text in overrides if text.startswith(("data=", "data.", "paths.")) and ".loader." not in text]
    started = time.time()
    subprocess.run([sys.executable, "-m", "dfd.cli.preprocess", *chosen], check=True)
    console.print(f"data prepared in {time.time() - started:.0f} s on {cores()} cores")


def run_all(trials: Sequence[Trial], wanted: int) -> None:
    """Run the trials, each pinned to cores that no other uses meanwhile, where the system can pin."""
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(cores()))
    slots: SimpleQueue[list[int]] = SimpleQueue()
    count = max(1, len(available) // wanted)
    for number in range(count):
        slots.put(available[number * wanted : (number + 1) * wanted])
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda trial: run(trial, slots), trials))


def run(trial: Trial, slots: "SimpleQueue[list[int]]") -> None:
    """Train once on the next free cores; what it prints goes into a file."""
    if trial.clock.is_file():
        return
    mine, started = slots.get(), time.time()
    environment = os.environ | {"OMP_NUM_THREADS": str(len(mine)), "MKL_NUM_THREADS": str(len(mine))}
    command = [sys.executable, "-m", "dfd.cli.train", *trial.overrides, f"run_dir={trial.folder}"]
    try:
        with trial.log.open("w") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(process.pid, mine)
            if process.wait():
                console.print(f"{trial.variant} seed {trial.seed} failed: see {trial.log}")
                return
    finally:
        slots.put(mine)
    trial.clock.write_text(f"{time.time() - started:.0f}")
    console.print(f"{trial.variant} seed {trial.seed}: {time.time() - started:.0f} s")


def report(trials: Sequence[Trial], output: Path, title: str) -> None:
    """Print a row per run and the summary of every variant; write the rows as CSV."""
    rows = [row for trial in trials if (row := numbers(trial)) is not None]
    if not rows:
        sys.exit("no run came to its end: see the logs")
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    console.print(table)
    for variant in dict.fromkeys(row["variant"] for row in rows):
        found = [row["video AUC"] for row in rows if row["variant"] == variant]
        spread = statistics.stdev(found) if len(found) > 1 else float("nan")
        mean = statistics.mean(found)
        console.print(f"{variant}: video AUC {mean:.3f} ± {spread:.3f}, minimum {min(found):.3f}, {len(found)} seeds")
    with (output / "seeds.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def numbers(trial: Trial) -> dict | None:
    """Return what a run came to; None where it did not."""
    found = sorted(trial.folder.glob(f"eval/*-test/{METRICS}"))
    if not found or not trial.clock.is_file():
        return None
    evaluation = read_evaluation(found[0].parent)
    history = pd.read_csv(trial.folder / "metrics.csv")
    return {
        "variant": trial.variant,
        "seed": trial.seed,
        "video AUC": float(evaluation.video["auc"].value),
        **{name: float(values["auc"].value) for name, values in evaluation.methods.items()},
        "best epoch": f"{int(history['val/auc'].argmax()) + 1} of {len(history)}",
        "val AUC": float(history["val/auc"].max()),
        "seconds": trial.clock.read_text(),
    }


if __name__ == "__main__":
    main()
