"""Prediction tables of known content."""

import numpy as np
import pandas as pd

from dfd.core.predictions import COLUMNS


def table(groups=12, frames=4, seed=0, dataset="toy", noise=0.1):
    """One real and two fakes per group; the fakes of method B are harder. All share their file's name."""
    random = np.random.default_rng(seed)
    rows = []
    for group in range(groups):
        for method, label, shift in (("real", 0, 0.0), ("A", 1, 0.5), ("B", 1, 0.15)):
            centre = 0.3 + shift + random.normal(0, noise)
            for t in range(frames):
                score = float(np.clip(centre + random.normal(0, noise), 0, 1))
                rows.append((f"{method}/{group:03d}", dataset, method, f"g{group}", label, t / 25, score))
    return pd.DataFrame(rows, columns=list(COLUMNS))
