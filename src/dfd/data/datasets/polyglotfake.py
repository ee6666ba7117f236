"""PolyGlotFake (Hou et al., 2024): `real/<language>/<language>_<n>.mp4` and dubs of them into six other languages.

A dub is `<language>_<n>_to_<language>_<voice>.mp4`, anywhere below `fake`. Names are from a public description of the
release. There is no official split: source clips, with all their dubs, are split by a hash. People are not named.
"""

from collections.abc import Iterator
from pathlib import Path

from dfd.core.records import FAKE, REAL, Record
from dfd.data.datasets.layout import existing, some, split_groups, videos

TITLE = "PolyGlotFake"
GET_IT = "its GitHub page tobuta/PolyGlotFake links to the form and the archive"


def index(root: Path, val_fraction: float = 0.14, test_fraction: float = 0.14) -> Iterator[Record]:
    """Yield every video; a real clip and its dubs are one group."""
    root = existing(Path(root), TITLE, f"{GET_IT}, then give its folder as data.root=")
    reals = videos(root / "real")
    ids = {path.stem: path.relative_to(root).with_suffix("").as_posix() for path in reals}
    fakes = [(path, *path.stem.partition("_to_")[::2]) for path in videos(root / "fake")]
    splits = split_groups([*ids, *(source for _, source, _ in fakes)], val_fraction, test_fraction)
    records = [
        Record(ids[p.stem], "polyglotfake", splits[p.stem], REAL, str(p), p.stem,
               attributes={"language": p.stem.split("_")[0]})
        for p in reals
    ]  # fmt: skip
    for path, source, dub in fakes:
        language, _, voice = dub.partition("_")
        identity = path.relative_to(root).with_suffix("").as_posix()
        attributes = {"language": language or "unknown"}
        records.append(Record(identity, "polyglotfake", splits[source], FAKE, str(path), source, voice or "dub",
                              ids.get(source), attributes=attributes))  # fmt: skip
    yield from some(records, TITLE, root, GET_IT)
