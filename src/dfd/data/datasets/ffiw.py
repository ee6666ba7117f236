"""FFIW-10K (Zhou et al., CVPR 2021): `source/` is real, `target/` is fake, each with `train/ val/ test/`.

Its videos show several people, of whom one or more are swapped (data.crops.max_tracks). The layout is the one that
SBI and others read, not one seen by us; a folder `videos` below the splits is taken too. People are not named: a
group is a file name, which a source and its target share.
"""

from collections.abc import Iterator
from pathlib import Path

from dfd.core.records import FAKE, REAL, SPLITS, Record
from dfd.data.datasets.layout import existing, some, videos

TITLE = "FFIW-10K"
GET_IT = "request it through the form on the GitHub page tfzhou/FFIW and unpack it as it comes"


def index(root: Path) -> Iterator[Record]:
    """Yield every video in its official split."""
    root = existing(Path(root), TITLE, f"{GET_IT}, then give its folder as data.root=")
    records = [
        Record(
            f"{folder}/{split}/{path.stem}",
            "ffiw",
            split,
            label,
            str(path),
            f"{split}/{path.stem}",
            "swap" if label else "real",
        )
        for folder, label in (("source", REAL), ("target", FAKE))
        for split in SPLITS
        for path in videos(root / folder / split)
    ]
    yield from some(records, TITLE, root, GET_IT)
