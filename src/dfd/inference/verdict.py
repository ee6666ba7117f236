"""From scored views to a verdict on a file: pooled, calibrated, and worded as validation decided."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dfd.evaluation.operating import Operating
from dfd.metrics.pooling import POOLS, How, pool_scores

FAKE, REAL, INCONCLUSIVE, NOT_JUDGED = "fake", "real", "inconclusive", "not judged"
STRATEGIES = (*POOLS, "tracks")
ARRAYS: dict[str, Any] = {"t": float, "score": float, "track": int}  # of views


@dataclass(frozen=True)
class ViewScores:
    """What one run saw in one file: a score per view, or the reason why there is none.

    `t` is in seconds, `track` is the person that a view shows, `kind` is a stable code of the reason (no_face,
    decode_error, ...). `ood` is the file's out-of-distribution score where a detector was asked for. `unlike` says why
    the run should not answer, `unlike_kind` with a stable code. `evidence` is a picture (3, H, W) uint8 of what in the
    highest scoring view speaks for "fake".
    """

    t: np.ndarray = field(default_factory=lambda: np.empty(0))
    score: np.ndarray = field(default_factory=lambda: np.empty(0))
    track: np.ndarray = field(default_factory=lambda: np.empty(0, int))
    reason: str = ""
    kind: str = ""
    ood: float | None = None
    unlike: str = ""
    unlike_kind: str = "out_of_distribution"
    evidence: np.ndarray | None = field(default=None, repr=False)
    windows: pd.DataFrame | None = field(default=None, repr=False)

    def plain(self) -> dict[str, Any]:
        """Return it as plain values, without its picture."""
        plain = {key: value for key, value in asdict(self).items() if key not in ("evidence", "windows")}
        plain |= {name: np.asarray(plain[name]).tolist() for name in ARRAYS}
        return plain | {"windows": None if self.windows is None else self.windows.to_dict("list")}

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> "ViewScores":
        """Return what `plain` was made of."""
        windows = None if plain.get("windows") is None else pd.DataFrame(plain["windows"])
        arrays = {name: np.array(plain[name], kind) for name, kind in ARRAYS.items()}
        return cls(**{**plain, **arrays, "windows": windows})

    def pooled(self, strategy: str = "mean") -> float:
        """Return the file's score by one of the pools; `tracks` is the mean of the most suspect person."""
        if not len(self.score):
            return float("nan")
        if strategy == "tracks":
            return float(pool_scores(np.unique(self.track, return_inverse=True)[1], self.score, "mean").max())
        return float(pool_scores(np.zeros(len(self.score), int), self.score, strategy)[0])  # type: ignore[arg-type]

    def pooled_as_validated(self, operating: Operating, tracks: How = "max") -> float:
        """Return the file's score, its views and then its people pooled as those of validation videos were."""
        people = [operating.pooled(self.score[self.track == person]) for person in np.unique(self.track)]
        return float(pool_scores(np.zeros(len(people), int), np.array(people), tracks)[0])


@dataclass(frozen=True)
class Judging:
    """How scores become verdicts: a run's operating point where it applies, else a threshold and a pool."""

    operating: Operating | None = None
    threshold: float = 0.5
    strategy: str = "mean"
    tracks: How = "max"

    @property
    def origin(self) -> str:
        """Where the threshold comes from, for people."""
        if self.operating is None:
            return f"threshold {self.threshold:g} (not chosen on validation videos)"
        band = self.operating.band
        if band is None:
            return f"threshold {self.operating.thresholds['balanced'].value:.3f}, chosen on validation videos"
        return f"real below {band[0]:.3f}, fake above {band[1]:.3f}: chosen on validation videos"


@dataclass(frozen=True)
class FileResult:
    """The answer on one file: a verdict, the probability of "fake" where it is calibrated, and what it rests on."""

    path: Path
    verdict: str
    score: float
    probability: float | None
    reason: str
    kind: str
    views: Sequence[ViewScores]  # one per run

    @property
    def judged(self) -> bool:
        """Whether the file could be looked at."""
        return self.verdict != NOT_JUDGED

    def plain(self) -> dict[str, Any]:
        """Return it as plain values, without its pictures."""
        return {**self.__dict__, "path": str(self.path), "views": [each.plain() for each in self.views]}

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> "FileResult":
        """Return what `plain` was made of."""
        views = [ViewScores.of_plain(each) for each in plain["views"]]
        return cls(**{**plain, "path": Path(plain["path"]), "views": views})

    @property
    def count(self) -> int:
        """Views that were scored, of the run that saw most."""
        return max(len(each.score) for each in self.views)

    @property
    def faces(self) -> int:
        """People that were seen."""
        return max(len(set(each.track.tolist())) for each in self.views)


def judge_file(path: Path, views: Sequence[ViewScores], judging: Judging) -> FileResult:
    """Turn the scores of one or several runs into a verdict; several runs are averaged."""
    operating = judging.operating
    scores = [
        each.pooled(judging.strategy) if operating is None else each.pooled_as_validated(operating, judging.tracks)
        for each in views
        if len(each.score)
    ]
    score = float(np.mean(scores)) if scores else float("nan")
    failed = next((each for each in views if each.reason), None)
    if not np.isfinite(score):
        reason, kind = (failed.reason, failed.kind) if failed else ("its score is not finite", "not_finite")
        return FileResult(path, NOT_JUDGED, float("nan"), None, reason, kind, views)
    probability = None if operating is None else float(operating.calibrate(np.array([score]))[0])
    verdict = (FAKE if score >= judging.threshold else REAL) if operating is None else operating.verdict(score)
    reason, kind = (failed.reason, failed.kind) if failed else ("", "")
    unlike = next((each for each in views if each.unlike), None)
    if unlike:
        verdict, reason, kind = INCONCLUSIVE, reason or unlike.unlike, kind or unlike.unlike_kind
    elif verdict == INCONCLUSIVE and operating is not None and operating.band is not None and not reason:
        low, high = operating.band
        reason = f"its score lies between {low:.3f} and {high:.3f}, where validation found both real and fake"
        kind = "in_band"
    return FileResult(path, verdict, score, probability, reason, kind, views)
