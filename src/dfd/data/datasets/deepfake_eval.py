"""Deepfake-Eval-2024 (Chandra et al., 2025): videos from social media, by its table of published labels.

`video-metadata-publish*.csv` has the columns Filename and `Video Ground Truth` (Real, Fake, or another word, which is
left out); the videos lie in `video-data/`. Columns and folder are those that public code reads. All of it is test.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, REAL, Record
from dfd.data.datasets.layout import complete, existing, note, some

TITLE = "Deepfake-Eval-2024"
GET_IT = "accept its conditions on the Hugging Face page nuriachandra/Deepfake-Eval-2024, then dfd-fetch deepfake_eval"
NAME, TRUTH = "Filename", "Video Ground Truth"
LABELS = {"real": REAL, "fake": FAKE}


def index(root: Path, allow_missing: bool = False) -> Iterator[Record]:
    """Yield the videos whose picture is labelled real or fake."""
    root = existing(Path(root), TITLE, f"{GET_IT}, then give its folder as data.root=")
    tables = sorted(root.glob("video-metadata-publish*.csv"))
    if not tables:
        raise DfdError(f"{TITLE} in {root} lacks video-metadata-publish.csv: {GET_IT}")
    with tables[0].open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if rows and not {NAME, TRUTH} <= set(rows[0]):
        raise DfdError(f"{tables[0]} does not fit: it must have the columns {NAME} and {TRUTH}")
    records, others = [], 0
    for row in rows:
        label = LABELS.get((row[TRUTH] or "").strip().lower())
        others += label is None
        if label is not None:
            stem, method = Path(row[NAME]).stem, "in the wild" if label else "real"
            path = str(root / "video-data" / row[NAME])
            records.append(Record(stem, "deepfake_eval", "test", label, path, stem, method))
    if others:
        note(f"{TITLE}: {others} videos whose picture is labelled neither real nor fake are left out")
    yield from some(list(complete(records, TITLE, root, allow_missing)), TITLE, root, GET_IT)
