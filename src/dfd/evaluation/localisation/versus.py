"""Paired tests of localisers on the same files: whole groups are left out of both at once."""

import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd

from dfd.evaluation.localisation.evaluate import MOST
from dfd.evaluation.localisation.truth import Truth, spans_of
from dfd.metrics.intervals import SMALL, bundled, limits, spread
from dfd.metrics.segments import overlaps, scorer
from dfd.metrics.significance import holm

COMPARED = ("ap@0.5", "ap@0.75", "ar@10")


def compare_proposals(tables: Mapping[str, pd.DataFrame], truth: Truth, confidence: float = 0.95) -> list[str]:
    """Return a sentence per pair and number: the difference, its interval, and p after Holm's correction for all."""
    groups = np.unique(truth.files["group"].to_numpy(str), return_inverse=True)[1]
    size = int(groups.max()) + 1 if len(groups) else 0
    bundles = bundled(groups, size, MOST)
    weights = [None, *((bundles != bundle).astype(float) for bundle in np.unique(bundles))]
    values = {}
    for name, table in tables.items():
        found = overlaps(spans_of(table, truth), truth.spans(), len(truth.files))
        numbers = scorer(found, "lavdf_closed", (0.5, 0.75), (10,))
        values[name] = {key: np.array([row[key] for row in map(numbers, weights)]) for key in COMPARED}
    rows = []
    for one, two in itertools.combinations(tables, 2):
        for key in COMPARED:
            differences = values[one][key] - values[two][key]
            about = spread(differences[1:])
            low, high = limits(float(differences[0]), about, "plain", confidence)
            p = about.p(float(differences[0])) if about.error > SMALL else float("nan")
            rows.append((one, two, key, float(differences[0]), low, high, p))
    adjusted = holm(np.array([row[-1] for row in rows]))
    return [
        f"{key.upper()}: {one} minus {two} {value:+.3f} [{low:+.3f}, {high:+.3f}], p {corrected:.3g} "
        f"({len(rows)} comparisons, Holm)"
        for (one, two, key, value, low, high, _), corrected in zip(rows, adjusted)
    ]
