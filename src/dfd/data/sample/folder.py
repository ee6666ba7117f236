"""A sample's folder appears when it is complete; its files are drawn by several processes, with a progress bar."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dfd.core.cores import cores
from dfd.core.workers import start_worker
from dfd.data.sample.mark import MARKER


def whole(folder: Path, facts: Mapping[str, Any], draw: Callable[[Path], None]) -> Path:
    """Have a sample drawn into a folder, once: a whole one of the same facts is left as it is."""
    if (folder / MARKER).is_file() and json.loads((folder / MARKER).read_text()) == facts:
        return folder
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    draw(part)
    (part / MARKER).write_text(json.dumps(facts))
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)
    return folder


def spread(tasks: Sequence[Callable[[], Any]], title: str, workers: int | None = None) -> list[Any]:
    """Run tasks that can be pickled in several processes; return their results in order."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with (
        Progress(*columns, console=Console(stderr=True)) as progress,
        ProcessPoolExecutor(min(workers or cores(), len(tasks)), get_context("spawn"), start_worker) as pool,
    ):
        bar = progress.add_task(title, total=len(tasks))
        futures = [pool.submit(task) for task in tasks]
        try:
            for future in as_completed(futures):
                future.result()
                progress.advance(bar)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in futures]
