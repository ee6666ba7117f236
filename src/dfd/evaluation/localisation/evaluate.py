"""Every number of a table of proposals, each with its interval: both protocols, frames, files, streams, lengths."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, STREAMS
from dfd.evaluation.localisation.truth import Truth, spans_of, without_stretches
from dfd.evaluation.numbers import Number
from dfd.metrics.intervals import bundled, limits, spread
from dfd.metrics.ranking import roc_auc
from dfd.metrics.segments import (
    AP_AT,
    AR_AT,
    PROTOCOLS,
    Overlaps,
    Protocol,
    Spans,
    best_overlaps,
    challenge_score,
    frames,
    overlaps,
    recalled,
    scorer,
    video_scores,
)

LENGTHS = (0.0, 0.25, 0.5, 1.0, 2.0, float("inf"))  # seconds
MOST = 200  # groups left out one by one; more are left out in that many bundles
OF_FRAMES = ("frame AUC", "frame IoU")
CHALLENGE = "challenge score"
Numbers = dict[str, Number]


@dataclass(frozen=True)
class SegmentEvaluation:
    """The numbers of one table of proposals.

    `protocols`: by protocol, AP and AR; `files`: what does not depend on it; `streams`, `lengths`: AR@10 of the
    stretches of one stream, of one range of lengths; `subsets`: by protocol, of the clips whose pictures were forged
    or that are real. `counts`: files, reals, fakes, stretches, proposals, groups.
    """

    protocols: dict[str, Numbers]
    files: Numbers
    streams: Numbers = field(default_factory=dict)
    lengths: Numbers = field(default_factory=dict)
    subsets: dict[str, Numbers] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    confidence: float = 0.95

    @property
    def ratio(self) -> str:
        """How many real files there are for a fake one."""
        reals, fakes = self.counts["reals"], self.counts["fakes"]
        return f"{reals} real : {fakes} fake files"

    def to_json(self) -> str:
        """Return JSON; what is undefined is null."""
        return json.dumps({"kind": "segments", **_plain(asdict(self))}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "SegmentEvaluation":
        """Read JSON."""
        values = json.loads(text)
        if values.pop("kind", None) != "segments":
            raise DfdError("these are not the numbers of proposals")
        read: dict[str, Any] = dict(values)
        for key in ("files", "streams", "lengths"):
            read[key] = _numbers(values[key])
        for key in ("protocols", "subsets"):
            read[key] = {name: _numbers(numbers) for name, numbers in values[key].items()}
        return cls(**read)


def evaluate_segments(
    proposals: pd.DataFrame, truth: Truth, confidence: float = 0.95, rate: float = 25.0, threshold: float = 0.5
) -> SegmentEvaluation:
    """Evaluate proposals; intervals leave out one group of files after the other.

    Args:
        proposals: a segment table (`dfd.core.segments`).
        truth: of all files, also of those without a proposal.
        confidence: of the intervals.
        rate: frames per second of the numbers of frames.
        threshold: score from which a frame is called forged.
    """
    spans, known = spans_of(proposals, truth), truth.spans()
    count = len(truth.files)
    found = overlaps(spans, known, count)
    groups = np.unique(truth.files["group"].to_numpy(str), return_inverse=True)[1]
    measured = _Measured(groups, confidence)
    protocols: dict[str, Numbers] = {name: measured(_of_protocol(found, name)) for name in PROTOCOLS}
    files = measured(_of_files(spans, known, truth, rate, threshold))
    return SegmentEvaluation(
        protocols,
        files,
        streams=measured(_recalls(found, _by_stream(truth))),
        lengths=measured(_recalls(found, _by_length(truth))),
        subsets=_visual(spans, truth, measured),
        counts=_counts(proposals, truth),
        notes=_notes(proposals, truth),
        confidence=confidence,
    )


class _Measured:
    """Values of a function of weights of files, each with a jackknife interval over groups."""

    def __init__(self, groups: np.ndarray, confidence: float) -> None:
        size = int(groups.max()) + 1 if len(groups) else 0
        self.bundles = bundled(groups, size, MOST) if size > MOST else groups
        self.groups, self.confidence = size, confidence

    def __call__(self, function: Callable[[np.ndarray | None], Mapping[str, float]]) -> Numbers:
        values = function(None)
        left_out = [function((self.bundles != bundle).astype(float)) for bundle in np.unique(self.bundles)]
        found = {}
        for name, value in values.items():
            spreading = spread(np.array([each[name] for each in left_out]))
            low, high = limits(value, spreading, "logit", self.confidence, self.groups)
            found[name] = Number(value, low, high)
        return found


def _of_protocol(found: Overlaps, name: Protocol) -> Callable[[np.ndarray | None], dict[str, float]]:
    numbers = scorer(found, name, AP_AT, AR_AT)
    if name != "lavdf":
        return numbers

    def with_challenge(weights: np.ndarray | None) -> dict[str, float]:
        values = numbers(weights)
        return values | {CHALLENGE: challenge_score(values)}

    return with_challenge


def _of_files(
    spans: Spans, known: Spans, truth: Truth, rate: float, threshold: float
) -> Callable[[np.ndarray | None], dict[str, float]]:
    """Return the function from weights of files to the numbers of frames and of whole files."""
    painted = frames(spans, known, truth.files["duration"].to_numpy(float), rate)
    owner = np.repeat(np.arange(len(truth.files)), np.diff(painted.first))
    claimed, forged = painted.scores >= threshold, painted.labels == 1
    shared = np.bincount(owner[claimed & forged], minlength=len(truth.files))
    joint = np.bincount(owner[claimed | forged], minlength=len(truth.files))
    labels = (truth.files["label"].to_numpy() == FAKE).astype(int)
    scores = video_scores(spans, len(truth.files))

    def numbers(weights: np.ndarray | None) -> dict[str, float]:
        each = np.ones(len(labels)) if weights is None else weights
        union = float(each @ joint)
        return {
            "file AUC": float(roc_auc(labels, scores, each)),
            "frame AUC": float(roc_auc(painted.labels, painted.scores, each[owner])),
            "frame IoU": float(each @ shared) / union if union else float("nan"),
        }

    return numbers


def _recalls(found: Overlaps, chosen: Mapping[str, np.ndarray]) -> Callable[[np.ndarray | None], dict[str, float]]:
    share = recalled(best_overlaps(found, 10, "lavdf_closed"), "lavdf_closed")

    def numbers(weights: np.ndarray | None) -> dict[str, float]:
        each = np.ones(len(share)) if weights is None else weights[found.owner]
        sums = {name: (each * mask) for name, mask in chosen.items()}
        return {name: float(mask @ share / mask.sum()) if mask.sum() else float("nan") for name, mask in sums.items()}

    return numbers


def _by_stream(truth: Truth) -> dict[str, np.ndarray]:
    forged = truth.stretches["stream"].to_numpy(str)
    return {name: forged == name for name in STREAMS if (forged == name).any()}


def _by_length(truth: Truth) -> dict[str, np.ndarray]:
    length = (truth.stretches["end"] - truth.stretches["start"]).to_numpy(float)
    ranges = {
        f"{low:g} to {high:g} s" if np.isfinite(high) else f"over {low:g} s": (length > low) & (length <= high)
        for low, high in pairwise(LENGTHS)
    }
    return {name: mask for name, mask in ranges.items() if mask.any()}


def _visual(spans: Spans, truth: Truth, measured: _Measured) -> dict[str, Numbers]:
    """Return the numbers on the visual subset: without files of which only the sound was forged."""
    only_sound = np.ones(len(truth.files), bool)
    only_sound[truth.numbers(truth.stretches[truth.stretches["stream"] != "audio"])] = False
    only_sound &= truth.files["label"].to_numpy() == FAKE
    if not only_sound.any() or only_sound[truth.files["label"].to_numpy() == FAKE].all():
        return {}
    kept = ~only_sound
    stretches = truth.spans()
    inside, shown = kept[spans.clip], kept[stretches.clip]
    chosen = Spans(*(column[inside] for column in spans))  # type: ignore[index]
    known = Spans(stretches.clip[shown], stretches.start[shown], stretches.end[shown])
    found = overlaps(chosen, known, len(truth.files))
    return {name: measured(_of_protocol(found, name)) for name in PROTOCOLS}


def _counts(proposals: pd.DataFrame, truth: Truth) -> dict[str, int]:
    fakes = int((truth.files["label"] == FAKE).sum())
    return {
        "files": len(truth.files),
        "reals": len(truth.files) - fakes,
        "fakes": fakes,
        "stretches": len(truth.stretches),
        "proposals": len(proposals),
        "groups": int(truth.files["group"].nunique()),
    }


def _notes(proposals: pd.DataFrame, truth: Truth) -> list[str]:
    notes = []
    silent = set(truth.files["video"]) - set(proposals["video"])
    if silent:
        notes.append(f"{len(silent)} of {len(truth.files)} files have no proposal at all")
    unknown = without_stretches(truth)
    if unknown:
        notes.append(
            f"{len(unknown)} fakes have no known stretch (the first: {unknown[0]}): proposals there count as wrong"
        )
    durations = dict(zip(truth.files["video"], truth.files["duration"]))
    late = int((truth.stretches["end"] > truth.stretches["video"].map(durations) + 0.1).sum())
    if late:
        notes.append(f"{late} forged stretches end after their file does")
    return notes


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return None if np.isnan(value) else float(value)
    return value


def _numbers(values: Mapping[str, Mapping[str, float | None]]) -> Numbers:
    return {
        name: Number(*(float("nan") if number[key] is None else float(number[key]) for key in ("value", "low", "high")))  # type: ignore[arg-type]
        for name, number in values.items()
    }
