"""Detectors against each other on the same videos: paired tests, corrected for their number, and a verdict in words."""

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from dfd.core.errors import DfdError
from dfd.evaluation.protocol import UNIT, Protocol, videos_of
from dfd.metrics.bootstrap import interval, resample
from dfd.metrics.measures import OfCounts
from dfd.metrics.ranking import area, roc_auc
from dfd.metrics.significance import bootstrap_p, delong, holm

LEVEL = 0.05  # of the family of all comparisons
AUC = {"auc": OfCounts(area)}


def p_words(p: float) -> str:
    """Return a p-value as papers print it."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


@dataclass(frozen=True)
class Versus:
    """One comparison of video AUC on shared videos: paired bootstrap interval, p of DeLong's test and of the bootstrap.

    `adjusted` is DeLong's p after Holm's correction for all comparisons made at once.
    """

    first: str
    second: str
    dataset: str
    videos: int
    auc: tuple[float, float]
    difference: float
    low: float
    high: float
    p: float
    p_bootstrap: float
    adjusted: float
    comparisons: int = 1
    unshared: int = 0

    def verdict(self) -> str:
        """Say in words what was shown."""
        better, worse, sign = (self.first, self.second, 1) if self.difference >= 0 else (self.second, self.first, -1)
        low, high = sorted((100 * sign * self.low, 100 * sign * self.high))
        corrected = f", corrected for {self.comparisons} comparisons" if self.comparisons > 1 else ""
        rest = f"95 % CI {low:.1f} to {high:.1f}; {p_words(self.adjusted)}{corrected}; {self.videos} videos"
        points = f"{100 * abs(self.difference):.1f} points of AUC"
        if np.isnan(self.adjusted):
            return f"{self.first} and {self.second} cannot be compared on {self.dataset}: {self._why_not()}"
        if self.adjusted < LEVEL:
            return f"{better} is better than {worse} on {self.dataset} by {points} ({rest})"
        return f"no difference between {better} and {worse} was shown on {self.dataset}: {points} ({rest})"

    def _why_not(self) -> str:
        if np.isnan(self.auc[0]):
            return "a class is missing"
        if np.isnan(self.difference):
            return "a class has one video only"
        return f"a class comes from one group only: no interval ({100 * self.difference:+.1f} points of AUC)"

    def plain(self) -> dict:
        """Return plain values, undefined ones as None, and the verdict."""
        values = asdict(self) | {"auc": [_defined(value) for value in self.auc]}
        return {name: _defined(value) for name, value in values.items()} | {"verdict": self.verdict()}


def _defined(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value


def versus(tables: Mapping[str, pd.DataFrame], protocol: Protocol, dataset: str = "", seed: int = 0) -> list[Versus]:
    """Compare every pair of detectors by their prediction tables on one dataset."""
    videos = {name: videos_of(table, protocol) for name, table in tables.items()}
    found = [_compare(*pair, videos, protocol, dataset, seed) for pair in itertools.combinations(videos, 2)]
    return corrected(found)


def corrected(found: list[Versus]) -> list[Versus]:
    """Adjust p-values for the number of comparisons."""
    p = np.array([v.p for v in found])
    made = int((~np.isnan(p)).sum())
    return [replace(v, adjusted=float(a), comparisons=made) for v, a in zip(found, holm(p), strict=True)]


def _compare(
    first: str, second: str, videos: Mapping[str, pd.DataFrame], protocol: Protocol, dataset: str, seed: int
) -> Versus:
    left, right = videos[first], videos[second]
    both = left.merge(right[[*UNIT, "label", "score"]], on=list(UNIT), suffixes=("", "_b"))
    if not len(both):
        # anyone's files name their dataset as they like: the videos must then tell
        both = left.merge(right[["video", "label", "score"]], on="video", suffixes=("", "_b"))
    if not len(both):
        raise DfdError(f"{first} and {second} share no video: a paired comparison needs the same ones")
    if (both["label"] != both["label_b"]).any():
        odd = both.loc[both["label"] != both["label_b"], "video"].iloc[0]
        raise DfdError(f"{first} and {second} disagree about the label of {odd!r}")
    labels, groups = both["label"].to_numpy(), both["group"].to_numpy()
    one, two = both["score"].to_numpy(), both["score_b"].to_numpy()
    options = {"resamples": protocol.resamples, "seed": seed}
    draws = [resample(AUC, labels, scores, groups, **options) for scores in (one, two)]  # type: ignore[arg-type]
    paired = np.subtract(*(draw.values.get("auc", np.empty(0)) for draw in draws))
    limits = interval(paired, draws[0].groups, protocol.confidence) if len(paired) else (np.nan, np.nan)
    test = delong(labels, one, two, groups if draws[0].groups < len(labels) else None)
    return Versus(
        first,
        second,
        dataset or str(both["dataset"].iloc[0]),
        len(both),
        (roc_auc(labels, one), roc_auc(labels, two)),
        test.value,
        float(limits[0]),
        float(limits[1]),
        test.p,
        bootstrap_p(paired),
        test.p,
        unshared=len(left) + len(right) - 2 * len(both),
    )
