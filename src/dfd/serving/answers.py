"""What runs found in a file, as the plain values that the API and the page show.

Every run has an entry with its kind: "views" (scores of faces over time), "delays" (between sound and lips) or
"segments" (stretches that look forged).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from dfd.core.text import without_path
from dfd.data.audio import STEADY
from dfd.evaluation.operating import Operating
from dfd.inference.engine import Engine
from dfd.inference.restoring import Second
from dfd.inference.segments import Located, SegmentEngine
from dfd.inference.verdict import FileResult, ViewScores
from dfd.inference.views import FileViews
from dfd.models.base import TalkDetector

DIRECTION = "higher = fake"
SHOWN, THUMBNAIL = 12, 112  # views of the main person in a strip, and their side in pixels
WORTH_SHOWING = 0.05  # score of a stretch, below which it is not listed
UNKNOWN = "forgeries of kinds, and media of qualities, that were not in its training data"
ON_SAMPLE = "trained on the rendered sample: its verdicts on real media mean nothing"

Artifacts = dict[str, bytes]


def about(engine: Engine | SegmentEngine) -> dict[str, Any]:
    """Describe a run: what it is, what it was trained on, and where its verdicts begin."""
    if isinstance(engine, SegmentEngine):
        card, kind = engine.card, "segments"
        operating = _operating(None, engine.threshold)
        origin = f"fake from a stretch that scores {engine.threshold:g} on (not chosen on validation videos)"
    else:
        card = engine.members[0].card
        kind = "delays" if isinstance(engine.members[0].network, TalkDetector) else "views"
        operating = _operating(engine.judging.operating, engine.judging.threshold)
        origin = engine.judging.origin
    return {
        "model": card.model,
        "kind": kind,
        "trained_on": card.data,
        "sample": card.sample,
        "manifest": card.manifest,
        "initialised_from": card.initialised_from,
        "input": dict(card.input),
        "direction": DIRECTION,
        "operating": {"origin": origin, **operating},
        "unknown": UNKNOWN,
        "warnings": [ON_SAMPLE] if card.sample else [],
    }


def of_views(name: str, engine: Engine, result: FileResult, path: Path) -> dict[str, Any]:
    """Return what a run over faces, or over lips and voice, found."""
    known = about(engine)
    windows = result.views[0].windows
    return {
        "run": name,
        **{key: known[key] for key in ("kind", "model", "operating", "warnings")},
        "verdict": result.verdict,
        "score": _number(result.score),
        "probability": _number(result.probability),
        "reason": {"code": result.kind, "detail": without_path(result.reason, path)} if result.reason else None,
        "people": _people(result.views[0]),
        "views": result.count,
        "out_of_distribution": _number(result.views[0].ood),
        **({} if known["kind"] == "views" else _heard(engine, windows)),
    }


def of_segments(name: str, engine: SegmentEngine, found: Located, path: Path) -> dict[str, Any]:
    """Return what a localiser found."""
    known = about(engine)
    listed = sorted((each for each in found.proposals if each.score >= WORTH_SHOWING), key=lambda each: each.start)
    return {
        "run": name,
        **{key: known[key] for key in ("kind", "model", "operating", "warnings")},
        "verdict": found.verdict,
        "score": _number(found.score) if found.judged else None,
        "probability": None,
        "reason": {"code": found.kind, "detail": without_path(found.reason, path)} if found.reason else None,
        "people": [],
        "views": 0,
        "out_of_distribution": None,
        "segments": [{**each._asdict(), "score": round(each.score, 4)} for each in listed],
        "waveform": found.loudness.round(3).tolist(),
        "restored": None,
        "artifacts": {},
    }


def of_restored(second: Second, first: FileResult) -> dict[str, Any]:
    """Return what restoring changed; the verdict on the file as it is stays the verdict."""
    shown: dict[str, Any] = {"sharpness": second.sharpness, "verdict": None, "score": None, "change": None}
    if second.result is None:
        return shown
    change = _number(second.result.score - first.score)
    return shown | {"verdict": second.result.verdict, "score": _number(second.result.score), "change": change}


def pictures(number: int, result: FileResult, seen: Sequence[FileViews], artifacts: Artifacts) -> dict[str, Any]:
    """Add the pictures of a run to the artefacts; return what they show."""
    shown: dict[str, Any] = {}
    picture = result.views[0].evidence
    if picture is not None:
        shown["evidence"] = {"name": f"evidence-{number}.png"}
        artifacts[f"evidence-{number}.png"] = _encoded(".png", picture)
    if len(result.views[0].score):
        t, track = (np.concatenate([getattr(part, name) for part in seen]) for name in ("t", "track"))
        main = np.flatnonzero(track == track[0])
        rows = main[np.unique(np.linspace(0, len(main) - 1, min(SHOWN, len(main))).round().astype(int))]
        views = [view for part in seen for view in part.pixels]
        frames = [views[row] if views[row].ndim == 3 else views[row][0] for row in rows]
        small = [cv2.resize(frame.transpose(1, 2, 0), (THUMBNAIL, THUMBNAIL)) for frame in frames]
        name = f"faces-{number}.jpg"
        artifacts[name] = _encoded(".jpg", np.concatenate(small, 1).transpose(2, 0, 1))
        scores = result.views[0].score[rows].astype(float)
        shown["faces"] = {
            "name": name,
            "side": THUMBNAIL,
            "t": t[rows].round(3).tolist(),
            "score": scores.round(5).tolist(),
        }
    return shown


def _delays(windows: pd.DataFrame | None, fps: float) -> list[dict[str, float]]:
    """Return by how many seconds the sound is late, window by window, and how surprising that is."""
    if windows is None:
        return []
    names = [name for name in windows.columns if name.startswith("delay_")]
    frames = np.array([int(name.removeprefix("delay_")) for name in names])
    likeliest = frames[windows[names].to_numpy().argmax(1)] / fps
    rows = zip(windows["time_s"].tolist(), likeliest.tolist(), windows["kl"].tolist())
    return [{"t": round(t, 3), "delay": round(delay, 3), "surprise": round(kl, 4)} for t, delay, kl in rows]


def _heard(engine: Engine, windows: pd.DataFrame | None) -> dict[str, Any]:
    """Return the delays of a run over lips and voice, and the offset of the whole clip in frames."""
    fps = float(getattr(engine.members[0].network.input, "fps", STEADY))
    offset = None if windows is None or not len(windows) else float(windows["offset"].median())
    return {"delays": _delays(windows, fps), "offset": offset}


def _people(seen: ViewScores) -> list[dict[str, Any]]:
    """Return the scores over time of every person, in the order in which they were found."""
    people = []
    for person in dict.fromkeys(seen.track.tolist()):
        rows = np.flatnonzero(seen.track == person)
        rows = rows[np.argsort(seen.t[rows], kind="stable")]
        times, scores = (np.round(values[rows].astype(float), 5).tolist() for values in (seen.t, seen.score))
        people.append({"person": int(person), "t": times, "score": scores})
    return people


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


def _encoded(suffix: str, picture: np.ndarray) -> bytes:
    return cv2.imencode(suffix, np.ascontiguousarray(picture.transpose(1, 2, 0)[..., ::-1]))[1].tobytes()


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
