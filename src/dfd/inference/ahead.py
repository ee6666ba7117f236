"""Worker processes that prepare the next files while the network judges the last one."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from dfd.inference.views import FileViews, ViewExtractor

AHEAD = 2  # files per worker that wait to be judged: more would only take memory

Extract = Callable[[Path], list[FileViews]]

_extractor: Extract | None = None  # of a worker process


def look_ahead(extractor: ViewExtractor, files: Sequence[Path], workers: int) -> Iterator[tuple[Path, list[FileViews]]]:
    """Yield the views of files in order, prepared by processes of one thread each; one that dies costs its file."""
    waiting: deque[tuple[Path, Future[list[FileViews]]]] = deque()
    left = deque(files)
    pool = _pool(extractor, workers)
    try:
        while left or waiting:
            while left and len(waiting) < workers * AHEAD:
                path = left.popleft()
                waiting.append((path, pool.submit(_look, path)))
            path, future = waiting.popleft()
            try:
                views = future.result()
            except BrokenProcessPool:
                # nobody knows whose file killed it: this one is looked at alone, the others again
                left.extendleft(reversed([other for other, _ in waiting]))
                waiting.clear()
                pool.shutdown(wait=False, cancel_futures=True)
                pool = _pool(extractor, workers)
                views = _alone(extractor, path)
            yield path, views
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _alone(extractor: ViewExtractor, path: Path) -> list[FileViews]:
    with _pool(extractor, 1) as pool:
        try:
            return pool.submit(_look, path).result()
        except BrokenProcessPool:
            reason = "its decoding ended the process that did it"
            return [FileViews.failed(reason, "decoder_died") for _ in extractor.options]


def _pool(extractor: ViewExtractor, workers: int) -> ProcessPoolExecutor:
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["dfd.inference.views", "dfd.preprocess.mtcnn"])  # imported once for all workers
    return ProcessPoolExecutor(workers, context, _start, (extractor,))


def _start(extractor: ViewExtractor) -> None:
    """Prepare a worker: one thread, and stopping is left to the main process."""
    import signal

    import cv2
    import torch

    global _extractor
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _extractor = extractor


def _look(path: Path) -> list[FileViews]:
    assert _extractor is not None
    return _extractor(path)
