"""From scores of frames or clips to one score per video."""

import numpy as np


def pool(video: np.ndarray, label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the label and the mean score of every distinct video, in the order of `np.unique`."""
    _, first, inverse = np.unique(video, return_index=True, return_inverse=True)
    return np.asarray(label)[first], np.bincount(inverse, np.asarray(score, float)) / np.bincount(inverse)
