"""After a multirun: one table that compares its runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

EVALUATIONS = "evaluations.txt"  # in a sweep's folder: what its jobs evaluated, which lies with the runs


def note_evaluations(sweep: Path, folders: Sequence[Path]) -> None:
    """Tell the sweep where the reports of one of its jobs lie."""
    sweep.mkdir(parents=True, exist_ok=True)
    with (sweep / EVALUATIONS).open("a") as file:
        file.writelines(f"{folder.absolute()}\n" for folder in folders)


class Comparison(Callback):
    """A Hydra callback that prints and writes the comparison of a sweep's runs."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Compare what the jobs left behind."""
        from rich.console import Console

        from dfd.evaluation.compare import collect, comparison_table, write_comparison

        folder = Path(config.hydra.sweep.dir)
        noted = (folder / EVALUATIONS).read_text().splitlines() if (folder / EVALUATIONS).is_file() else []
        runs = sorted({*(path.parent for path in folder.glob("*/eval")), *map(Path, noted)})
        if not runs:
            return
        table = collect(runs)
        console = Console()
        console.print(comparison_table(table))
        console.print(f"comparison: {write_comparison(table, folder)}", soft_wrap=True)
