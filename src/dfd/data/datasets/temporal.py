"""Forgeries that show only in time: a test of whether a detector looks at more than single frames.

Rendered by us (there is no such download): `real/NNN.mp4`, `Jumping/NNN.mp4` and `splits.json`.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, REAL, Record


def index(root: Path) -> Iterator[Record]:
    """Yield every real video and what was made from it."""
    path = Path(root) / "splits.json"
    if not path.is_file():
        raise DfdError(f"no {path}: this dataset is rendered, leave data.root out")
    for split, names in json.loads(path.read_text(encoding="utf-8")).items():
        for name in names:
            for method in ("real", "Jumping"):
                video = Path(root) / method / f"{name}.mp4"
                if not video.is_file():
                    raise DfdError(f"{video} is missing: delete {root} and it is rendered again")
                label, original = (REAL, None) if method == "real" else (FAKE, f"real/{name}")
                yield Record(f"{method}/{name}", "temporal", split, label, str(video), name, method, original)
