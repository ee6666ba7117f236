"""dfd-predict: judge videos and images, by path, folder or pattern."""

import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, ListConfig

from dfd.cli.app import command
from dfd.cli.invocation import Invocation
from dfd.core.build import allowed_networks
from dfd.core.errors import DfdError

if TYPE_CHECKING:
    from dfd.inference.verdict import FileResult, Judging

log = logging.getLogger("dfd")


def predict(cfg: DictConfig, _: Invocation | None = None) -> float:
    """Judge every file, print a verdict for each, and write the tables; return the share judged fake."""
    from dfd.core.run_folder import run_of
    from dfd.inference.engine import Engine
    from dfd.inference.media import media_files
    from dfd.inference.results import write_results

    files = media_files(_several(cfg.input))
    if finds_segments(cfg):
        from dfd.cli.predict_segments import predict_segments

        return predict_segments(cfg, files)
    engine = Engine.load(
        _several(cfg.run),
        cfg.device,
        frames=cfg.frames,
        faces=cfg.faces,
        threshold=cfg.threshold,
        strategy=cfg.strategy,
        ood=cfg.ood,
        explain=cfg.explain,
        batch_size=cfg.batch_size,
        allow_sample=cfg.allow_sample,
        networks=allowed_networks(cfg.plugins),
    )
    if engine.trained_on_sample:
        judges = "its verdicts on them mean nothing" if cfg.allow_sample else "they are inconclusive"
        log.warning("this detector was trained on the rendered SAMPLE, not on real media: %s", judges)
    results = _judge_all(engine.judge_all(files, cfg.workers), len(files))
    run = run_of(engine.members[0].path)
    folder = Path(cfg.output) if cfg.output else run / "predict" / time.strftime("%Y%m%d-%H%M%S")
    verdicts = write_results(results, folder)
    show(results, engine.judging, folder)
    if not any(result.count for result in results):
        raise DfdError(f"none of the {len(files)} file(s) could be judged: see the reasons above")
    return float((verdicts["verdict"] == "fake").mean())


def finds_segments(cfg: DictConfig) -> bool:
    """Whether the run finds forged stretches of time; several such runs cannot be averaged."""
    from dfd.core.run_folder import find_checkpoint
    from dfd.models.checkpoint import CARD, read_checkpoint

    kinds = [
        read_checkpoint(find_checkpoint(Path(run)))[CARD].get("input", {}).get("kind") for run in _several(cfg.run)
    ]
    if "sequence" in kinds and len(kinds) > 1:
        raise DfdError("localisers are not averaged: give one run=")
    return "sequence" in kinds


def _several(value: str | ListConfig) -> list[str]:
    return [value] if isinstance(value, str) else [str(each) for each in value]


def _judge_all(results: "Iterable[FileResult]", total: int) -> "list[FileResult]":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("judging"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        return list(progress.track(results, total=total))


def show(results: "Sequence[FileResult]", judging: "Judging", folder: Path) -> None:
    """Print a line per file, the totals, and where the threshold comes from."""
    from collections import Counter

    import numpy as np
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(caption=judging.origin)
    for name in ("file", "verdict", "score (higher = fake)", "views"):
        table.add_column(name, justify="left" if name in ("file", "verdict") else "right")
    styles = {"fake": "bold red", "real": "green"}
    for result in results:
        score = "-" if np.isnan(result.score) else f"{result.score:.3f}"
        text = f"{result.verdict}: {result.reason}" if result.reason else result.verdict
        style = styles.get(result.verdict, "yellow")
        table.add_row(Text(str(result.path)), Text(text, style), score, str(result.count))
    console = Console()
    console.print(table)
    counts = Counter(result.verdict for result in results)
    totals = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    console.print(f"{totals}; tables: {folder}", soft_wrap=True)


main = command("predict", predict)

if __name__ == "__main__":
    main()
