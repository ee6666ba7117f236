"""IDForge v1 (Xu et al., ACM MM 2024), from its folders and `train.csv val.csv test.csv`.

`<task>/<identity>/<session>/<file>`, the real videos in `pristine`; each list holds such a path a line. Layout and
lists are from a public description of the release. Lists share people, as its task is to know a person's habits. Three
tasks change the voice alone: their pictures are real, so they are left out unless `voices=true`.
"""

from collections.abc import Iterator
from pathlib import Path

from dfd.core.records import FAKE, REAL, SPLITS, Record
from dfd.data.datasets.layout import complete, existing, some

TITLE = "IDForge"
GET_IT = "its GitHub page xyyandxyy/IDForge links to the real videos and to the form for the forged ones"
REALS, VOICES = "pristine", ("rvc_textmismatch", "tts_textgen", "tts_textmismatch")


def index(root: Path, voices: bool = False, allow_missing: bool = False) -> Iterator[Record]:
    """Yield the listed videos in their official split; with `voices`, those of which only the voice is forged too."""
    root = existing(Path(root), TITLE, f"{GET_IT}, then give its folder as data.root=")
    records: dict[str, Record] = {}
    for split in SPLITS:
        path = existing(root / f"{split}.csv", f"list of {TITLE}", GET_IT)
        for line in filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines())):
            parts = line.strip("/").split("/")
            if len(parts) < 4 or (parts[-4] in VOICES and not voices) or line in records:
                continue
            task, person = parts[-4], parts[-3]
            fake = task != REALS
            identity = "/".join(parts[-4:])
            records[line] = Record(
                identity,
                "idforge",
                split,
                FAKE if fake else REAL,
                str(root / identity),
                person,
                task if fake else "real",
            )
    yield from some(list(complete(list(records.values()), TITLE, root, allow_missing)), TITLE, root, GET_IT)
