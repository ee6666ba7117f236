"""Metrics of a table of scored units, each with its interval."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dfd.evaluation.protocol import Protocol
from dfd.metrics.jackknife import intervals
from dfd.metrics.measures import RANKING, RATES, Metric, deciding, evaluate, judging
from dfd.metrics.probabilities import are_probabilities, calibrated_ece

NAMES = {
    "auc": "AUC",
    "pauc": "pAUC 10 %",
    "ap": "AP",
    "ap_chance": "AP of chance",
    "ap_balanced": "AP at 50 % fakes",
    "eer": "EER",
    "tpr_1": "TPR at 1 % FPR",
    "tpr_5": "TPR at 5 % FPR",
    "tpr_10": "TPR at 10 % FPR",
    "accuracy": "acc",
    "balanced_accuracy": "bal. acc",
    "f1": "F1",
    "fpr": "FPR",
    "tpr": "TPR",
    "log_loss": "log loss",
    "brier": "Brier",
    "ece": "ECE",
    "ece_calibrated": "ECE if calibrated",
}
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
LOWER_IS_BETTER = ("eer", "fpr", "log_loss", "brier", "ece")


@dataclass(frozen=True)
class Number:
    """A metric and its interval; NaN where it is undefined or has none."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    def short(self) -> str:
        """Return the value alone."""
        return "-" if np.isnan(self.value) else f"{self.value:.3f}"

    def __str__(self) -> str:
        return self.short() + ("" if np.isnan(self.low) else f" [{self.low:.3f}, {self.high:.3f}]")


Numbers = dict[str, Number]
UNDEFINED = Number(np.nan)


def measure(units: pd.DataFrame, protocol: Protocol, abstained: pd.DataFrame | None = None) -> Numbers:
    """Return every metric of scored units with its interval.

    `abstained` are units without a score: they are not ranked, and each counts as a wrong decision.
    """
    labels, scores = units["label"].to_numpy(), units["score"].to_numpy(float)
    probable = are_probabilities(scores)
    numbers = _measure(units, {**RANKING, **(judging(protocol.clip) if probable else {})}, protocol)
    reals, fakes = int((labels == 0).sum()), int((labels == 1).sum())
    for name, rate in RATES.items():
        if not can_be_read(rate, reals):
            numbers.pop(name, None)
    if reals and fakes:
        numbers["ap_chance"] = Number(fakes / (reals + fakes))
    if probable:
        numbers["ece_calibrated"] = Number(calibrated_ece(scores))
    numbers |= decisions(units, protocol, abstained)
    return {name: numbers.get(name, UNDEFINED) for name in NAMES}


def decisions(units: pd.DataFrame, protocol: Protocol, abstained: pd.DataFrame | None = None) -> Numbers:
    """Return the metrics of decisions at the protocol's threshold."""
    decided = units if abstained is None or not len(abstained) else _count_as_wrong(units, abstained)
    return _measure(decided, deciding(protocol.threshold), protocol)


def can_be_read(rate: float, reals: int) -> bool:
    """Whether a TPR at a false positive rate means anything with so many reals: one of them is already 1 / reals."""
    return rate * reals >= 1 - 1e-9


def meant_rate(rate: float, reals: int) -> float:
    """Return the false positive rate to expect on new reals where at most the share `rate` of `reals` exceeds it."""
    return (np.floor(rate * reals + 1e-9) + 1) / (reals + 1)


def donors_of(units: pd.DataFrame) -> np.ndarray | None:
    """Return the second group of every unit (the person whose face a fake shows), where a table has one."""
    if "donor" not in units.columns:
        return None
    given = units["donor"].astype(object)
    return given.where(given.notna() & (given != ""), units["group"]).to_numpy(str)


def noun_of(videos: pd.DataFrame) -> str:
    """Return what units are called: pictures, if every one has a single row and the ending of a picture."""
    names = videos["video"].astype(str).str.lower()
    return "picture" if len(videos) and (videos["rows"] == 1).all() and names.str.endswith(PICTURES).all() else "video"


def _measure(units: pd.DataFrame, metrics: Mapping[str, Metric], protocol: Protocol) -> Numbers:
    labels, scores = (units[name].to_numpy() for name in ("label", "score"))
    if not len(labels):
        return {}
    groups = pd.factorize(units["group"], sort=False)[0]
    values = {name: float(value) for name, value in evaluate(metrics, labels, scores).items()}
    ranges = intervals(
        metrics,
        values,
        labels,
        scores,
        groups,
        donors_of(units),
        confidence=protocol.confidence,
        resamples=protocol.resamples,
    )
    return {name: Number(value, *ranges[name]) for name, value in values.items()}


def _count_as_wrong(units: pd.DataFrame, abstained: pd.DataFrame) -> pd.DataFrame:
    wrong = abstained.assign(score=np.where(abstained["label"] == 1, -np.inf, np.inf))
    return pd.concat([units, wrong[[name for name in units.columns if name in wrong.columns]]], ignore_index=True)


def chance(units: pd.DataFrame) -> Numbers:
    """Return what a detector that knows nothing but the share of fakes would get."""
    share = float(units["label"].mean())
    entropy = 0.0 if share in (0, 1) else -share * np.log(share) - (1 - share) * np.log(1 - share)
    guess = {"auc": 0.5, "pauc": 0.5, "ap": share, "ap_chance": share, "ap_balanced": 0.5, "eer": 0.5, **RATES}
    guess |= {"accuracy": max(share, 1 - share), "balanced_accuracy": 0.5, "f1": 2 * share / (1 + share)}
    guess |= {"log_loss": float(entropy), "brier": share * (1 - share), "ece": 0.0}
    return {name: Number(guess.get(name, np.nan)) for name in NAMES}
