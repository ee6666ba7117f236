"""DF40 (Yan et al., NeurIPS 2024): its prepared faces, by the JSON files that it publishes, one a method and domain.

`data.root=` holds the unpacked archives of faces (and those of the reals of FaceForensics++ and Celeb-DF, which come
apart); `dataset_json/<method>.json` lists them, e.g. `simswap_ff` or `simswap_cdf`. They are DeepfakeBench's files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dfd.core.errors import DfdError, did_you_mean
from dfd.core.records import REAL, Record
from dfd.data.datasets.layout import existing
from dfd.data.datasets.prepared import deepfakebench

TITLE = "DF40"
GET_IT = "its GitHub page YZY-stack/DF40 links to faces, reals and JSON files (dfd-fetch df40)"
DOMAINS = ("_ff", "_cdf")


def index(
    root: Path, methods: Sequence[str], jsons: str | None = None, compression: str = "c23", allow_missing: bool = False
) -> Iterator[Record]:
    """Yield the faces of the chosen methods; reals that several methods share are read once."""
    root = existing(Path(root), TITLE, f"{GET_IT}, then give its folder as data.root=")
    folder = existing(Path(jsons) if jsons else root / "dataset_json", f"JSON folder of {TITLE}", GET_IT)
    have = sorted(path.stem for path in folder.glob("*.json"))
    seen: set[str] = set()
    for method in methods:
        if method not in have:
            raise DfdError(f"data.index.methods: no {method} in {folder}{did_you_mean(method, have)}")
        domain = next((end for end in DOMAINS if method.endswith(end)), "")
        for record in deepfakebench(root, str(folder / f"{method}.json"), compression, allow_missing=allow_missing):
            real = record.label == REAL
            identity = record.id if real else f"{method}/{record.id}"
            if identity not in seen:
                seen.add(identity)
                yield replace(
                    record,
                    id=identity,
                    dataset="df40",
                    method="real" if real else method.removesuffix(domain),
                    attributes={"domain": domain.lstrip("_") or "other"},
                )
