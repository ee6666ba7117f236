"""After a multirun: one table that compares its runs."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class Comparison(Callback):
    """A Hydra callback that prints and writes the comparison of a sweep's runs."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Compare what the jobs left behind."""
        from rich.console import Console

        from dfd.evaluation.compare import collect, comparison_table, write_comparison

        folder = Path(config.hydra.sweep.dir)
        runs = sorted(path.parent for path in folder.glob("*/eval"))
        if not runs:
            return
        table = collect(runs)
        console = Console()
        console.print(comparison_table(table))
        console.print(f"comparison: {write_comparison(table, folder)}", soft_wrap=True)
