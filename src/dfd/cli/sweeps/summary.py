"""After a multirun: what became of its jobs, a picture of their parameters, and a table of what they evaluated."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from dfd.cli.exits import INCOMPLETE
from dfd.cli.sweeps import jobs
from dfd.metrics.direction import lower_is_better

if TYPE_CHECKING:
    from rich.console import Console

log = logging.getLogger("dfd")

PAIRS = 10  # paired tests in the terminal; the page has all of them
EVALUATIONS = "evaluations.txt"  # in a sweep's folder: what its jobs evaluated, which lies with the runs


def note_evaluations(sweep: Path, folders: Sequence[Path]) -> None:
    """Tell the sweep where the reports of one of its jobs lie."""
    sweep.mkdir(parents=True, exist_ok=True)
    with (sweep / EVALUATIONS).open("a", encoding="utf-8") as file:
        file.writelines(f"{folder.absolute()}\n" for folder in folders)


class Comparison(Callback):
    """A Hydra callback that prints and writes what a sweep found; the process fails if one of its jobs did."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Say how a sweep goes on that will be stopped."""
        if config.hydra.sweeper["_target_"].endswith("BasicSweeper"):
            log.info(
                "sweep %s; if it is stopped: %s",
                config.hydra.sweep.dir,
                jobs.how_to_go_on(Path(config.hydra.sweep.dir), config),
            )

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Compare what the jobs left behind."""
        from rich.console import Console

        folder, console = Path(config.hydra.sweep.dir), Console()
        found = [_ended(job) for job in jobs.read_all(folder)]
        if found:
            with _attempted("table of jobs"):
                _show(found, folder, str(config.get("metric", "video AUC")), console)
        with _attempted("comparison of evaluations"):
            _compare(folder, console)
        failed = [job for job in found if job.status == jobs.FAILED]
        for job in failed:
            log.error("job %d failed: %s (%s)", job.number, job.reason, job.folder)
        if failed:
            raise SystemExit(INCOMPLETE)


@contextmanager
def _attempted(what: str) -> Iterator[None]:
    """Say why something could not be written; Hydra would swallow the error, and with it that jobs failed."""
    try:
        yield
    except Exception as error:
        log.error("no %s: %s: %s", what, type(error).__name__, " ".join(str(error).split()))
        log.debug("where it failed", exc_info=error)


def _ended(job: jobs.Job) -> jobs.Job:
    """Nothing runs any more when a multirun ends: what still says so was killed."""
    return jobs.failed(job, "its process died") if job.status == jobs.RUNNING else job


def _show(found: Sequence[jobs.Job], folder: Path, metric: str, console: "Console") -> None:
    """Print the jobs, and write their table and picture."""
    from dfd.evaluation.sweeps import Point, Sweep, sweep_table, write_sweep

    points = [
        Point(job.number, _parameters(job), job.status, job.score, job.reason, job.seconds, job.folder) for job in found
    ]
    sweep = Sweep.of(points, metric, lower_is_better(metric), folder.name)
    console.print(sweep_table(sweep))
    if sweep.best is not None:
        console.print(f"best: {sweep.best.folder}", soft_wrap=True)
    console.print(f"sweep: {write_sweep(sweep, folder)}", soft_wrap=True)


def _compare(folder: Path, console: "Console") -> None:
    """Compare the evaluations of a sweep's jobs, if they made any."""
    from dfd.evaluation.compare import collect, comparison_table, pairs, write_comparison

    noted = (folder / EVALUATIONS).read_text(encoding="utf-8").splitlines() if (folder / EVALUATIONS).is_file() else []
    gone = [text for text in noted if not Path(text).is_dir()]
    if gone:
        log.warning("%d noted evaluations are gone and left out: %s", len(gone), ", ".join(gone))
    runs = sorted(
        {*(path.parent for path in folder.glob("*/eval")), *(Path(text) for text in noted if text not in gone)}
    )
    if runs:
        table = collect(runs)
        console.print(comparison_table(table))
        tested, notes = pairs(table)
        for pair in tested[:PAIRS]:
            console.print(pair.verdict(), soft_wrap=True)
        console.print(f"comparison: {write_comparison(table, folder, tested, notes)}", soft_wrap=True)


def _parameters(job: jobs.Job) -> dict[str, str]:
    pairs = (text.lstrip("+").partition("=") for text in job.overrides)
    return {key: value for key, _, value in pairs if not key.startswith("hparams_search")}
