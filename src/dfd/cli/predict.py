"""dfd-predict: judge videos and images, by path, folder or pattern."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, ListConfig

from dfd.cli.app import command
from dfd.cli.invocation import Invocation
from dfd.core.build import allowed_networks
from dfd.core.cores import share_cores
from dfd.core.errors import DfdError

if TYPE_CHECKING:
    from dfd.inference.segments import Located
    from dfd.inference.verdict import FileResult, Judging
    from dfd.runs.judging import Request

# what decides the results of a file: a stopped command goes on if they are the same
DECIDING = ("run", "threshold", "ood", "frames", "faces", "strategy", "explain", "allow_sample")
SLOWER = 10  # times the seconds of other files that localisers get: features of networks take longer than faces


def predict(cfg: DictConfig, _: Invocation | None = None) -> float:
    """Judge every file, print a verdict for each, and write the tables; return the share judged fake."""
    share_cores()
    from dfd.inference.media import media_files
    from dfd.inference.sandbox import start_early

    files = media_files(_several(cfg.input))
    if cfg.workers != 0:
        start_early()
    return _find_segments(cfg, files) if _finds_segments(cfg) else _judge_faces(cfg, files)


def _request(cfg: DictConfig, files: Sequence[Path], slower: int = 1) -> "Request":
    from dfd.inference.sandbox import Limits
    from dfd.runs.judging import Request

    limits = Limits(slower * cfg.seconds, int(cfg.memory * 2**30))
    settings = {key: str(cfg[key]) for key in DECIDING}
    return Request(files, settings, Path(cfg.output) if cfg.output else None, cfg.workers, limits, cfg.allow_sample)


def _judge_faces(cfg: DictConfig, files: Sequence[Path]) -> float:
    from dfd.inference.engine import Engine
    from dfd.inference.results import write_results
    from dfd.inference.verdict import FileResult
    from dfd.runs.judging import judge_files
    from dfd.runs.talk_files import draw_talk, write_original_files

    engine = Engine.load(
        _several(cfg.run),
        cfg.device,
        frames=cfg.frames,
        faces=cfg.faces,
        threshold=cfg.threshold,
        strategy=cfg.strategy,
        ood=cfg.ood,
        explain=cfg.explain,
        batch_size=cfg.batch_size,
        allow_sample=cfg.allow_sample,
        networks=allowed_networks(cfg.plugins),
    )

    def write(results: "Sequence[FileResult]", folder: Path) -> None:
        write_results(results, folder)
        draw_talk(results, folder)
        if cfg.original_files:
            write_original_files(results, folder)

    return judge_files(engine, _request(cfg, files), FileResult, lambda results: show(results, engine.judging), write)


def _find_segments(cfg: DictConfig, files: Sequence[Path]) -> float:
    from dfd.inference.segment_results import write_segments
    from dfd.inference.segments import BELIEVED, Located, SegmentEngine
    from dfd.runs.judging import judge_files

    threshold = BELIEVED if cfg.threshold is None else float(cfg.threshold)
    (run,) = _several(cfg.run)
    engine = SegmentEngine.load(run, cfg.device, allowed_networks(cfg.plugins), threshold, cfg.allow_sample)
    request = _request(cfg, files, SLOWER)
    return judge_files(engine, request, Located, lambda results: show_segments(results, threshold), write_segments)


def _finds_segments(cfg: DictConfig) -> bool:
    """Whether the run finds forged stretches of time; several such runs cannot be averaged."""
    from dfd.models.checkpoint import read_card

    kinds = [read_card(Path(run)).input.get("kind") for run in _several(cfg.run)]
    if "sequence" in kinds and len(kinds) > 1:
        raise DfdError("localisers are not averaged: give one run=")
    return "sequence" in kinds


def _several(value: str | ListConfig) -> list[str]:
    return [value] if isinstance(value, str) else [str(each) for each in value]


def show(results: "Sequence[FileResult]", judging: "Judging") -> None:
    """Print a line per file, the totals, and where the threshold comes from."""
    from dfd.runs.judging import show_verdicts

    views = [str(result.count) for result in results]
    show_verdicts(results, f"score: higher = fake; {judging.origin}", {"views": views})


def show_segments(results: "Sequence[Located]", threshold: float) -> None:
    """Print a line per file, with its forged stretches, and the totals."""
    from dfd.runs.judging import show_verdicts

    cells = []
    for result in results:
        forged = sorted((each for each in result.proposals if each.score >= threshold), key=lambda each: each.start)
        named = [f"{each.start:.2f}-{each.end:.2f} s ({each.stream}, {each.score:.2f})" for each in forged]
        cells.append(", ".join(named) or ("none" if result.judged else "-"))
    caption = f"fake: at least one stretch that scores {threshold:g} or more (higher = fake)"
    show_verdicts(results, caption, {"forged stretches": cells})


main = command("predict", predict)

if __name__ == "__main__":
    main()
