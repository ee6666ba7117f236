"""dfd-predict: judge videos and images, by path, folder or pattern."""

import functools
import logging
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig

from dfd.cli.app import command
from dfd.cli.invocation import Invocation
from dfd.core.build import allowed_networks
from dfd.core.errors import DfdError, Incomplete
from dfd.core.locks import alone_in
from dfd.core.text import printable, short_names, without_path

if TYPE_CHECKING:
    import pandas as pd

    from dfd.inference.engine import Engine
    from dfd.inference.journal import Journal
    from dfd.inference.verdict import FileResult, Judging

log = logging.getLogger("dfd")

# what decides the results of a file: a stopped command goes on if they are the same
ASKED = ("run", "threshold", "ood", "frames", "faces", "strategy", "explain")


def predict(cfg: DictConfig, _: Invocation | None = None) -> float:
    """Judge every file, print a verdict for each, and write the tables; return the share judged fake."""
    from dfd.inference.engine import Engine
    from dfd.inference.journal import judged_in_order
    from dfd.inference.media import media_files
    from dfd.inference.sandbox import Limits

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
    journal, folder = _journal(cfg, engine)
    limits = Limits(cfg.seconds, int(cfg.memory * 2**30))
    judge = functools.partial(engine.judge_all, workers=cfg.workers, limits=limits)
    with alone_in(folder, otherwise="wait until it ends, or choose another output="):
        results = _judge_all(judged_in_order(files, journal, judge), len(files))
        show(results, engine.judging)
        verdicts = _write(results, folder, cfg.original_files)
        journal.finish()
    judged = sum(result.verdict != "not judged" for result in results)
    if not judged:
        raise DfdError(f"none of the {len(files)} file(s) could be judged: see the reasons above")
    if judged < len(files):
        raise Incomplete(f"{len(files) - judged} of {len(files)} files were not judged: see the reasons above")
    return float((verdicts["verdict"] == "fake").mean())


def _write(results: "Sequence[FileResult]", folder: Path, original_files: bool) -> "pd.DataFrame":
    """Write the tables where there is room, and say where; return the verdicts."""
    from dfd.inference.journal import writable_folder
    from dfd.inference.results import write_results
    from dfd.runs.talk_files import draw_talk, write_original_files

    elsewhere = [Path.cwd() / "predict", Path(tempfile.gettempdir()) / f"dfd-predict-{os.getpid()}"]
    place = writable_folder(folder, elsewhere)
    verdicts = write_results(results, place)
    draw_talk(results, place)
    if original_files:
        write_original_files(results, place)
    if place != folder:
        log.warning("%s cannot be written (full or read-only): the tables are elsewhere", folder)
    print_line(f"tables: {place}")
    return verdicts


def finds_segments(cfg: DictConfig) -> bool:
    """Whether the run finds forged stretches of time; several such runs cannot be averaged."""
    from dfd.models.checkpoint import read_card

    kinds = [read_card(Path(run)).input.get("kind") for run in _several(cfg.run)]
    if "sequence" in kinds and len(kinds) > 1:
        raise DfdError("localisers are not averaged: give one run=")
    return "sequence" in kinds


def _journal(cfg: DictConfig, engine: "Engine") -> "tuple[Journal, Path]":
    """Return the journal of this command and its folder: those of the same command that was stopped, or new ones."""
    from dfd.core.run_folder import run_of
    from dfd.inference.journal import Journal

    runs = run_of(engine.members[0].path) / "predict"
    folder = Path(cfg.output) if cfg.output else runs / time.strftime("%Y%m%d-%H%M%S")
    asked: dict[str, Any] = {key: str(cfg[key]) for key in ASKED}
    asked["checkpoints"] = [(str(one.path), one.path.stat().st_mtime_ns) for one in engine.members]
    stopped = [folder] if cfg.output else list(runs.glob("*"))
    journal = Journal.continued(stopped, asked)
    if journal is None:
        return Journal(folder, asked), folder
    log.info("going on in %s: %d files were judged before", journal.path.parent, len(journal.known))
    return journal, journal.path.parent


def print_line(text: str) -> None:
    """Print one line as it is, however long."""
    from rich.console import Console

    Console().print(printable(text), soft_wrap=True, markup=False, highlight=False)


def _several(value: str | ListConfig) -> list[str]:
    return [value] if isinstance(value, str) else [str(each) for each in value]


def _judge_all(results: "Iterable[FileResult]", total: int) -> "list[FileResult]":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("judging"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        return list(progress.track(results, total=total))


def show(results: "Sequence[FileResult]", judging: "Judging", folder: Path | None = None) -> None:
    """Print a line per file, the totals, and where the threshold comes from."""
    from collections import Counter

    import numpy as np
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(caption=f"score: higher = fake; {judging.origin}")
    for name in ("file", "verdict", "score", "views"):
        table.add_column(name, justify="left" if name in ("file", "verdict") else "right", overflow="fold")
    styles = {"fake": "bold red", "real": "green"}
    for result, name in zip(results, short_names([result.path for result in results]), strict=True):
        score = "-" if np.isnan(result.score) else f"{result.score:.3f}"
        reason = without_path(result.reason, result.path)
        text = f"{result.verdict}: {reason}" if reason else result.verdict
        style = styles.get(result.verdict, "yellow")
        table.add_row(Text(name), Text(printable(text), style), score, str(result.count))
    console = Console()
    console.print(table)
    counts = Counter(result.verdict for result in results)
    totals = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    console.print(f"{totals}; tables: {folder}" if folder else totals, soft_wrap=True)


main = command("predict", predict)

if __name__ == "__main__":
    main()
