"""Psynd (Zhang & Sim, 2022): speech with synthetic stretches spliced in, sound only, from UMMAFormer's metadata file.

Its test set comes clean and through channels (`test_cellular`, `test_landline`, ...): one of them is tested at a time.
"""

from collections.abc import Iterator
from pathlib import Path

from dfd.core.errors import DfdError
from dfd.core.records import Record
from dfd.data.datasets.layout import existing, read_json
from dfd.data.datasets.stretches import find_below
from dfd.data.datasets.tvil import from_rows

TITLE = "Psynd"
GET_IT = "the sound is at scholarbank.nus.edu.sg/handle/10635/227398, the metadata on the page ymhzyj/UMMAFormer"
FILES = ("metadatabyola.json", "metadata.json")


def index(root: Path, test: str = "test", videos: bool = True, allow_missing: bool = False) -> Iterator[Record]:
    """Yield a record per recording; `test` names one of the test sets, with `videos: false` only features are there."""
    root = existing(Path(root), TITLE, f"{GET_IT}; give its folder as data.root=")
    metadata = find_below(root, FILES)
    if metadata is None:
        raise DfdError(f"{TITLE} in {root} has neither {' nor '.join(FILES)}: {GET_IT}")
    rows = read_json(metadata, "metadata of Psynd", GET_IT)
    tests = sorted({row["split"] for row in rows.values() if row["split"].startswith("test")})
    if test not in tests:
        raise DfdError(f"{TITLE} has no test set {test!r}, it has {', '.join(tests)}: data.index.test= names one")
    splits = {"train": "train", "dev": "val", "valid": "val", test: "test"}
    yield from from_rows(rows, root, "psynd", TITLE, splits, "audio", videos, allow_missing)
