"""DFDC preview (Dolhansky et al. 2019), from its `dataset.json`; there is no official validation split.

Validation is carved from the training people by a hash of their name. Fakes name the video they were made from.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, REAL, Record
from dfd.data.datasets.layout import carve, complete, existing, read_json

TITLE = "DFDC preview"
GET_IT = "get it from the DFDC page of Meta AI and unpack it as it comes"


def index(root: Path, val_fraction: float = 0.1, allow_missing: bool = False) -> Iterator[Record]:
    """Yield what `dataset.json` lists; about `val_fraction` of the training people are validation."""
    root = existing(Path(root), TITLE, f"{GET_IT}, then give its folder as data.root=")
    listed: dict[str, dict[str, Any]] = read_json(root / "dataset.json", "dataset.json of the DFDC preview", GET_IT)
    for name, told in listed.items():
        if told.get("label") not in ("real", "fake") or told.get("set") not in ("train", "test"):
            raise DfdError(f"{root / 'dataset.json'}: {name} has no label real or fake and set train or test")
    people = {_person(name, told) for name, told in listed.items() if told["set"] == "train"}
    val = carve(people, val_fraction)
    originals = {PurePosixPath(name).stem: name for name, told in listed.items() if told["label"] == "real"}
    records = []
    for name, told in sorted(listed.items()):
        person, label = _person(name, told), FAKE if told["label"] == "fake" else REAL
        split = "test" if told["set"] == "test" else "val" if person in val else "train"
        method = PurePosixPath(name).parts[0] if label else "real"
        source = originals.get(PurePosixPath(str(told.get("source_video", ""))).stem) if label else None
        original = str(PurePosixPath(source).with_suffix("")) if source else None
        identity = str(PurePosixPath(name).with_suffix(""))
        donor = str(told["swapped_id"]) if label == FAKE and told.get("swapped_id") else None
        record = Record(identity, "dfdc_preview", split, label, str(root / name), person, method, original, donor=donor)
        records.append(record)
    yield from complete(records, TITLE, root, allow_missing)


def _person(name: str, told: dict[str, Any]) -> str:
    return str(told.get("target_id") or PurePosixPath(name).parts[1])
