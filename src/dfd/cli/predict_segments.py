"""Prediction of localisers: forged stretches of every file, as tables, in others' formats, and as timelines."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from dfd.core.build import allowed_networks
from dfd.core.errors import DfdError, Incomplete
from dfd.core.run_folder import run_of
from dfd.core.text import printable, short_names, without_path
from dfd.inference.sandbox import Limits
from dfd.inference.segment_results import write_segments
from dfd.inference.segments import BELIEVED, Located, SegmentEngine
from dfd.inference.verdict import FAKE

log = logging.getLogger("dfd")
SLOWER = 10  # times the seconds of other files: features of networks take longer than faces


def predict_segments(cfg: DictConfig, files: Sequence[Path]) -> float:
    """Find the forged stretches of every file; return the share of files with one."""
    run = str(cfg.run if isinstance(cfg.run, str) else cfg.run[0])
    threshold = BELIEVED if cfg.threshold is None else float(cfg.threshold)
    engine = SegmentEngine.load(run, cfg.device, allowed_networks(cfg.plugins), threshold, cfg.allow_sample)
    if engine.card.sample:
        judges = "its verdicts on them mean nothing" if cfg.allow_sample else "they are inconclusive"
        log.warning("this localiser was trained on the rendered SAMPLE, not on real media: %s", judges)
    limits = Limits(SLOWER * cfg.seconds, int(cfg.memory * 2**30))
    results = engine.locate_all(files, cfg.workers, limits)
    located = list(track(results, "judging", len(files), console=Console(stderr=True)))
    _show(located, threshold)
    folder = Path(cfg.output) if cfg.output else run_of(engine.path) / "predict" / time.strftime("%Y%m%d-%H%M%S")
    write_segments(located, folder)
    Console().print(f"tables and timelines: {folder}", soft_wrap=True, markup=False, highlight=False)
    judged = [one for one in located if one.judged]
    if not judged:
        raise DfdError(f"none of the {len(located)} file(s) could be judged: see the reasons above")
    if len(judged) < len(located):
        raise Incomplete(f"{len(located) - len(judged)} of {len(located)} files were not judged: see the reasons above")
    return sum(one.verdict == FAKE for one in judged) / len(judged)


def _show(located: Sequence[Located], threshold: float) -> None:
    table = Table(caption=f"fake: at least one stretch that scores {threshold:g} or more (higher = fake)")
    for name in ("file", "verdict", "score", "forged stretches"):
        table.add_column(name, justify="right" if name == "score" else "left", overflow="fold")
    for one, name in zip(located, short_names([one.path for one in located]), strict=True):
        named = sorted((p for p in one.proposals if p.score >= threshold), key=lambda p: p.start)
        segments = ", ".join(f"{p.start:.2f}-{p.end:.2f} s ({p.stream}, {p.score:.2f})" for p in named) or "none"
        reason = without_path(one.reason, one.path)
        verdict = f"{one.verdict}: {reason}" if reason else one.verdict
        score = f"{one.score:.3f}" if one.judged else "-"
        table.add_row(Text(name), Text(printable(verdict)), score, segments if one.judged else "-")
    Console().print(table)
