"""dfd-scan: judge files and folders into a folder of results; stopped, it goes on; scripts read its exit status."""

import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dfd.cli.exits import plain_command
from dfd.cli.words import read_words
from dfd.core.cores import share_cores
from dfd.core.errors import DfdError

if TYPE_CHECKING:
    from dfd.inference.engine import Engine
    from dfd.inference.verdict import FileResult

HELP = """dfd-scan FOLDER run=outputs/demo                   judge all videos and images of a folder, into results/
dfd-scan a.mp4 b.mp4 run=[outputs/a,outputs/b] out=results/friday      an ensemble, another folder

The same command again goes on where it was stopped. Exit status: 0 all real, 10 at least one fake, 11 none fake and at
least one inconclusive, 3 at least one that could not be judged and none of the former; 2 a mistake in the command.

"""


@dataclass
class Options:
    """What is judged with what.

    Args:
        run: run folders or checkpoints; several are averaged.
        out: folder of results.jsonl, results.csv and index.html.
        device: auto, cpu, cuda, cuda:1, mps.
        faces: people of a video that are looked at.
        workers: files that are decoded at a time; null: one per core.
        seconds: that decoding one file may take.
        memory: bytes that decoding one file may take.
        deblur: false; true: faces are judged restored as well; auto: only where they are blurred.
        restorer: run of a restorer (model=deblur), for deblur=.
    """

    run: list[str] = field(default_factory=list)
    out: str = "results"
    device: str = "auto"
    faces: int = 1
    workers: int | None = None
    seconds: float = 120.0
    memory: int = 2 * 2**30
    deblur: str = "false"
    restorer: str | None = None


@plain_command(HELP + (Options.__doc__ or ""))
def main(words: list[str]) -> int:
    """Run the command; return its exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    inputs, options = read_words(Options, words)
    options = replace(options, deblur=options.deblur.lower())  # YAML reads true and false as booleans
    if not inputs or not options.run:
        raise DfdError("say what with what: dfd-scan FOLDER run=outputs/demo")
    share_cores()
    from dfd.inference.engine import Engine
    from dfd.inference.media import media_files
    from dfd.inference.sandbox import Limits
    from dfd.serving.scan import Scan, exit_status, scan

    files = media_files(inputs)
    engine = Engine.load(options.run, options.device, faces=options.faces)
    if options.deblur not in ("auto", "true", "false"):
        raise DfdError(f"deblur={options.deblur}: allowed are auto, true, false")
    if options.deblur != "false":
        engine = _twice(engine, options)
    settings = {
        "deblur": [options.deblur, options.restorer],
        "run": [str(Path(run).absolute()) for run in options.run],
        "faces": options.faces,
    }
    out = Scan(Path(options.out), settings)
    limits = Limits(options.seconds, options.memory)
    lines = scan(files, engine, out, options.workers, limits, _track)
    sys.stderr.write(f"{len(lines)} files: {out.folder / 'index.html'}\n")
    return exit_status(lines)


def _twice(engine: "Engine", options: Options) -> "Engine":
    from dfd.inference.restoring import Restoring, TwiceEngine

    if options.restorer is None:
        raise DfdError("deblur= needs restorer=: a run of python train.py model=deblur")
    return TwiceEngine(engine, Restoring.load(options.restorer, options.device), options.deblur)


def _track(results: "Iterable[FileResult]", total: int) -> "Iterable[FileResult]":
    from rich.console import Console
    from rich.progress import track

    return track(results, "judging", total, console=Console(stderr=True))


if __name__ == "__main__":
    sys.exit(main())
