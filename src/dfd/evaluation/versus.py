"""Detectors compared on the same videos: paired tests, corrected for their number, and a verdict in words."""

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from dfd.core.errors import DfdError
from dfd.evaluation.numbers import LOWER_IS_BETTER, NAMES, donors_of, noun_of
from dfd.evaluation.protocol import UNIT, Protocol, videos_of
from dfd.metrics.measures import RANKING, Metric, deciding, evaluate, judging
from dfd.metrics.probabilities import are_probabilities
from dfd.metrics.significance import Difference, delong, difference, holm

LEVEL = 0.05  # of the family of all comparisons


def p_words(p: float) -> str:
    """Return a p-value as papers print it."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


@dataclass(frozen=True)
class Versus:
    """One comparison on shared videos of the metric that the protocol puts first: interval and p are of one test.

    `values` are the two detectors' own; `difference` is how much *better* the first is. `adjusted` is p after Holm's
    correction for all comparisons made at once.
    """

    first: str
    second: str
    dataset: str
    videos: int
    values: tuple[float, float]
    difference: float
    low: float
    high: float
    p: float
    adjusted: float
    comparisons: int = 1
    unshared: int = 0
    metric: str = "auc"
    confidence: float = 0.95
    noun: str = "video"

    @property
    def test(self) -> str:
        """Return what the test is called."""
        return "DeLong's test with clusters" if self.metric == "auc" else "jackknife over groups"

    def verdict(self) -> str:
        """Say in words what was shown."""
        better, worse, sign = (self.first, self.second, 1) if self.difference >= 0 else (self.second, self.first, -1)
        scale, unit = (1, "") if self.metric == "log_loss" else (100, " points")
        digits = 3 if scale == 1 else 1
        low, high = sorted((scale * sign * self.low, scale * sign * self.high))
        corrected = f", corrected for {self.comparisons} comparisons" if self.comparisons > 1 else ""
        interval = f"{100 * self.confidence:g} % CI {low:.{digits}f} to {high:.{digits}f}"
        rest = f"{interval}; {p_words(self.adjusted)}{corrected}; {self.videos} {self.noun}s"
        points = f"{scale * abs(self.difference):.{digits}f}{unit} of {NAMES[self.metric]}"
        if np.isnan(self.adjusted):
            return f"{self.first} and {self.second} cannot be compared on {self.dataset}: {self._why_not()}"
        if self.adjusted < LEVEL:
            return f"{better} is better than {worse} on {self.dataset} by {points} ({rest})"
        return f"no difference between {better} and {worse} was shown on {self.dataset}: {points} ({rest})"

    def _why_not(self) -> str:
        if np.isnan(self.values[0]):
            return "a class is missing"
        if np.isnan(self.difference):
            return f"a class has one {self.noun} only"
        points = f"{100 * self.difference:+.1f} points of {NAMES[self.metric]}"
        return f"a class comes from one group only: no interval ({points})"

    def plain(self) -> dict:
        """Return plain values, undefined ones as None, and the verdict."""
        values = asdict(self) | {"values": [_defined(value) for value in self.values], "test": self.test}
        return {name: _defined(value) for name, value in values.items()} | {"verdict": self.verdict()}


def _defined(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value


def versus(tables: Mapping[str, pd.DataFrame], protocol: Protocol, dataset: str = "") -> list[Versus]:
    """Compare every pair of detectors by their prediction tables on one dataset."""
    videos = {name: videos_of(table, protocol) for name, table in tables.items()}
    found = [_compare(*pair, videos, protocol, dataset) for pair in itertools.combinations(videos, 2)]
    return corrected(found)


def corrected(found: list[Versus]) -> list[Versus]:
    """Adjust p-values for the number of comparisons."""
    p = np.array([v.p for v in found])
    made = int((~np.isnan(p)).sum())
    return [replace(v, adjusted=float(a), comparisons=made) for v, a in zip(found, holm(p), strict=True)]


def _compare(first: str, second: str, videos: Mapping[str, pd.DataFrame], protocol: Protocol, dataset: str) -> Versus:
    left, right = videos[first], videos[second]
    both = left.merge(right[[*UNIT, "label", "score"]], on=list(UNIT), suffixes=("", "_b"))
    if not len(both):
        # files from elsewhere name their dataset as they like: videos are then matched by name alone
        both = left.merge(right[["video", "label", "score"]], on="video", suffixes=("", "_b"))
    if not len(both):
        raise DfdError(f"{first} and {second} share no video: a paired comparison needs the same ones")
    if (both["label"] != both["label_b"]).any():
        odd = both.loc[both["label"] != both["label_b"], "video"].iloc[0]
        raise DfdError(f"{first} and {second} disagree about the label of {odd!r}")
    name = _compared(both, protocol)
    test, values = _tested(name, both, protocol)
    return Versus(
        first,
        second,
        dataset or str(both["dataset"].iloc[0]),
        len(both),
        values,
        test.value,
        test.low,
        test.high,
        test.p,
        test.p,
        unshared=len(left) + len(right) - 2 * len(both),
        metric=name,
        confidence=protocol.confidence,
        noun=noun_of(both),
    )


def _compared(both: pd.DataFrame, protocol: Protocol) -> str:
    """Return the metric that the protocol puts first, or AUC where it cannot be computed or compared."""
    name = protocol.headline[0] if protocol.headline else "auc"
    probable = are_probabilities(both[["score", "score_b"]].to_numpy().ravel())
    return "auc" if name not in _metrics(protocol) or (name in judging() and not probable) else name


def _metrics(protocol: Protocol) -> dict[str, Metric]:
    every: dict[str, Metric] = {**RANKING, **deciding(protocol.threshold), **judging(protocol.clip)}
    return {name: metric for name, metric in every.items() if metric.scale is not None}


def _tested(name: str, both: pd.DataFrame, protocol: Protocol) -> tuple[Difference, tuple[float, float]]:
    """Return the test of how much better the first is, and both values: DeLong's for AUC, else the jackknife."""
    labels, groups, donors = both["label"].to_numpy(), both["group"].to_numpy(), donors_of(both)
    metric, scores = _metrics(protocol)[name], [both[column].to_numpy(float) for column in ("score", "score_b")]
    one, two = (float(evaluate({name: metric}, labels, each)[name]) for each in scores)
    if name == "auc" and donors is None:
        return delong(labels, scores[0], scores[1], groups, protocol.confidence), (one, two)
    options = {"confidence": protocol.confidence, "resamples": protocol.resamples}
    found = difference(metric, labels, scores[0], scores[1], groups, donors, **options)  # type: ignore[arg-type]
    if name in LOWER_IS_BETTER:
        found = Difference(-found.value, -found.high, -found.low, found.p)
    return found, (one, two)
