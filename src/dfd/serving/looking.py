"""One file through all runs of a server: probed, decoded once in a sandbox, scored, and told as plain values.

The answer is a list with an entry per run, each with its kind ("views": scores of faces over time; runs over sound and
over stretches of time add kinds of their own), and one verdict over all of them.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dfd.evaluation.operating import Operating
from dfd.inference.engine import Engine
from dfd.inference.restoring import Restoring, Second, judge_restored
from dfd.inference.sandbox import Limits, OverLimit, Sandbox
from dfd.inference.verdict import FAKE, INCONCLUSIVE, NOT_JUDGED, REAL, FileResult, ViewScores
from dfd.inference.views import FileViews, ViewExtractor
from dfd.models.explain import can_be_explained
from dfd.serving.confine import confine
from dfd.serving.probing import Facts, Probe
from dfd.serving.settings import Settings

FORMAT = 1  # of results
DIRECTION = "higher = fake"
SHOWN, THUMBNAIL = 12, 112  # views of the main person in a strip, and their side in pixels
STEADY = 0.2  # how much the newest file counts in the estimate of speed

Report = Callable[[str, float, float | None], None]  # stage, share done, seconds that are left
Artifacts = dict[str, bytes]


class Confined:
    """Cuts the faces of a file in a process that has no network."""

    def __init__(self, extractor: ViewExtractor) -> None:
        self._extractor = extractor

    def prepare(self) -> None:
        """Load what is needed, then give up the network."""
        self._extractor.prepare()
        confine()

    def __call__(self, path: Path) -> Sequence[FileViews]:
        """Return the views of a file for every run."""
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

    def __init__(self, engines: Mapping[str, Engine], settings: Settings, restoring: Restoring | None = None) -> None:
        self.engines, self.restoring, bounds = dict(engines), restoring, settings.bounds
        options = [member.options for engine in engines.values() for member in engine.members]
        limits = Limits(bounds.seconds, bounds.memory)
        self._probe = Sandbox(Probe(bounds), Facts, 1, Limits(min(30.0, bounds.seconds), bounds.memory))
        self._decode = Sandbox(Confined(ViewExtractor(options)), FileViews, settings.decoding, limits)
        self._network = threading.Lock()  # one device, one file at a time
        self._seconds_a_pixel = 2e-7  # of a second of video; learned

    @classmethod
    def load(cls, settings: Settings) -> "Looker":
        """Load every run of the settings; pictures explain those that can be."""
        engines = {}
        for name, run in settings.names().items():
            engine = Engine.load(run, settings.device, faces=settings.faces)
            engine.explain = can_be_explained(engine.members[0].network)
            engines[name] = engine
        return cls(engines, settings, Restoring.load(settings.restorer, settings.device) if settings.restorer else None)

    def about(self) -> dict[str, Any]:
        """Describe the runs, as pages and the API show them."""
        return {name: _about(engine) for name, engine in self.engines.items()}

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
        views = self._views(path)
        seconds["decoding"], clock = _lap(clock)
        self._learn(facts, seconds["decoding"])
        report("inference", 0.7, 0.2 * expected)
        runs, artifacts = self._judge(path, views, deblur)
        seconds["inference"], clock = _lap(clock)
        report("reporting", 0.95, 0.0)
        return _result(facts, runs, seconds), artifacts

    def warm_up(self) -> None:
        """Start the processes that decode before the first file comes."""
        self._probe.warm_up()
        self._decode.warm_up()

    def close(self) -> None:
        """End the sandboxes."""
        self._probe.close()
        self._decode.close()

    def _facts(self, path: Path) -> Facts:
        try:
            facts = self._probe(path)[0]
        except OverLimit as error:
            raise NotJudged(_without(path, str(error)), error.reason) from error
        if facts.kind:
            raise NotJudged(_without(path, facts.reason), facts.kind)
        return facts

    def _views(self, path: Path) -> list[FileViews]:
        try:
            return self._decode(path)
        except OverLimit as error:
            raise NotJudged(_without(path, str(error)), error.reason) from error

    def _judge(self, path: Path, views: list[FileViews], deblur: str) -> tuple[list[dict[str, Any]], Artifacts]:
        runs, at = [], 0
        artifacts: dict[str, Any] = {}
        for number, (name, engine) in enumerate(self.engines.items()):
            seen = views[at : at + len(engine.members)]
            at += len(engine.members)
            with self._network:
                result = engine.decide(path, seen)
                second = judge_restored(engine, path, seen, self.restoring, deblur) if self.restoring else None
            told = _run(name, engine, result, path)
            told["restored"] = _second(second, result) if second and deblur != "false" else None
            told["artifacts"] = _pictures(number, result, seen[0], artifacts)
            runs.append(told)
        failed = next((run["reason"] for run in runs if run["reason"]), None)
        if failed and all(run["verdict"] == NOT_JUDGED for run in runs):
            raise NotJudged(failed["detail"], failed["code"])
        return runs, artifacts

    def _learn(self, facts: Facts, seconds: float) -> None:
        pixels = facts.width * facts.height * max(facts.duration, 0.2)
        if pixels:
            self._seconds_a_pixel += STEADY * (seconds / pixels - self._seconds_a_pixel)


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


def _run(name: str, engine: Engine, result: FileResult, path: Path) -> dict[str, Any]:
    about = _about(engine)
    reason = {"code": result.kind, "detail": _without(path, result.reason)} if result.reason else None
    return {
        "run": name,
        "kind": "views",
        "model": about["model"],
        "verdict": result.verdict,
        "score": _number(result.score),
        "probability": _number(result.probability),
        "reason": reason,
        "operating": about["operating"],
        "people": _people(result.views[0]),
        "views": result.count,
        "out_of_distribution": _number(result.views[0].ood),
        "warnings": about["warnings"],
    }


def _second(second: Second, first: FileResult) -> dict[str, Any]:
    """Return what restoring changed; the verdict on the file as it is stays the verdict."""
    told: dict[str, Any] = {"sharpness": second.sharpness, "verdict": None, "score": None, "change": None}
    if second.result is None:
        return told
    change = _number(second.result.score - first.score)
    return told | {"verdict": second.result.verdict, "score": _number(second.result.score), "change": change}


def _people(seen: ViewScores) -> list[dict[str, Any]]:
    """Return the scores over time of every person, in the order in which they were found."""
    people = []
    for person in dict.fromkeys(seen.track.tolist()):
        rows = np.flatnonzero(seen.track == person)
        rows = rows[np.argsort(seen.t[rows], kind="stable")]
        times, scores = (np.round(values[rows].astype(float), 5).tolist() for values in (seen.t, seen.score))
        people.append({"person": int(person), "t": times, "score": scores})
    return people


def _about(engine: Engine) -> dict[str, Any]:
    """Describe a run: what it is, what it was trained on, and where its verdicts begin."""
    card = engine.members[0].card
    warnings = []
    if engine.trained_on_sample:
        warnings.append("trained on the rendered sample: its verdicts on real media mean nothing")
    return {
        "model": card.model,
        "kind": "views",
        "trained_on": card.data,
        "sample": engine.trained_on_sample,
        "manifest": card.manifest,
        "initialised_from": card.initialised_from,
        "input": dict(card.input),
        "direction": DIRECTION,
        "operating": {
            "origin": engine.judging.origin,
            **_operating(engine.judging.operating, engine.judging.threshold),
        },
        "unknown": "forgeries of kinds, and media of qualities, that were not in its training data",
        "warnings": warnings,
    }


def _operating(operating: Operating | None, threshold: float) -> dict[str, Any]:
    if operating is None:
        return {"threshold": threshold, "band": None, "false_alarms": None, "calibrated": False}
    # of all real validation videos, how many were called fake: by the band's promise, else not known here
    alarms = operating.error if operating.band is not None else None
    return {
        "threshold": operating.thresholds["balanced"].value,
        "band": None if operating.band is None else list(operating.band),
        "false_alarms": alarms,
        "calibrated": True,
    }


def _pictures(number: int, result: FileResult, seen: FileViews, artifacts: Artifacts) -> dict[str, Any]:
    """Add the pictures of a run to the artefacts; return what they show."""
    told: dict[str, Any] = {}
    picture = result.views[0].evidence
    if picture is not None:
        told["evidence"] = {"name": f"evidence-{number}.png"}
        artifacts[f"evidence-{number}.png"] = _encoded(".png", picture)
    if len(result.views[0].score):
        main = np.flatnonzero(seen.track == seen.track[0])
        rows = main[np.unique(np.linspace(0, len(main) - 1, min(SHOWN, len(main))).round().astype(int))]
        frames = [seen.pixels[row] if seen.pixels.ndim == 4 else seen.pixels[row][0] for row in rows]
        small = [cv2.resize(frame.transpose(1, 2, 0), (THUMBNAIL, THUMBNAIL)) for frame in frames]
        name = f"faces-{number}.jpg"
        artifacts[name] = _encoded(".jpg", np.concatenate(small, 1).transpose(2, 0, 1))
        scores = result.views[0].score[rows].astype(float)
        told["faces"] = {
            "name": name,
            "side": THUMBNAIL,
            "t": seen.t[rows].round(3).tolist(),
            "score": scores.round(5).tolist(),
        }
    return told


def _encoded(suffix: str, picture: np.ndarray) -> bytes:
    return cv2.imencode(suffix, np.ascontiguousarray(picture.transpose(1, 2, 0)[..., ::-1]))[1].tobytes()


def _without(path: Path, text: str) -> str:
    """Return a reason that names no file of this machine."""
    return text.replace(f"{path} is ", "it is ").replace(f"{path} ", "it ").replace(str(path), "the file")


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _lap(clock: float) -> tuple[float, float]:
    now = time.monotonic()
    return now - clock, now
