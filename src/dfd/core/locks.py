"""Folders that one process at a time works in; a lock dies with its process, however that ends."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dfd.core.disk import in_words
from dfd.core.errors import DfdError

log = logging.getLogger("dfd")


@contextmanager
def alone_in(folder: Path, name: str = ".lock", otherwise: str = "") -> Iterator[None]:
    """Hold a folder; where another process holds it, wait and say so, or refuse with the next step, `otherwise`.

    A folder that cannot be written, because it may not be or is full, goes without a lock.
    """
    lock = FileLock(folder / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        if otherwise:
            raise DfdError(f"another process is at work in {folder}: {otherwise}") from None
        log.warning("waiting for another process that is at work in %s", folder)
        lock.acquire()
    except OSError as error:
        if not in_words(error):
            raise
    try:
        yield
    finally:
        lock.release()
