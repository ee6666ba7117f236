"""How right decisions at a threshold are, and how honest probabilities: NaN where that has no meaning."""

import numpy as np


def accuracy(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None, threshold: float = 0.5
) -> float:
    """Return the share of right decisions when everything at or above the threshold is called fake."""
    right = (np.asarray(scores) >= threshold) == (np.asarray(labels) == 1)
    return float(np.average(right, weights=weights))


def log_loss(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None, clip: float = 1e-7) -> float:
    """Return the mean negative log-likelihood of scores that are probabilities; NaN if any is none."""
    scores = np.asarray(scores, float)
    if scores.min() < 0 or scores.max() > 1:
        return float("nan")
    probability = np.clip(np.where(np.asarray(labels) == 1, scores, 1 - scores), clip, 1)
    return float(np.average(-np.log(probability), weights=weights))
