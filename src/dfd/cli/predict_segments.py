"""Prediction of localisers: forged stretches of every file, as tables, in others' formats, and as timelines."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dfd.core.build import allowed_networks
from dfd.core.errors import DfdError
from dfd.core.run_folder import run_of
from dfd.inference.segment_results import write_segments
from dfd.inference.segments import Located, SegmentEngine

log = logging.getLogger("dfd")
BELIEVED = 0.5  # score from which a stretch is named on the screen, unless threshold= says otherwise


def predict_segments(cfg: DictConfig, files: Sequence[Path]) -> float:
    """Find the forged stretches of every file; return the share of files with one."""
    engine = SegmentEngine.load(
        str(cfg.run if isinstance(cfg.run, str) else cfg.run[0]), cfg.device, allowed_networks(cfg.plugins)
    )
    if engine.card.sample:
        log.warning("this localiser was trained on the rendered SAMPLE, not on real media: what it finds means nothing")
    located = [engine.locate(path) for path in track(files, "looking", console=Console(stderr=True))]
    threshold = BELIEVED if cfg.threshold is None else float(cfg.threshold)
    run = run_of(engine.path)
    folder = Path(cfg.output) if cfg.output else run / "predict" / time.strftime("%Y%m%d-%H%M%S")
    write_segments(located, folder)
    _show(located, threshold, folder)
    judged = [one for one in located if not one.reason]
    if not judged:
        raise DfdError(f"none of the {len(located)} file(s) could be looked at: see the reasons above")
    return sum(one.score >= threshold for one in judged) / len(judged)


def _show(located: Sequence[Located], threshold: float, folder: Path) -> None:
    table = Table(caption=f"stretches that score at least {threshold:g}")
    for name in ("file", "score", "forged stretches"):
        table.add_column(name, justify="right" if name == "score" else "left")
    for one in located:
        named = sorted((p for p in one.proposals if p.score >= threshold), key=lambda p: p.start)
        segments = ", ".join(f"{p.start:.2f}-{p.end:.2f} s ({p.stream}, {p.score:.2f})" for p in named) or "none"
        table.add_row(str(one.path), f"{one.score:.3f}" if not one.reason else "-", one.reason or segments)
    console = Console()
    console.print(table)
    console.print(f"tables and timelines: {folder}", soft_wrap=True)
