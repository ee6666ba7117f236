"""Training sets whose fakes are, or are not, made from the real videos that are in them, at equal size.

Yermakov et al. (GenD, WACV 2026): detectors that are trained on fakes together with their own source videos find more
of what they have not seen. Pairing is a property of the training set, not of a batch.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from dfd.core.errors import DfdError
from dfd.core.records import REAL, Record

Pairing = Literal["all", "paired", "unpaired"]


def paired(records: Sequence[Record], pairing: Pairing, seed: int) -> tuple[Record, ...]:
    """Return half of the real records, and the fakes made from them (paired) or from the other half (unpaired).

    Both halves are drawn by the seed, and as many fakes of every method are kept either way. Only reals that fakes were
    made from are kept.
    """
    if pairing == "all":
        return tuple(records)
    reals = {record.id for record in records if record.label == REAL}
    fakes = [record for record in records if record.label != REAL and record.original in reals]
    sources = sorted({str(record.original) for record in fakes})
    if len(sources) < 2:
        raise DfdError(
            f"data.loader.pairing={pairing}: {len(sources)} of {len(reals)} real training videos are named as the "
            "original of a fake; this dataset does not say what its fakes were made from: pairing=all"
        )
    order = np.random.default_rng(seed).permutation(len(sources))
    half = len(sources) // 2
    kept = {sources[place] for place in order[:half]}
    others = {sources[place] for place in order[half : 2 * half]}
    sides = [[fake for fake in fakes if fake.original in side] for side in (kept, others)]
    counts = {
        method: min(sum(fake.method == method for fake in side) for side in sides)
        for method in sorted({fake.method for fake in fakes})
    }
    chosen = set()
    for fake in sides[pairing == "unpaired"]:
        if counts[fake.method]:
            counts[fake.method] -= 1
            chosen.add(fake.id)
    return tuple(record for record in records if record.id in kept or record.id in chosen)
