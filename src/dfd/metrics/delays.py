"""What distributions over delays say of a clip: how exact they are, a common offset, and how surprising they are.

Probabilities are (windows, delays); index k of 2 r + 1 delays stands for k - r frames, positive where the sound is
late. Scores grow with fakeness.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dfd.core.errors import DfdError

Divergence = Literal["kl", "soft_ce"]
Pool = Literal["mean", "max", "top_k"]
Metric = Callable[[np.ndarray, np.ndarray], float]  # of labels and scores
EPSILON = 1e-12


def accuracy(probabilities: np.ndarray, truth: int | np.ndarray = 0) -> dict[str, float]:
    """Return how often the likeliest delay is the true one, or one frame beside it, and the mean error in frames."""
    if not len(probabilities):
        return {"exact": float("nan"), "within1": float("nan"), "mean_abs": float("nan")}
    error = np.abs(probabilities.argmax(1) - probabilities.shape[1] // 2 - truth)
    exact, near = float((error == 0).mean()), float((error <= 1).mean())
    return {"exact": exact, "within1": near, "mean_abs": float(error.mean())}


def together(probabilities: np.ndarray, count: int = 5) -> np.ndarray:
    """Return, for each window of a clip, what it and its neighbours say together: the geometric mean of `count`."""
    logs, kernel = np.log(np.maximum(probabilities, EPSILON)), np.ones(count)
    if len(logs) < count:
        return probabilities
    summed = np.stack([np.convolve(column, kernel, "same") for column in logs.T], 1)
    joint = np.exp((summed - summed.max(1, keepdims=True)) / count)
    return joint / joint.sum(1, keepdims=True)


def mean_distribution(probabilities: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the distribution over all windows of a clip."""
    return np.average(probabilities, axis=0, weights=weights)


def common_offset(probabilities: np.ndarray, weights: np.ndarray | None = None) -> int:
    """Return the delay in frames that a whole clip has most likely: positive where its sound is late."""
    return int(mean_distribution(probabilities, weights).argmax()) - probabilities.shape[1] // 2


def surprise(expected: np.ndarray, found: np.ndarray, kind: Divergence = "kl") -> np.ndarray:
    """Return per window how far what was found is from what was expected, both as probabilities."""
    cross = -(found * np.log(np.maximum(expected, EPSILON))).sum(1)
    if kind == "soft_ce":
        return cross
    if kind != "kl":
        raise DfdError(f"score={kind}: choose kl or soft_ce")
    return cross + (found * np.log(np.maximum(found, EPSILON))).sum(1)


def blended(delay: np.ndarray, feature: np.ndarray | None, weight: float) -> np.ndarray:
    """Return the surprise in delays plus `weight` times the squared error of features, per window."""
    return delay if feature is None or not weight else delay + weight * feature


def pooled(scores: np.ndarray, how: Pool = "mean", k: int = 3) -> float:
    """Return the score of a clip from those of its windows: their mean, the largest, or the mean of the k largest."""
    scores = np.asarray(scores, float)
    if not len(scores):
        return float("nan")
    if how == "max":
        return float(scores.max())
    if how == "top_k":
        return float(np.sort(scores)[-k:].mean())
    if how != "mean":
        raise DfdError(f"pool={how}: choose mean, max or top_k")
    return float(scores.mean())


@dataclass(frozen=True)
class LengthCalibration:
    """Takes out what a score owes to the length of a clip: it is compared with real clips of about that length.

    `edges` bound the buckets of length in windows; each has the median of the scores of its real clips, and their
    spread (from median to the 84th percentile).
    """

    edges: tuple[float, ...]
    median: tuple[float, ...]
    spread: tuple[float, ...]

    @classmethod
    def fit(cls, scores: np.ndarray, lengths: np.ndarray, buckets: int = 4, fewest: int = 8) -> "LengthCalibration":
        """Learn from real clips; buckets are as even as lengths allow, and none has fewer than `fewest` clips."""
        scores, lengths = np.asarray(scores, float), np.asarray(lengths, float)
        if len(scores) < 2:
            raise DfdError(f"{len(scores)} real clips: calibration by length needs at least 2")
        count = max(1, min(buckets, len(scores) // fewest))
        edges = np.unique(np.quantile(lengths, np.linspace(0, 1, count + 1)))[1:-1]
        place = np.searchsorted(edges, lengths, side="right")
        median, spread = [], []
        for bucket in range(len(edges) + 1):
            inside = scores[place == bucket]
            inside = inside if len(inside) else scores
            median.append(float(np.median(inside)))
            spread.append(max(1e-6, float(np.quantile(inside, 0.84) - np.median(inside))))
        return cls(tuple(edges.tolist()), tuple(median), tuple(spread))

    def __call__(self, scores: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return by how many spreads of real clips of their length scores lie above the median."""
        place = np.searchsorted(self.edges, np.asarray(lengths, float), side="right")
        return (np.asarray(scores, float) - np.take(self.median, place)) / np.take(self.spread, place)


def by_category(
    scores: np.ndarray, labels: np.ndarray, methods: Sequence[str], metric: Mapping[str, Metric]
) -> dict[str, dict[str, float]]:
    """Return metrics of each category of fakes against the plain real clips, and the means that papers quote.

    AVG-FV is the mean over categories with a fake picture, AVG-ALL over all of them. Real clips named innocent-* are
    not among the plain ones: their own rows say how often they are taken for fakes, so that 0.5 is what one wants.
    """
    names = np.asarray(methods, object).astype(str)
    odd = np.char.startswith(names, "innocent")
    plain = (labels == 0) & ~odd
    found: dict[str, dict[str, float]] = {}
    for name in sorted(set(names[(labels == 1) | odd])):
        chosen = plain | (names == name)
        truth = (names[chosen] == name).astype(int)
        found[name] = {key: function(truth, scores[chosen]) for key, function in metric.items()}
    if odd.any():
        truth = odd[plain | odd].astype(int)
        found["innocent"] = {key: function(truth, scores[plain | odd]) for key, function in metric.items()}
    fakes = [name for name in found if not name.startswith("innocent")]
    pictures = [name for name in fakes if name.startswith(("FVRA", "FVFA"))]
    for title, members in (("AVG-FV", pictures), ("AVG-ALL", fakes)):
        if members:
            found[title] = {key: float(np.mean([found[name][key] for name in members])) for key in metric}
    return found
