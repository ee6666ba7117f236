"""The handwritten digits that come with scikit-learn (Alpaydin and Kaynak 1998): a benchmark without a download.

Some digits are known, the others are unknown (out of distribution), and so are known ones that were changed.
"""

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from dfd.core.errors import DfdError
from dfd.core.records import REAL, Record
from dfd.data.outliers import changed


def fetch(root: Path) -> None:
    """Write the digits as pictures, `<root>/<digit>/<number>.png`, once."""
    from sklearn.datasets import load_digits

    data = load_digits()
    for number, (image, digit) in enumerate(zip(data.images, data.target, strict=True)):
        path = root / str(digit) / f"{number:04d}.png"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.rint(image * (255 / 16)).astype(np.uint8))


def index(
    root: Path,
    known: Sequence[int] = (0, 1, 2, 3, 4, 5, 6),
    corrupted: Sequence[str] = ("strong_noise", "rotated_noise"),
    part: Literal["id", "ood", "all"] = "id",
) -> Iterator[Record]:
    """Yield known digits (half train, a tenth val, the rest test) or unknown ones: other digits and corrupted ones."""
    if not set(known) <= set(range(10)) or len(set(known)) < 2:
        raise DfdError(f"data.index.known={list(known)}: name at least two digits of 0 to 9")
    paths = sorted(Path(root).glob("[0-9]/*.png"))
    if not paths:
        raise DfdError(f"no digits in {root}: delete the folder and they are written again")
    records = [_record(path) for path in paths]
    inside = [record for record in records if int(record.method) in known]
    if part != "ood":
        yield from (inside if part == "id" else records)
        return
    yield from (record for record in records if int(record.method) not in known and record.split == "test")
    tested = [record for record in inside if record.split == "test"]
    for number, kind in enumerate(corrupted):
        yield from changed(tested[number :: len(corrupted)], kind)


def _record(path: Path) -> Record:
    share = zlib.crc32(path.stem.encode()) / 2**32
    split = "train" if share < 0.5 else "val" if share < 0.6 else "test"
    id = f"{path.parent.name}/{path.stem}"
    return Record(id, "digits", split, REAL, str(path), id, path.parent.name)
