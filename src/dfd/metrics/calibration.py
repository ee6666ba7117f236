"""Calibration of probabilities, and the band of scores without a verdict; fitted on validation scores only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.special import expit, log1p

from dfd.core.errors import DfdError
from dfd.metrics.probabilities import are_probabilities

Method = Literal["none", "temperature", "platt", "beta", "isotonic"]
METHODS: tuple[str, ...] = get_args(Method)
TINY = 1e-7


@dataclass(frozen=True)
class Calibration:
    """A map from scores to probabilities: `parameters` of a logistic model, or `x` and `y` of a step-wise line."""

    method: str
    parameters: Mapping[str, list[float]]

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities."""
        scores = np.asarray(scores, float)
        if self.method == "none":
            return scores
        if self.method == "isotonic":
            return np.interp(scores, self.parameters["x"], self.parameters["y"])
        return expit(_features(self.method, scores, bool(self.parameters["logit"][0])) @ self.parameters["w"])


def fit(method: str, labels: np.ndarray, scores: np.ndarray) -> Calibration:
    """Fit a calibration to labels and scores.

    temperature scales log-odds; platt also shifts them (any score will do); beta is Kull et al. 2017; isotonic is the
    best rising step function, kept off 0 and 1. Targets are smoothed as Platt did (1999) so that perfect separation
    stays finite; temperature, which smoothing would soften, only where the classes are separated.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, float)
    if method not in METHODS:
        raise DfdError(f"calibration={method!r} is unknown: allowed are {', '.join(METHODS)}")
    if len(set(labels.tolist())) < 2:
        raise DfdError("a calibration needs reals and fakes, the validation split holds one class only")
    if method == "none":
        return Calibration(method, {})
    if method == "isotonic":
        return Calibration(method, _isotonic(labels, scores))
    probable = are_probabilities(scores)
    if method != "platt" and not probable:
        raise DfdError(f"calibration={method} needs probabilities, these scores leave [0, 1]: use platt or isotonic")
    features = _features(method, scores, probable)
    # the search converges on columns of one scale only; without a constant they may be scaled, not shifted
    centre, scale = features.mean(0) * (method != "temperature"), features.std(0)
    varies = scale > 1e-12 * np.abs(features).max(0)
    centre, scale = np.where(varies, centre, 0.0), np.where(varies, scale, 1.0)
    standard = (features - centre) / scale
    fakes, reals = int(labels.sum()), int((1 - labels).sum())
    target = labels.astype(float)
    if method != "temperature" or _separated(labels, scores):
        target = np.where(labels == 1, (fakes + 1) / (fakes + 2), 1 / (reals + 2))

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        z = standard @ weights
        return float((np.logaddexp(0, z) - target * z).mean()), standard.T @ (expit(z) - target) / len(z)

    slopes = features.shape[1] - (method != "temperature")
    bounds = [(0.0, None)] * slopes + [(None, None)] * (features.shape[1] - slopes)
    start = np.append(np.ones(slopes), np.zeros(features.shape[1] - slopes))
    from scipy.optimize import minimize  # slow to import, and only fitting needs it

    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    weights = found.x / scale
    weights[-1] -= (weights * centre).sum()  # of the constant, where there is one: else nothing was shifted
    return Calibration(method, {"w": weights.tolist(), "logit": [float(probable)]})


def conformal_band(
    labels: np.ndarray, scores: np.ndarray, groups: np.ndarray | None = None, error: float = 0.1
) -> tuple[float, float] | None:
    """Return the band of scores within which no verdict is given: below it real, above it fake.

    On average over validation sets drawn alike, at most the share `error` of new reals is called fake, and of new fakes
    real (split conformal per class, Vovk 2012). Videos of one group depend on each other, so every group weighs alike,
    however many videos it has, and one group's weight is put beyond the end for the new one. None if a class has fewer
    groups than that needs (nine for 10 %). Where the classes are apart, a score on the edge is a verdict: the band ends
    just inside.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, float)
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    real, fake = labels == 0, labels == 1
    upper = _weighted_quantile(scores[real], groups[real], error)
    lower = _weighted_quantile(-scores[fake], groups[fake], error)
    if upper is None or lower is None:
        return None
    if upper < -lower:
        return float(np.nextafter(upper, np.inf)), float(np.nextafter(-lower, -np.inf))
    return float(-lower), float(upper)


def _separated(labels: np.ndarray, scores: np.ndarray) -> bool:
    """Whether 1/2 separates the classes: the best temperature would then be zero."""
    return bool(scores[labels == 1].min() >= 0.5 >= scores[labels == 0].max())


def _weighted_quantile(scores: np.ndarray, groups: np.ndarray, error: float) -> float | None:
    """Return the score that the weight 1 - error lies at or below; none where only the added weight gets that far."""
    names, member, size = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(1 / ((len(names) + 1) * size[member[order]]))
    at = int(np.searchsorted(reached, 1 - error - 1e-9))
    return float(scores[order[at]]) if at < len(scores) else None


def _features(method: str, scores: np.ndarray, probable: bool) -> np.ndarray:
    one = np.ones(len(scores))
    if not probable:
        return np.stack([scores, one], 1)
    p = np.clip(scores, TINY, 1 - TINY)
    odds = np.log(p) - log1p(-p)
    columns = {"temperature": [odds], "platt": [odds, one], "beta": [np.log(p), -log1p(-p), one]}
    return np.stack(columns[method], 1)


def _isotonic(labels: np.ndarray, scores: np.ndarray) -> dict[str, list[float]]:
    from sklearn.isotonic import IsotonicRegression

    edge = 1 / (len(labels) + 2)  # the most that so many videos can show: a certain 0 or 1 costs an infinite log loss
    model = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip").fit(scores, labels)
    return {"x": model.X_thresholds_.tolist(), "y": model.y_thresholds_.tolist()}
