"""Calibration of probabilities: log loss, Brier score and expected calibration error (ECE) from losses per row."""

import numpy as np

CLIP = 1e-7


def are_probabilities(scores: np.ndarray) -> bool:
    """Whether every score lies in [0, 1]."""
    scores = np.asarray(scores, float)
    return bool(len(scores) and scores.min() >= 0 and scores.max() <= 1)


def log_losses(labels: np.ndarray, scores: np.ndarray, clip: float = CLIP) -> np.ndarray:
    """Return each row's negative log-likelihood, of probabilities clipped to [clip, 1 - clip]."""
    probability = np.clip(np.asarray(scores, float), clip, 1 - clip)
    return -np.log(np.where(np.asarray(labels) == 1, probability, 1 - probability))


def brier_losses(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return each row's squared error."""
    return (np.asarray(scores, float) - np.asarray(labels)) ** 2


def equal_mass_bins(scores: np.ndarray, bins: int = 15) -> np.ndarray:
    """Return each row's bin, of about as many rows each; equal scores share one."""
    scores = np.asarray(scores, float)
    edges = np.quantile(scores, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(np.unique(edges), scores, side="right")


def excesses(labels: np.ndarray, scores: np.ndarray, bins: int = 15) -> np.ndarray:
    """Return how far each row's probability exceeds its label, (N, bins), in the column of its bin."""
    table = np.zeros((len(scores), bins))
    table[np.arange(len(scores)), equal_mass_bins(scores, bins)] = np.asarray(scores, float) - labels
    return table


def calibrated_ece(scores: np.ndarray, bins: int = 15) -> float:
    """Return the ECE that a perfectly calibrated detector with these probabilities would show on average.

    Few rows per bin never average out: with 40 videos it is .19. Bins of many rows by the normal distribution, small
    ones by drawing labels from the probabilities.
    """
    scores = np.asarray(scores, float)
    bin = equal_mass_bins(scores, bins)
    if len(scores) >= 50 * bins:
        return float(np.sqrt(2 / np.pi * np.bincount(bin, scores * (1 - scores))).sum() / len(scores))
    labels = np.random.default_rng(0).random((400, len(scores))) < scores
    excess = (scores - labels) @ np.eye(bins)[bin]
    return float(np.abs(excess).sum(1).mean() / len(scores))


def log_loss(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None, clip: float = CLIP) -> float:
    """Return the mean negative log-likelihood of scores that are probabilities; NaN if any is not."""
    if not are_probabilities(scores):
        return float("nan")
    return float(np.average(log_losses(labels, scores, clip), weights=weights))


def reliability(labels: np.ndarray, scores: np.ndarray, bins: int = 15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, per equal-mass bin, the mean probability, the share of fakes, and the number of rows."""
    _, bin = np.unique(equal_mass_bins(scores, bins), return_inverse=True)
    size = np.bincount(bin)
    return np.bincount(bin, scores) / size, np.bincount(bin, labels) / size, size
