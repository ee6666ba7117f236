"""KoDF (Kwon et al., ICCV 2021), from its file names alone: how folders nest depends on which parts were fetched.

A real is `<actor>_<number>`, a fake `<target>_<source>_<code>_<number>`. Written from descriptions of the release, not
from a copy. There is no official split: actors are split by a hash of their names.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from dfd.core.records import FAKE, REAL, Record
from dfd.data.datasets.layout import existing, note, some, split_groups, videos

TITLE = "KoDF"
GET_IT = "request it through the form on the GitHub page deepbrainai-research/kodf (in Korea: aihub.or.kr)"
METHODS = {"1": "DeepFaceLab", "2": "FaceSwap", "3": "FSGAN", "4": "FOMM", "5": "audio-driven"}
SHAPE = re.compile(r"(?P<target>[^_]+)_(?:(?P<source>[^_]+)_(?P<code>\d+)_)?[^_]+")


def index(root: Path, val_fraction: float = 0.14, test_fraction: float = 0.14) -> Iterator[Record]:
    """Yield every video whose name says what it is; others are counted in a note."""
    root = existing(Path(root), TITLE, f"{GET_IT}, then give its folder as data.root=")
    named = [(path, SHAPE.fullmatch(path.stem)) for path in videos(root)]
    known = [(path, match) for path, match in named if match]
    if len(known) < len(named):
        other = next(path for path, match in named if not match)
        note(f"{TITLE}: {len(named) - len(known)} videos are not named as KoDF names them, e.g. {other.name}: left out")
    splits = split_groups((match["target"] for _, match in known), val_fraction, test_fraction)
    records = []
    for path, match in known:
        code, target = match["code"], match["target"]
        records.append(
            Record(
                path.relative_to(root).with_suffix("").as_posix(),
                "kodf",
                splits[target],
                FAKE if code else REAL,
                str(path),
                target,
                METHODS.get(code, f"method {code}") if code else "real",
                donor=match["source"],
            )
        )
    yield from some(records, TITLE, root, GET_IT)
