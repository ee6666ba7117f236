"""What the validation split decides, once: calibration, thresholds, and a band of scores without a verdict."""

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dfd.core.errors import DfdError
from dfd.core.run_folder import CHECKPOINTS, find_checkpoint
from dfd.evaluation.numbers import Number
from dfd.evaluation.protocol import Protocol, videos_of
from dfd.metrics.bootstrap import deviations
from dfd.metrics.calibration import METHODS, Calibration, conformal_band, fit
from dfd.metrics.decisions import best_threshold, threshold_at
from dfd.metrics.intervals import Spread, limits
from dfd.metrics.measures import OfCounts
from dfd.metrics.pooling import How, pool_scores
from dfd.metrics.probabilities import are_probabilities
from dfd.metrics.ranking import Counts, rates

log = logging.getLogger("dfd")

FILE = "operating.json"  # beside a run's checkpoints
ERROR = 0.1  # of verdicts outside the band, per class, on average
CHOSEN = (
    "the checkpoint was chosen on the validation videos that thresholds, calibration and band were fitted to: on new "
    "videos errors are higher, about 14 % in place of 10 % where the best of 20 epochs was chosen"
)


@dataclass(frozen=True)
class Operating:
    """Everything that was fitted to validation videos; scores are those of a video before calibration."""

    calibrations: Mapping[str, Mapping[str, list[float]]]
    chosen: str
    thresholds: Mapping[str, Number]
    band: tuple[float, float] | None
    error: float
    pool: How
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def pooled(self, scores: np.ndarray) -> float:
        """Return the score of one video from those of its rows; NaN if there are none."""
        rows = np.zeros(len(scores), int)
        return float(pool_scores(rows, scores, self.pool)[0]) if len(scores) else float("nan")

    def calibrate(self, scores: np.ndarray, method: str | None = None) -> np.ndarray:
        """Return probabilities."""
        name = method or self.chosen
        return Calibration(name, self.calibrations[name])(scores)

    def verdict(self, score: float) -> str:
        """Return fake, real or inconclusive."""
        if self.band is None:
            return "fake" if score >= self.thresholds["balanced"].value else "real"
        return "real" if score < self.band[0] else "fake" if score > self.band[1] else "inconclusive"

    def write(self, folder: Path) -> None:
        """Write beside a run's checkpoints."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=2))

    @classmethod
    def read(cls, folder: Path) -> "Operating | None":
        """Return what a run's validation decided, if it did."""
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            data = json.loads(path.read_text())
            thresholds = {name: Number(**number) for name, number in data["thresholds"].items()}
            band = None if data["band"] is None else (float(data["band"][0]), float(data["band"][1]))
            return cls(**data | {"thresholds": thresholds, "band": band})
        except (ValueError, KeyError, TypeError) as error:
            raise DfdError(f"{path} is damaged ({error}): write it again with eval.py run=... split=val") from error


def decide(
    table: pd.DataFrame, protocol: Protocol, facts: Mapping[str, Any] | None = None, chosen_on_these: bool = True
) -> Operating:
    """Fit everything to the videos of a validation table.

    `chosen_on_these` says whether the checkpoint was chosen by its score on these videos, as training does; what is
    fitted then promises too much, and a note says so.
    """
    videos = videos_of(table, protocol)
    labels, scores, groups = (videos[name].to_numpy() for name in ("label", "score", "group"))
    methods = METHODS if are_probabilities(scores) else ("platt", "isotonic")
    calibrations = {method: dict(fit(method, labels, scores).parameters) for method in methods}
    chosen, notes = protocol.calibration, []
    if chosen not in methods:
        notes.append(f"scores are not probabilities: calibrated by platt, not {chosen}")
        chosen = "platt"
    band = conformal_band(labels, scores, groups, ERROR)
    if band is None:
        need = round(1 / ERROR) - 1
        notes.append(f"no band: {ERROR:.0%} errors per class need {need} validation groups (people) of each")
    notes += [CHOSEN] if chosen_on_these else []
    name = f"fpr_{protocol.false_alarms:g}"
    at = threshold_at(labels, scores, protocol.false_alarms)
    thresholds = {
        "balanced": Number(best_threshold(labels, scores)),
        name: Number(at, *_limits(at, labels, scores, groups, protocol)),
    }
    counts = {"videos": len(videos), "real": int((labels == 0).sum()), "fake": int((labels == 1).sum())}
    return Operating(calibrations, chosen, thresholds, band, ERROR, protocol.pool, {**(facts or {}), **counts}, notes)


def _limits(
    at: float, labels: np.ndarray, scores: np.ndarray, groups: np.ndarray, protocol: Protocol
) -> tuple[float, float]:
    """Return the interval of the threshold at a false positive rate: a quantile, so by the bootstrap."""
    metric = {"": OfCounts(partial(_threshold, fpr=protocol.false_alarms))}
    error = deviations(metric, labels, scores, groups, protocol.resamples)[""]
    low, high = limits(at, Spread(error, len(np.unique(groups)) - 1.0), "plain", protocol.confidence)
    return (max(0.0, low), min(1.0, high)) if are_probabilities(scores) else (low, high)


def _threshold(counts: Counts, fpr: float) -> np.ndarray:
    """Return the lowest threshold of every resample whose false positive rate is at most `fpr`."""
    false, _ = rates(counts)
    last = (false[..., 1:] <= fpr + 1e-12).sum(-1) - 1
    return np.where(last >= 0, counts.thresholds[np.maximum(last, 0)], np.nan)


def operating_folder(run: Path, checkpoint: Path) -> Path:
    """Return where a checkpoint's operating point lies: the run folder for the checkpoint that stands for the run."""
    chosen = checkpoint
    if checkpoint.parent == run / CHECKPOINTS:
        with suppress(DfdError):  # neither a best nor a last one: the only one there is
            chosen = find_checkpoint(run)
    return run if checkpoint == chosen else run / "operating" / checkpoint.stem


def operating_point_of(run: Path, checkpoint: Path) -> Operating | None:
    """Return the operating point that validation chose for a checkpoint, if it did."""
    folder = operating_folder(run, checkpoint)
    operating = Operating.read(folder)
    if operating is None and folder != run:
        log.warning(
            "the run's thresholds are not those of %s: find its own with eval.py run=%s split=val",
            checkpoint.name,
            checkpoint,
        )
    return operating


def store_operating_point(run: Path, table: pd.DataFrame, protocol: Protocol, facts: Mapping[str, Any]) -> None:
    """Write the operating point of a checkpoint from its predictions of the validation split, or say why not."""
    kept = {key: facts[key] for key in ("dataset", "manifest", "checkpoint", "sample", "started") if key in facts}
    try:
        operating = decide(table, protocol, kept)
    except DfdError as error:
        log.warning("no threshold and calibration for this run: %s", error)
        return
    folder = operating_folder(run, Path(facts["checkpoint"]))
    folder.mkdir(parents=True, exist_ok=True)
    operating.write(folder)
