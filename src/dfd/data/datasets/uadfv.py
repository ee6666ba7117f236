"""UADFV (Yang, Li and Lyu, ICASSP 2019): `real/0000.mp4` and `fake/0000_fake.mp4`, 49 each; all test."""

from collections.abc import Iterator
from pathlib import Path

from dfd.core.records import FAKE, REAL, Record
from dfd.data.datasets.layout import existing, some, videos

TITLE = "UADFV"
GET_IT = "ask its authors (Li and Lyu, University at Buffalo) for it; it unpacks to real/ and fake/"


def index(root: Path) -> Iterator[Record]:
    """Yield every video; a pair of real and fake is one group."""
    root = existing(Path(root), TITLE, f"{GET_IT}, then give its folder as data.root=")
    reals = {path.stem: path for path in videos(root / "real")}
    records = [Record(f"real/{n}", "uadfv", "test", REAL, str(path), n) for n, path in reals.items()]
    for path in videos(root / "fake"):
        source = path.stem.removesuffix("_fake")
        original = f"real/{source}" if source in reals else None
        records.append(Record(f"fake/{path.stem}", "uadfv", "test", FAKE, str(path), source, "FakeApp", original))
    yield from some(records, TITLE, root, GET_IT)
