"""Forgeries that show only in time: a test of whether a detector looks at more than single frames.

Rendered by us (there is no such download): `real/NNN.mp4`, a folder per kind of forgery, and `splits.json`.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, REAL, Record


def index(root: Path, methods: Sequence[str] = ("Backwards", "Jumping")) -> Iterator[Record]:
    """Yield every real video and what was made from it."""
    path = Path(root) / "splits.json"
    if not path.is_file():
        raise DfdError(f"no {path}: this dataset is rendered, leave data.root out")
    for split, names in json.loads(path.read_text()).items():
        for name in names:
            for method in ("real", *methods):
                video = Path(root) / method / f"{name}.mp4"
                if not video.is_file():
                    raise DfdError(f"{video} is missing: delete {root} and it is rendered anew")
                label = REAL if method == "real" else FAKE
                # faces are found anew in each: played backwards, the head is elsewhere
                yield Record(f"{method}/{name}", "temporal", split, label, str(video), name, method)
