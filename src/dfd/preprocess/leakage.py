"""Does the test set stand in the training set? Near-duplicate faces and shared sources, across splits and datasets.

A face is known by a perceptual hash: the signs of the 64 lowest frequencies of its grey 32 x 32 picture. Re-encoding
and rescaling change few of them, another picture about half. A fake is meant to look like its original, so two videos
of one group are never reported.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from dfd.core.manifest import Manifest, leaking_groups
from dfd.core.records import Record
from dfd.data.readers import open_crops
from dfd.preprocess.pipeline import MANIFEST, write_table
from dfd.preprocess.stages import Summary

CLOSE = 6  # bits of 64: closer than any two different people of the sample
BLOCK = 1024


def perceptual_hash(image: np.ndarray) -> np.uint64:
    """Return 64 bits of an RGB picture that survive rescaling and compression."""
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
    waves = cv2.dct(grey.astype(np.float32))[:8, :8].ravel()
    bits = waves > np.median(waves[1:])
    return np.packbits(bits).view(">u8")[0].astype(np.uint64)


def hashes(manifest: Manifest) -> np.ndarray:
    """Return the hash of the middle face of every record (N,)."""
    return np.array([_hash(record, manifest.folder) for record in manifest.records], np.uint64)


def near_duplicates(
    one: Sequence[Record], these: np.ndarray, other: Sequence[Record], those: np.ndarray, close: int = CLOSE
) -> pd.DataFrame:
    """Return pairs of videos of different groups whose faces are nearly the same picture, the closest first."""
    rows = []
    for i, j, bits in close_pairs(these, those, close):
        a, b = one[i], other[j]
        if (a.dataset, a.group) != (b.dataset, b.group):
            rows.append((f"{a.dataset}/{a.id}", a.split, f"{b.dataset}/{b.id}", b.split, bits))
    columns = ["video", "split", "other_video", "other_split", "bits"]
    return pd.DataFrame(rows, columns=columns).sort_values(columns[::-1], ignore_index=True)


def close_pairs(these: np.ndarray, those: np.ndarray, close: int) -> Iterator[tuple[int, int, int]]:
    """Yield (i, j, differing bits) of every pair within `close` bits, without holding all pairs at once."""
    for start in range(0, len(these), BLOCK):
        bits = np.bitwise_count(these[start : start + BLOCK, None] ^ those[None])
        for i, j in zip(*np.nonzero(bits <= close), strict=True):
            yield start + int(i), int(j), int(bits[i, j])


def leaks(manifest: Manifest, against: Mapping[str, Manifest] | None = None) -> tuple[pd.DataFrame, list[str]]:
    """Look for training faces in the test split, in the validation split, and in other datasets; say what was found."""
    found = hashes(manifest)
    held_out = np.array([record.split != "train" for record in manifest.records])
    train, rest = (np.flatnonzero(mask) for mask in (~held_out, held_out))
    pick = [[manifest.records[i] for i in rows] for rows in (train, rest)]
    tables = [near_duplicates(pick[0], found[train], pick[1], found[rest])]
    for other in (against or {}).values():
        tables.append(near_duplicates(manifest.records, found, other.records, hashes(other)))
    said = [f"{len(leaking_groups(manifest.records))} groups (people or source videos) stand in more than one split"]
    said.append(f"{len(tables[0])} near-duplicate faces between train and val or test, of different groups")
    for (name, other), table in zip((against or {}).items(), tables[1:], strict=True):
        said.append(f"{len(table)} near-duplicate faces with {name}; {_shared(manifest, other)} videos of one source")
    return pd.concat(tables, ignore_index=True), said


def _shared(one: Manifest, other: Manifest) -> int:
    """Count the records of one dataset whose source video another has under the same name (corpora reuse FF++)."""
    sources = {record.group.split("/")[-1] for record in other.records} - {""}
    ids = {part for source in sources for part in (source, *source.split("_"))}
    return sum(any(part in ids for part in (r.group, *r.group.split("_"))) for r in one.records)


def _hash(record: Record, folder: Path) -> np.uint64:
    with open_crops(folder, record.assets) as crops:
        rows = np.flatnonzero(crops.table["valid"] & (crops.table["track"] == 0))
        rows = rows if len(rows) else np.flatnonzero(crops.table["valid"])
        return perceptual_hash(crops.read([int(rows[len(rows) // 2])])[0])


def write_leaks(summary: Summary) -> list[str]:
    """Write `leakage.parquet` beside the manifest; the option `against` names folders of other prepared datasets."""
    others = {folder: Manifest.read(Path(folder) / MANIFEST) for folder in summary.options.get("against", ())}
    table, found = leaks(summary.manifest, others)
    write_table(table.to_dict("records"), summary.manifest.folder / "leakage.parquet", list(table.columns))
    return [f"leakage: {line}" for line in found]
