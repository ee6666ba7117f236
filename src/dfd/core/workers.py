"""What every worker process does first (one thread, no Ctrl-C of its own, an end with the main process), its memory."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from pathlib import Path
from threading import Thread

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

SIZES = Path("/proc/self/statm")


def start_worker() -> None:
    """Prepare a worker: work is spread over files, not within one; Ctrl-C is the main process's; nobody outlives it."""
    os.environ["OMP_NUM_THREADS"] = "1"  # torch is imported later, and only by workers that look for faces
    Thread(target=_leave_with_the_main_process, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import cv2

    cv2.setNumThreads(1)


def _leave_with_the_main_process() -> None:
    """A main process that is killed tells nobody: its workers would go on, and wait for more forever."""
    main = parent_process()
    if main is not None:
        main.join()
        os._exit(1)


def limit_memory(most: int) -> None:
    """Let this process grow by so much beyond what it is now, for good; where the system keeps such a limit (Linux)."""
    if resource is None or not SIZES.is_file():
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = _size() + most
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))


@contextmanager
def memory_limit(most: int) -> Iterator[None]:
    """Let this process grow by so much, and no more, for a while; 0: no limit."""
    if resource is None or not SIZES.is_file() or not most:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit_memory(most)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _size() -> int:
    return int(SIZES.read_text().split()[0]) * resource.getpagesize()
