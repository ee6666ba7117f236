"""Run a stage over many files: in parallel, resumable, with a reason for every file that could not be used.

What a file makes appears whole or not at all, so a file whose output exists is done. A failure is remembered beside
where the output would be, until the file that failed changes.
"""

import errno
import json
import logging
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from dfd.core.cores import cores
from dfd.core.errors import DfdError
from dfd.core.records import Failure
from dfd.core.workers import memory_limit, start_worker

log = logging.getLogger(__name__)

MISSING, CRASHED, TOO_SLOW, UNEXPECTED, MEMORY = "missing_file", "crashed", "too_slow", "unexpected", "out_of_memory"
# what a disk or its rights are to blame for, and no video
UNWRITABLE = {
    getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "ESTALE", "EACCES", "EPERM", "EROFS")
} - {None}
Launcher = Literal["local", "ray"]


class Late(BaseException):
    """The time for a file is over; no `Exception`, so that nothing on the way takes it for a fault of the file."""


@dataclass(frozen=True)
class Engine:
    """Where stages run: local processes (0: in this one) or a Ray cluster; what one file may take.

    `limit` is in seconds, `memory` in bytes beyond what its process has; it holds on Linux, and not with a GPU, whose
    driver takes address space without end.
    """

    workers: int | None = None
    device: str = "cpu"
    launcher: Launcher = "local"
    address: str | None = None  # of a Ray cluster; None: one on this machine
    limit: float = 1800.0
    memory: int = 8 * 2**30  # of which importing torch takes three

    @property
    def limits(self) -> "Limits":
        """What one file may take."""
        return Limits(self.limit, self.memory if self.device == "cpu" else 0)

    @property
    def count(self) -> int:
        """How many workers there are."""
        return cores() if self.workers is None else max(1, self.workers)


class Limits(NamedTuple):
    """Seconds and bytes that one file may take; 0: no limit."""

    seconds: float
    memory: int = 0


@dataclass(frozen=True)
class Item:
    """One file of a stage: what it is called, what it is made from and what it makes."""

    video: str
    source: Path
    target: Path
    given: dict[str, Any] = field(default_factory=dict)

    @property
    def marker(self) -> Path:
        """Where a failure is remembered."""
        return self.target.with_suffix(".failed")


Work = Callable[[Sequence[Item]], list[Failure]]


def run(
    stage: str, items: Sequence[Item], work: Work, engine: Engine, title: str = "", chunk: int = 1
) -> list[Failure]:
    """Do what is not done yet, `chunk` items at a time; return the failures of all items, old and new, in order."""
    known = {item.video: remembered(item) for item in items}
    todo = [item for item in items if known[item.video] is None and not item.target.is_file()]
    fresh: dict[str, Failure] = {}
    if todo:
        chunks = [todo[start : start + chunk] for start in range(0, len(todo), chunk)]
        with progress_bar() as progress, writing(todo[0].target.parent):
            bar = progress.add_task(title or stage, total=len(items), completed=len(items) - len(todo))
            for done, failures in _results(chunks, work, engine, stage):
                for failure in failures:
                    fresh[failure.video] = failure
                    remember(next(item for item in done if item.video == failure.video), failure)
                progress.advance(bar, len(done))
    both = ((item.video, fresh.get(item.video) or known[item.video]) for item in items)
    return [failure for _, failure in both if failure is not None]


def attempt(stage: str, item: Item, limits: Limits, step: Callable[[], Any]) -> Failure | Any:
    """Do one step of an item's work; whatever is wrong with the file is a failure of this item alone."""
    if not item.source.is_file():
        return Failure(item.video, stage, MISSING, f"no file at {item.source}")
    try:
        with _time_limit(limits.seconds), memory_limit(limits.memory):
            return step()
    except StopIteration as stop:
        return stop
    except DfdError as error:
        return Failure(item.video, stage, getattr(error, "reason", "decode_error"), str(error))
    except Late:
        return Failure(item.video, stage, TOO_SLOW, f"{item.source} took more than {limits.seconds:g} s")
    except MemoryError:
        return Failure(item.video, stage, MEMORY, f"{item.source} needs more memory than it may take")
    except Exception as error:  # a file that upsets a library must not end the work on a hundred thousand others
        if isinstance(error, OSError) and _unwritable(error):
            raise _not_written(error, item.target) from error
        return Failure(item.video, stage, UNEXPECTED, f"{item.source}: {type(error).__name__}: {error}")


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn a disk that is full or may not be written into one line."""
    try:
        yield
    except OSError as error:
        if _unwritable(error):
            raise _not_written(error, place) from error
        raise


def _unwritable(error: OSError) -> bool:
    # NumPy gives no number where it could not write an array
    return error.errno in UNWRITABLE or (error.errno is None and "requested and" in str(error))


def _not_written(error: OSError, place: Path) -> DfdError:
    where, reason = error.filename or place, error.strerror or error
    return DfdError(
        f"cannot write {where} ({reason}): make room or give the right to write; the same call then goes on"
    )


def remembered(item: Item) -> Failure | None:
    """Return an earlier failure of an item, if the file that failed is still the same."""
    try:
        told = json.loads(item.marker.read_text())
    except (OSError, ValueError):
        return None
    return Failure(**told["failure"]) if told["file"] == _stamp(item.source) else None


def remember(item: Item, failure: Failure) -> None:
    """Write a failure down, with what is known of the file."""
    if failure.reason in (MISSING, CRASHED, TOO_SLOW, MEMORY):
        return  # may go better next time
    item.marker.parent.mkdir(parents=True, exist_ok=True)
    part = item.marker.with_suffix(".failed.part")
    part.write_text(json.dumps({"failure": asdict(failure), "file": _stamp(item.source)}))
    part.replace(item.marker)


def progress_bar() -> Progress:
    """Return a progress bar with rate and remaining time, on stderr."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn()
    return Progress(*columns, console=Console(stderr=True))


class Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """Show the rate once there is one."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


def _results(
    chunks: list[list[Item]], work: Work, engine: Engine, stage: str
) -> Iterator[tuple[list[Item], list[Failure]]]:
    """Yield what comes back, keeping only as many chunks in flight as keep the workers busy."""
    waiting, flying = deque(chunks), dict[Future, list[Item]]()
    suspects: list[Item] = []
    executor = _executor(engine, len(chunks))
    try:
        while waiting or flying:
            try:
                while waiting and len(flying) < 3 * engine.count:
                    flying[executor.submit(work, waiting[0])] = waiting[0]
                    waiting.popleft()
                for future in wait(flying, return_when=FIRST_COMPLETED).done:
                    failures = future.result()
                    yield flying.pop(future), failures
            except _died(engine):  # seen when a result is asked for, or when more work is given
                suspects += [item for items in flying.values() for item in items]
                flying.clear()
                executor.shutdown(wait=False)
                executor = _executor(engine, len(chunks))
        for item in suspects:
            yield [item], _alone(item, work, engine, stage)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _alone(item: Item, work: Work, engine: Engine, stage: str) -> list[Failure]:
    """Try an item again that may have killed its process, where it can harm no other."""
    if item.target.is_file():
        return []
    with _executor(engine, 1) as executor:
        try:
            return executor.submit(work, [item]).result()
        except _died(engine):
            return [Failure(item.video, stage, CRASHED, f"{item.source} killed the process that read it")]


class Here(Executor):
    """An executor that works in this very process, where a debugger can follow."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Call a function now."""
        import cv2

        future: Future = Future()
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # its small jobs wait for each other on a busy machine
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        finally:
            cv2.setNumThreads(threads)
        return future


def _executor(engine: Engine, chunks: int) -> Executor:
    if engine.workers == 0:
        return Here()
    if engine.launcher == "ray":
        from dfd.preprocess.cluster import RayExecutor

        return RayExecutor(engine.address, engine.workers)
    return ProcessPoolExecutor(min(engine.count, chunks), get_context("spawn"), start_worker)


def _died(engine: Engine) -> tuple[type[Exception], ...]:
    """Return what is raised when a process of the engine was killed at its work."""
    if engine.launcher == "ray":
        from ray.exceptions import WorkerCrashedError

        return (WorkerCrashedError,)
    return (BrokenProcessPool,)


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    if not hasattr(signal, "SIGALRM") or seconds <= 0:
        yield
        return

    def late(*_: object) -> None:
        raise Late

    try:
        before = signal.signal(signal.SIGALRM, late)
    except ValueError:  # not the main thread of its process: no alarm can be set there
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _stamp(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns]
