"""What predict does with files whatever its run finds in them: locked, resumable, shown first and then written."""

import functools
import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from dfd.core.disk import in_words
from dfd.core.errors import DfdError, Incomplete
from dfd.core.locks import alone_in
from dfd.core.run_folder import run_of
from dfd.core.text import printable, short_names, without_path
from dfd.inference.journal import Journal, Result, judged_in_order, writable_folder
from dfd.inference.sandbox import Limits
from dfd.inference.verdict import FAKE, REAL

log = logging.getLogger("dfd")

STYLES = {FAKE: "bold red", REAL: "green"}


class Verdict(Result, Protocol):
    """What is found of one file, with a verdict."""

    @property
    def verdict(self) -> str:
        """Real, fake, inconclusive or not judged."""

    @property
    def reason(self) -> str:
        """Why it is no clear answer."""

    @property
    def judged(self) -> bool:
        """Whether the file could be looked at."""

    @property
    def score(self) -> float:
        """How fake it looks."""


Of = TypeVar("Of", bound=Verdict)
Write = Callable[[Sequence[Of], Path], object]  # tables and pictures of results into a folder


Found = TypeVar("Found", bound=Verdict, covariant=True)


class Judge(Protocol[Found]):
    """An engine: faces, talking faces or stretches of time."""

    @property
    def checkpoints(self) -> Sequence[Path]:
        """Files of its networks."""

    @property
    def trained_on_sample(self) -> bool:
        """Whether any of its runs was trained on the rendered sample."""

    def judge_all(self, paths: Sequence[Path], workers: int | None, limits: Limits | None) -> Iterator[Found]:
        """Judge files in order."""


@dataclass(frozen=True)
class Request:
    """What is asked of an engine.

    Args:
        files: in order.
        settings: what decides the results of a file: a stopped command goes on if they are the same.
        output: folder of the tables; None: a new one in the run.
        workers: processes that decode; None: one per core.
        limits: of a file.
        allow_sample: whether runs that were trained on the rendered sample judge real media.
    """

    files: Sequence[Path]
    settings: Mapping[str, str]
    output: Path | None
    workers: int | None
    limits: Limits
    allow_sample: bool


def judge_files(
    engine: Judge[Of], request: Request, kind: type[Of], show: Callable[[Sequence[Of]], None], write: Write[Of]
) -> float:
    """Judge every file, show the verdicts, write the tables; return the share of judged files that are fake.

    Args:
        engine: judges.
        request: which files, and how.
        kind: of results, as the journal of a stopped command reads them.
        show: prints results.
        write: writes them.
    """
    if engine.trained_on_sample:
        judges = "its verdicts on them mean nothing" if request.allow_sample else "they are inconclusive"
        log.warning("this detector was trained on the rendered SAMPLE, not on real media: %s", judges)
    files, journal = request.files, _journal(engine.checkpoints, request, kind)
    folder = journal.path.parent
    judge = functools.partial(engine.judge_all, workers=request.workers, limits=request.limits)
    with alone_in(folder, otherwise="wait until it ends, or choose another output="):
        columns = TextColumn("judging"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=Console(stderr=True)) as progress:
            results = list(progress.track(judged_in_order(files, journal, judge), total=len(files)))
        show(results)
        _write(results, folder, write)
        journal.finish()
    judged = [result for result in results if result.judged]
    if not judged:
        raise DfdError(f"none of the {len(files)} file(s) could be judged: see the reasons above")
    if len(judged) < len(files):
        raise Incomplete(f"{len(files) - len(judged)} of {len(files)} files were not judged: see the reasons above")
    return sum(result.verdict == FAKE for result in judged) / len(judged)


def show_verdicts(results: Sequence[Verdict], caption: str, more: Mapping[str, Sequence[str]]) -> None:
    """Print a line per file, with columns of what else was found, and the totals."""
    table = Table(caption=caption)
    for name in ("file", "verdict", "score", *more):
        table.add_column(name, justify="right" if name in ("score", "views") else "left", overflow="fold")
    names = short_names([result.path for result in results])
    for result, name, *cells in zip(results, names, *more.values(), strict=True):
        reason = without_path(result.reason, result.path)
        text = f"{result.verdict}: {reason}" if reason else result.verdict
        style = STYLES.get(result.verdict, "yellow")
        score = f"{result.score:.3f}" if result.judged else "-"
        table.add_row(Text(name), Text(printable(text), style), score, *map(Text, cells))
    console = Console()
    console.print(table)
    counts = Counter(result.verdict for result in results)
    console.print(", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()), soft_wrap=True)


def _journal(checkpoints: Sequence[Path], request: Request, kind: type[Of]) -> Journal[Of]:
    """Return the journal of the same command that was stopped, or a new one."""
    runs = run_of(checkpoints[0]) / "predict"
    folder = request.output or runs / time.strftime("%Y%m%d-%H%M%S")
    asked: dict[str, Any] = dict(request.settings)
    asked["checkpoints"] = [(str(path), path.stat().st_mtime_ns) for path in checkpoints]
    stopped = [folder] if request.output else list(runs.glob("*"))
    journal = Journal.continued(stopped, asked, kind)
    if journal is None:
        return Journal(folder, asked, kind)
    log.info("going on in %s: %d files were judged before", journal.path.parent, len(journal.known))
    return journal


def _write(results: Sequence[Of], folder: Path, write: Write[Of]) -> None:
    """Write the tables where there is room, and say where."""
    elsewhere = [Path.cwd() / "predict", Path(tempfile.gettempdir()) / f"dfd-predict-{os.getpid()}"]
    place = writable_folder(folder, elsewhere)
    try:
        write(results, place)
    except OSError as error:  # there was room for a little, and not for this
        if not in_words(error):
            raise
        first, *others = [each for each in elsewhere if each != place]
        place = writable_folder(first, others)
        write(results, place)
    if place != folder:
        log.warning("%s cannot be written (full or read-only): the tables are elsewhere", folder)
    Console().print(printable(f"tables: {place}"), soft_wrap=True, markup=False, highlight=False)
