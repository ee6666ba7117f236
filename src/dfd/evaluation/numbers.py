"""A metric with its interval, and how a table of scored units becomes many of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dfd.evaluation.protocol import Protocol
from dfd.metrics.bootstrap import intervals, resample
from dfd.metrics.measures import RANKING, Metric, deciding, evaluate, judging
from dfd.metrics.probabilities import are_probabilities

NAMES = {
    "auc": "AUC",
    "pauc": "pAUC 10 %",
    "ap": "AP",
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
}
LOWER_IS_BETTER = ("eer", "fpr", "log_loss", "brier", "ece")


@dataclass(frozen=True)
class Number:
    """A metric and, where it could be had, its interval."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    def short(self) -> str:
        """Return the value alone."""
        return "-" if np.isnan(self.value) else f"{self.value:.3f}"

    def __str__(self) -> str:
        return self.short() + ("" if np.isnan(self.low) else f" [{self.low:.3f}, {self.high:.3f}]")


Numbers = dict[str, Number]


def measure(
    units: pd.DataFrame, protocol: Protocol, seed: int = 0, abstained: pd.DataFrame | None = None
) -> tuple[Numbers, int]:
    """Return every metric of scored units with its interval, and how many resamples held one class only.

    `abstained` are units without a score: they rank nowhere, and each counts as a wrong decision.
    """
    scores = units["score"].to_numpy(float)
    ranking: dict[str, Metric] = {**RANKING, **(judging(protocol.clip) if are_probabilities(scores) else {})}
    numbers, useless = _measure(units, ranking, protocol, seed)
    decided = units if abstained is None or not len(abstained) else _count_as_wrong(units, abstained)
    numbers |= _measure(decided, deciding(protocol.threshold), protocol, seed)[0]
    nothing = Number(float("nan"))
    return {name: numbers.get(name, nothing) for name in NAMES}, useless


def _measure(units: pd.DataFrame, metrics: Mapping[str, Metric], protocol: Protocol, seed: int) -> tuple[Numbers, int]:
    labels, scores, groups = (units[name].to_numpy() for name in ("label", "score", "group"))
    if not len(labels):
        return {}, 0
    values = evaluate(metrics, labels, scores)
    resampled = resample(metrics, labels, scores, groups, resamples=protocol.resamples, seed=seed)
    ranges = intervals(resampled, protocol.confidence)
    numbers = {}
    for name, value in values.items():
        known = name in ranges and not np.isnan(value)
        numbers[name] = Number(float(value), *ranges[name]) if known else Number(float(value))
    return numbers, resampled.useless


def _count_as_wrong(units: pd.DataFrame, abstained: pd.DataFrame) -> pd.DataFrame:
    wrong = abstained.assign(score=np.where(abstained["label"] == 1, -np.inf, np.inf))
    return pd.concat([units, wrong[[name for name in units.columns if name in wrong.columns]]], ignore_index=True)


def chance(units: pd.DataFrame) -> Numbers:
    """Return what a detector that knows nothing but the share of fakes would get."""
    share = float(units["label"].mean())
    entropy = 0.0 if share in (0, 1) else -share * np.log(share) - (1 - share) * np.log(1 - share)
    guess = {"auc": 0.5, "pauc": 0.5, "ap": share, "eer": 0.5, "tpr_1": 0.01, "tpr_5": 0.05, "tpr_10": 0.1}
    guess |= {"accuracy": max(share, 1 - share), "balanced_accuracy": 0.5, "f1": 2 * share / (1 + share)}
    guess |= {"log_loss": float(entropy), "brier": share * (1 - share), "ece": 0.0}
    return {name: Number(guess.get(name, float("nan"))) for name in NAMES}
