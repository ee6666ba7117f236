"""One file through all runs of a server: probed, decoded in sandboxes, scored, with one verdict over all runs."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dfd.core.text import without_path
from dfd.inference.engine import Engine
from dfd.inference.file_features import FileFeatures
from dfd.inference.restoring import Restoring, judge_restored
from dfd.inference.sandbox import Limits, OverLimit, Sandbox
from dfd.inference.segments import SegmentEngine
from dfd.inference.verdict import FAKE, INCONCLUSIVE, NOT_JUDGED, REAL
from dfd.inference.views import FileViews, ViewExtractor
from dfd.models.base import TalkDetector
from dfd.models.checkpoint import read_card
from dfd.models.explain import can_be_explained
from dfd.serving.answers import DIRECTION, Artifacts, about, of_restored, of_segments, of_views, pictures
from dfd.serving.confine import confine
from dfd.serving.probing import Facts, Probe
from dfd.serving.settings import Settings

FORMAT = 1  # of results
STEADY = 0.2  # how much the newest file counts in the estimate of speed

Report = Callable[[str, float, float | None], None]  # stage, share done, seconds that are left
Served = Engine | SegmentEngine
Answer = TypeVar("Answer")


class Confined:
    """Cuts the faces of a file, or extracts its features, in a process that has no network."""

    def __init__(self, extractor: Any) -> None:
        self._extractor = extractor

    def prepare(self) -> None:
        """Load what is needed, then give up the network."""
        self._extractor.prepare()
        confine()

    def __call__(self, path: Path) -> Iterable[Any]:
        """Return the views of a file for all runs over faces, or the feature streams of a localiser."""
        return self._extractor(path)


class NotJudged(Exception):
    """A file that is refused or cannot be read, with a stable code."""

    def __init__(self, detail: str, code: str) -> None:
        super().__init__(detail)
        self.code = code


class Looker:
    """Looks at files with all runs of a server.

    Args:
        engines: by the name of the run.
        settings: bounds, and how many files are decoded at a time.
        restoring: restores faces, for jobs that ask for it.
    """

    def __init__(self, engines: Mapping[str, Served], settings: Settings, restoring: Restoring | None = None) -> None:
        self.engines, self.restoring, bounds = dict(engines), restoring, settings.bounds
        options = [
            member.options for engine in engines.values() if isinstance(engine, Engine) for member in engine.members
        ]
        limits, count = Limits(bounds.seconds, bounds.memory), settings.decoding
        self._probe = Sandbox(Probe(bounds), Facts, 1, Limits(min(30.0, bounds.seconds), bounds.memory))
        self._decode = Sandbox(Confined(ViewExtractor(options)), FileViews, count, limits) if options else None
        self._extract = {
            name: Sandbox(Confined(engine.reader), FileFeatures, count, limits)
            for name, engine in engines.items()
            if isinstance(engine, SegmentEngine)
        }
        self._network = threading.Lock()  # one device, one file at a time
        self._seconds_a_pixel = 2e-7  # of a second of video; learned

    @classmethod
    def load(cls, settings: Settings) -> "Looker":
        """Load every run of the settings; pictures explain those that can be."""
        engines: dict[str, Served] = {}
        for name, run in settings.names().items():
            if read_card(Path(run)).input.get("kind") == "sequence":
                engines[name] = SegmentEngine.load(run, settings.device)
                continue
            engine = Engine.load(run, settings.device, faces=settings.faces)
            network = engine.members[0].network
            engine.explain = isinstance(network, TalkDetector) or can_be_explained(network)
            engines[name] = engine
        return cls(engines, settings, Restoring.load(settings.restorer, settings.device) if settings.restorer else None)

    def about(self) -> dict[str, Any]:
        """Describe the runs, as pages and the API show them."""
        return {name: about(engine) for name, engine in self.engines.items()}

    def look(self, path: Path, report: Report, deblur: str = "false") -> tuple[dict[str, Any], Artifacts]:
        """Judge a file; raises NotJudged where no run can.

        Args:
            path: the file.
            report: takes stage, share done, and an estimate of the seconds left.
            deblur: auto, true or false: whether restored faces are judged as well.
        """
        clock, seconds = time.monotonic(), {}
        report("probing", 0.02, None)
        facts = self._facts(path)
        seconds["probing"], clock = _lap(clock)
        expected = facts.width * facts.height * max(facts.duration, 0.2) * self._seconds_a_pixel
        report("decoding", 0.1, expected)
        views = _within_limits(self._decode, path) if self._decode else []
        streams = {name: _within_limits(sandbox, path) for name, sandbox in self._extract.items()}
        seconds["decoding"], clock = _lap(clock)
        self._learn(facts, seconds["decoding"])
        report("inference", 0.7, 0.2 * expected)
        runs, artifacts = self._judge(path, views, streams, deblur)
        seconds["inference"], clock = _lap(clock)
        report("reporting", 0.95, 0.0)
        return _result(facts, runs, seconds), artifacts

    def warm_up(self) -> None:
        """Start the processes that decode before the first file comes."""
        for sandbox in self._sandboxes():
            sandbox.warm_up()

    def close(self) -> None:
        """End the sandboxes."""
        for sandbox in self._sandboxes():
            sandbox.close()

    @property
    def device(self) -> str:
        """Where the networks compute."""
        return str(next(iter(self.engines.values())).device)

    def _sandboxes(self) -> list[Sandbox[Any]]:
        return [self._probe, *([self._decode] if self._decode else []), *self._extract.values()]

    def _facts(self, path: Path) -> Facts:
        (facts,) = _within_limits(self._probe, path)
        if facts.kind:
            raise NotJudged(without_path(facts.reason, path), facts.kind)
        return facts

    def _judge(
        self, path: Path, views: list[FileViews], streams: Mapping[str, list[FileFeatures]], deblur: str
    ) -> tuple[list[dict[str, Any]], Artifacts]:
        runs, at = [], 0
        artifacts: Artifacts = {}
        for number, (name, engine) in enumerate(self.engines.items()):
            if isinstance(engine, SegmentEngine):
                with self._network:
                    located = engine.decide(path, streams[name])
                runs.append(of_segments(name, engine, located, path))
                continue
            seen = [each._replace(run=each.run - at) for each in views if 0 <= each.run - at < len(engine.members)]
            at += len(engine.members)
            with self._network:
                result = engine.decide(path, seen)
                second = judge_restored(engine, path, seen, self.restoring, deblur) if self.restoring else None
            answer = of_views(name, engine, result, path)
            answer["restored"] = of_restored(second, result) if second and deblur != "false" else None
            answer["artifacts"] = pictures(number, result, [each for each in seen if each.run == 0], artifacts)
            runs.append(answer)
        failed = next((run["reason"] for run in runs if run["reason"]), None)
        if failed and all(run["verdict"] == NOT_JUDGED for run in runs):
            raise NotJudged(failed["detail"], failed["code"])
        return runs, artifacts

    def _learn(self, facts: Facts, seconds: float) -> None:
        pixels = facts.width * facts.height * max(facts.duration, 0.2)
        if pixels:
            self._seconds_a_pixel += STEADY * (seconds / pixels - self._seconds_a_pixel)


def _within_limits(sandbox: Sandbox[Answer], path: Path) -> list[Answer]:
    try:
        return sandbox(path)
    except OverLimit as error:
        raise NotJudged(without_path(str(error), path), error.reason) from error


def overall(verdicts: Sequence[str]) -> str:
    """Return one verdict for several runs: what any of them calls fake is fake; real only where none is in doubt."""
    judged = [verdict for verdict in verdicts if verdict != NOT_JUDGED]
    return next((verdict for verdict in (FAKE, INCONCLUSIVE, REAL) if verdict in judged), NOT_JUDGED)


def _result(facts: Facts, runs: list[dict[str, Any]], seconds: Mapping[str, float]) -> dict[str, Any]:
    verdict = overall([run["verdict"] for run in runs])
    leading = next(run for run in runs if run["verdict"] == verdict)
    media = {name: value for name, value in facts._asdict().items() if name not in ("reason", "kind")}
    return {
        "format": FORMAT,
        "direction": DIRECTION,
        "verdict": verdict,
        **{name: leading[name] for name in ("probability", "score", "reason")},
        "media": media,
        "runs": runs,
        "warnings": [warning for run in runs for warning in run["warnings"]],
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
    }


def _lap(clock: float) -> tuple[float, float]:
    now = time.monotonic()
    return now - clock, now
