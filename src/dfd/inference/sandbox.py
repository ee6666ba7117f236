"""Run a function on strangers' files in worker processes that get so much time and memory for a file, and no more.

A decoder that hangs holds its process in C code, where no signal handler and no exception reaches it: the only limit
that holds, also in a thread of a server, is that somebody else ends the process. A worker that goes beyond a limit, or
dies by itself, costs the file that it worked on and is replaced. What comes back is JSON and plain arrays, never a
pickle, so that a decoder taken over by its file can lie about that file and do nothing else to this process.
"""

import json
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Full, LifoQueue, Queue
from threading import Timer
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np

from dfd.core.cores import cores
from dfd.core.errors import DfdError
from dfd.core.workers import limit_memory, start_worker

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

log = logging.getLogger("dfd")

START = 300.0  # seconds to import everything
AHEAD = 2  # files per worker that wait to be asked for: more would only take memory
ROOM = 4  # answers of a file that wait to be taken, before its worker waits
PRELOAD = ("dfd.inference.sandbox", "dfd.inference.views", "dfd.preprocess.mtcnn")  # imported once for all workers
TOO_SLOW, OUT_OF_MEMORY, DIED, UNEXPECTED = "too_slow", "out_of_memory", "decoder_died", "unexpected"

Answer = TypeVar("Answer")  # a NamedTuple of arrays, texts and numbers
Result = TypeVar("Result")
Function = Callable[[Path], Iterable[Answer]]


@dataclass(frozen=True)
class Limits:
    """What one file may take: seconds by the clock, and bytes beyond those of a worker that waits for work."""

    seconds: float = 60.0
    memory: int = 2 * 2**30


class OverLimit(DfdError):
    """A file that took too much, with the reason code that tables carry."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Sandbox(Generic[Answer]):
    """A function of a file, run in worker processes; may be called from any thread.

    Args:
        function: takes a path and returns or yields some answers, each of which is sent as it comes; may have a method
            `prepare` for what all files need.
        answer: the NamedTuple that it returns: its fields are arrays, texts, numbers.
        workers: how many files are worked on at a time.
        limits: of each file.
    """

    def __init__(
        self,
        function: Function[Answer],
        answer: type[Answer],
        workers: int = 1,
        limits: Limits | None = None,
    ) -> None:
        self.function, self.answer, self.count, self.limits = function, answer, max(1, workers), limits or Limits()
        self._idle: LifoQueue[_Worker | None] = LifoQueue()  # one that runs already is taken first
        self._all: list[_Worker] = []
        self._closed = False
        for _ in range(self.count):
            self._idle.put(None)  # started when it is needed

    def __call__(self, path: Path) -> list[Answer]:
        """Return what the function answers about a file; beyond a limit raise OverLimit."""
        return list(self.answers(path))

    def answers(self, path: Path) -> Iterator[Answer]:
        """Yield what the function answers about a file as it comes; beyond a limit raise OverLimit."""
        worker = self._idle.get()
        try:
            if worker is None or not worker.alive:
                worker = self._start()
            yield from worker.ask(path, self.answer)
        finally:
            self._idle.put(worker)

    def in_order(self, paths: Iterable[Path]) -> Iterator[tuple[Path, Iterator[Answer]]]:
        """Yield (path, its answers as they come) in order, while the workers are some files ahead.

        The answers of one file, which may end in OverLimit, are to be taken before the next file is asked for.
        """
        waiting: deque[tuple[Path, Queue[Any]]] = deque()
        threads = ThreadPoolExecutor(self.count, "sandbox")
        finished = False
        try:
            for path in paths:
                waiting.append((path, Queue(ROOM)))
                threads.submit(self._fill, *waiting[-1])
                if len(waiting) > self.count * AHEAD:
                    path, queue = waiting.popleft()
                    yield path, _taken(queue)
            while waiting:
                path, queue = waiting.popleft()
                yield path, _taken(queue)
            finished = True
        finally:
            if not finished:  # given up half-way: what still runs is not waited for
                self.close()
            threads.shutdown(cancel_futures=True)

    def _fill(self, path: Path, queue: "Queue[Any]") -> None:
        """Put the answers of a file into a queue, and then None, or the error that ended them."""
        try:
            for answer in self.answers(path):
                if not self._put(queue, answer):
                    return
            self._put(queue, None)
        except Exception as error:
            self._put(queue, error)

    def _put(self, queue: "Queue[Any]", value: Any) -> bool:
        """Wait for room in a queue; return False where nobody will take the value."""
        while not self._closed:
            try:
                queue.put(value, timeout=0.1)
            except Full:
                continue
            return True
        return False

    def warm_up(self) -> None:
        """Start one worker now, so that its imports run beside other work."""
        worker = self._idle.get()
        self._idle.put(worker or self._start())

    def close(self) -> None:
        """End all workers."""
        self._closed = True
        for worker in self._all:
            worker.end()

    def __enter__(self) -> "Sandbox[Answer]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> "_Worker":
        if self._closed:
            raise DfdError("the sandbox is closed")
        worker = _Worker(self.function, self.limits)
        self._all = [each for each in self._all if each.alive] + [worker]
        return worker


class _Worker:
    """One process, and the end of the pipe to it."""

    def __init__(self, function: Callable[[Path], Any], limits: Limits) -> None:
        self.limits = limits
        context = _context()
        self._pipe, theirs = context.Pipe()
        # daemonic: it ends with this process, and cannot start others
        self._process = context.Process(target=_serve, args=(theirs, function, limits), daemon=True)
        self._process.start()
        theirs.close()
        self._ready = False
        self._late = False

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def ask(self, path: Path, answer: type[Answer]) -> Iterator[Answer]:
        """Send a path and yield what comes back; the time in which answers wait to be taken does not count."""
        left, whole = self.limits.seconds, False
        try:
            if not self._ready:
                self._within(START, self._pipe.recv_bytes)
                self._ready = True
            self._pipe.send_bytes(os.fsencode(path))
            while True:
                clock = time.monotonic()
                found = self._within(left, lambda: self._receive(answer))
                left = max(0.0, left - (time.monotonic() - clock))
                if found is None:
                    whole = True
                    return
                yield found
        except OverLimit:
            whole = True
            raise
        except (EOFError, OSError) as error:  # the other end is gone
            self.end()
            raise self._why(path) from error
        except (ValueError, KeyError, TypeError) as error:  # not what our own code sends
            self.end()
            raise OverLimit(f"{path}: the process that decoded it sent what it cannot have meant", DIED) from error
        finally:
            if not whole:  # given up half-way: what it still sends would be taken for the next file's
                self.end()

    def end(self) -> None:
        """Kill the process; it has nothing to lose."""
        self._process.kill()
        self._process.join(10)
        self._pipe.close()

    def _within(self, seconds: float, action: Callable[[], Any]) -> Any:
        timer = Timer(seconds, self._too_late)
        timer.daemon = True
        timer.start()
        try:
            return action()
        finally:
            timer.cancel()

    def _too_late(self) -> None:
        self._late = True
        self._process.kill()  # its end of the pipe closes, which whoever waits for it sees

    def _receive(self, answer: type[Answer]) -> Answer | None:
        """Return the next answer, or None after the last one."""
        reply = json.loads(self._pipe.recv_bytes(2**24))
        if reply["error"] is not None:
            message, reason = (str(part) for part in reply["error"])
            if reason == OUT_OF_MEMORY:
                self.end()  # what it could not free is not the next file's
            raise OverLimit(message, reason)
        fields: tuple[str, ...] = answer._fields  # type: ignore[attr-defined]
        row = reply["answer"]
        return None if row is None else answer(*(self._read(row[name]) for name in fields))

    def _read(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        data = self._pipe.recv_bytes(self.limits.memory)
        kind = np.dtype(str(value["dtype"]))
        if kind.hasobject:
            raise ValueError(f"an array of {kind} is not read")
        shape = [int(side) for side in value["shape"]]
        return np.frombuffer(bytearray(data), kind).reshape(shape) if data else np.zeros(shape, kind)

    def _why(self, path: Path) -> OverLimit:
        code = self._process.exitcode
        if not self._ready and not self._late:
            raise DfdError(f"the process that decodes files ended while it started (exit status {code})")
        if self._late or code == -getattr(signal, "SIGXCPU", 0):
            return OverLimit(f"{path} took more than {self.limits.seconds:g} s", TOO_SLOW)
        return OverLimit(f"{path} ended the process that decoded it (exit status {code})", DIED)


def through_workers(
    paths: Iterable[str | Path],
    function: Function[Answer],
    answer: type[Answer],
    decide: Callable[[Path, Iterable[Answer]], Result],
    workers: int | None = None,
    limits: Limits | None = None,
) -> Iterator[Result]:
    """Yield what is decided of files in order, from answers that are made ahead in worker processes.

    Args:
        paths: the files.
        function: answers about a file.
        answer: the NamedTuple that it returns.
        decide: takes a path and its answers, which may end in OverLimit.
        workers: processes; None takes one per core, 0 answers in this process, without limits.
        limits: of each file.
    """
    files = [Path(path) for path in paths]
    count = min(cores() if workers is None else workers, len(files))
    if count < 1:
        yield from (decide(path, function(path)) for path in files)
        return
    with Sandbox(function, answer, count, limits) as sandbox:
        for path, answers in sandbox.in_order(files):
            yield decide(path, answers)


def _taken(queue: "Queue[Any]") -> Iterator[Any]:
    """Yield the answers of a file from its queue; what ended them is raised."""
    while (value := queue.get()) is not None:
        if isinstance(value, BaseException):
            raise value
        yield value


def start_early() -> None:
    """Have the process that workers are forked from import what they need, beside this one's own imports."""
    if _context().get_start_method() == "forkserver":
        forkserver.ensure_running()


def _context() -> Any:
    """Return how processes are started: from a clean one that has imported everything, where the system knows that."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    return context


def _serve(pipe: Connection, function: Function[Any], limits: Limits) -> None:
    """Answer paths until the other end is closed."""
    start_worker()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    prepare = getattr(function, "prepare", None)
    if prepare is not None:
        prepare()
    limit_memory(limits.memory)
    _leave_no_core()
    pipe.send_bytes(b"ready")
    while True:
        try:
            path = Path(os.fsdecode(pipe.recv_bytes()))
        except EOFError:
            return
        _limit_processor(limits.seconds)
        for reply, arrays in _answered(function, path):
            pipe.send_bytes(json.dumps(reply).encode())
            for array in arrays:
                pipe.send_bytes(np.ascontiguousarray(array).data.cast("B") if array.size else b"")


def _answered(function: Function[Any], path: Path) -> Iterator[tuple[dict[str, Any], list[np.ndarray]]]:
    """Yield what is sent for a file: descriptions with the arrays that they announce, and an end."""
    try:
        for one in function(path):
            arrays: list[np.ndarray] = []
            row = {name: _plain(value, arrays) for name, value in zip(one._fields, one, strict=True)}
            yield {"error": None, "answer": row}, arrays
        yield {"error": None, "answer": None}, []
    except MemoryError:
        yield _refused(f"{path} needs more memory than a file may take", OUT_OF_MEMORY), []
    except DfdError as error:
        yield _refused(str(error), getattr(error, "reason", "unreadable")), []
    except Exception as error:  # what a library raises on a file that upsets it
        log.debug("%s", path, exc_info=error)
        text = " ".join(str(error).split())[:200]
        short = any(word in text.lower() for word in ("allocate", "out of memory", "insufficient memory"))
        what = f"{path} could not be read ({type(error).__name__}: {text})"
        yield _refused(what, OUT_OF_MEMORY if short else UNEXPECTED), []


def _refused(message: str, reason: str) -> dict[str, Any]:
    return {"error": [message, reason]}


def _plain(value: Any, arrays: list[np.ndarray]) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    arrays.append(value)
    return {"dtype": value.dtype.str, "shape": list(value.shape)}


def _leave_no_core() -> None:
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _limit_processor(seconds: float) -> None:
    """Have the system end the process also where the main one, which watches the clock, was killed."""
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    wanted = int(used.ru_utime + used.ru_stime + 2 * seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (wanted if hard < 0 else min(wanted, hard), hard))
