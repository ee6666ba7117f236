"""From scores of frames or clips to one score per video (or per person in it)."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import expit, logit

from dfd.core.errors import DfdError

How = Literal["mean", "logit_mean", "median", "max", "top", "confident"]

TOP = 0.25  # share of a video's scores that `top` averages


class Sorted(NamedTuple):
    """Rows in the order of their video, falling scores within one; where each video starts, and how long it is."""

    score: np.ndarray
    start: np.ndarray
    size: np.ndarray

    @property
    def rank(self) -> np.ndarray:
        """Return each row's rank within its video: 0 is the highest score."""
        return np.arange(len(self.score)) - np.repeat(self.start, self.size)

    def mean(self, chosen: np.ndarray | None = None, score: np.ndarray | None = None) -> np.ndarray:
        """Return each video's mean over its chosen rows; NaN where none was."""
        chosen = np.ones(len(self.score), bool) if chosen is None else chosen
        score = self.score if score is None else score
        with np.errstate(invalid="ignore"):
            return np.add.reduceat(score * chosen, self.start) / np.add.reduceat(chosen, self.start, dtype=float)


def pool(video: np.ndarray, label: np.ndarray, score: np.ndarray, how: How = "mean") -> tuple[np.ndarray, np.ndarray]:
    """Return the label and the pooled score of every distinct video, in the order of `np.unique`."""
    _, first, inverse = np.unique(video, return_index=True, return_inverse=True)
    return np.asarray(label)[first], pool_scores(inverse, score, how)


def pool_scores(video: np.ndarray, score: np.ndarray, how: How = "mean") -> np.ndarray:
    """Return one score per video, whose rows are numbered 0, 1, ... by `video`.

    logit_mean averages log-odds; `top` the highest quarter; `confident` is the DFDC winner's rule: the mean of the
    sure fakes (> 0.8) if they are many, of the sure reals (< 0.2) if nearly all are, else of all.
    """
    if how not in POOLS:
        raise DfdError(f"pool={how!r} is unknown: allowed are {', '.join(POOLS)}")
    score, size = np.asarray(score, float), np.bincount(video)
    if how in ("logit_mean", "confident") and (score.min() < 0 or score.max() > 1):
        raise DfdError(f"pool={how} needs probabilities, scores reach from {score.min():.3g} to {score.max():.3g}")
    if how == "mean":
        pooled = np.bincount(video, score) / size
    else:
        order = np.lexsort((-score, video))
        pooled = POOLS[how](Sorted(score[order], np.append(0, np.cumsum(size)[:-1]), size))
    return np.where(size > 1, rounded(pooled), pooled)


def rounded(scores: np.ndarray) -> np.ndarray:
    """Return scores to 12 significant digits: what is a tie on paper must not be ranked by the error of a sum.

    (.1 + .2 + .3) / 3 is not the floating-point number .2.
    """
    with np.errstate(divide="ignore"):
        digits = np.where(scores == 0, 0, 11 - np.floor(np.log10(np.abs(scores))))
    scale = 10.0 ** np.clip(digits, -290, 290)
    return np.where(np.isfinite(scores), np.round(scores * scale) / scale, scores)


def _median(rows: Sorted) -> np.ndarray:
    low, high = rows.start + (rows.size - 1) // 2, rows.start + rows.size // 2
    return (rows.score[low] + rows.score[high]) / 2


def _top(rows: Sorted) -> np.ndarray:
    return rows.mean(rows.rank < np.repeat(np.maximum(1, np.ceil(TOP * rows.size)), rows.size))


def _confident(rows: Sorted) -> np.ndarray:
    fakes, reals = (np.add.reduceat(sure, rows.start) for sure in (rows.score > 0.8, rows.score < 0.2))
    many = (fakes > rows.size // 2.5) & (fakes > 11)
    value = np.where(reals > 0.9 * rows.size, rows.mean(rows.score < 0.2), rows.mean())
    return np.where(many, rows.mean(rows.score > 0.8), value)


POOLS: Mapping[str, Callable[[Sorted], np.ndarray]] = {
    "mean": lambda rows: rows.mean(),
    "logit_mean": lambda rows: expit(rows.mean(score=logit(np.clip(rows.score, 1e-7, 1 - 1e-7)))),
    "median": _median,
    "max": lambda rows: rows.score[rows.start],
    "top": _top,
    "confident": _confident,
}
