"""Celeb-DF++ (v3; Li et al., 2025), from its official folders and test list.

Reals are those of Celeb-DF v2. Fakes lie in `Celeb-synthesis/<family>/<method>/`, families being FaceSwap, FaceReenact
and TalkingFace. A swap or reenactment `id0_id16_0000` shows the video `id0_0000` with another's face or motion; a
talking face `id29_0002_test_...` is driven by sound. The list's labels are inverted as in Celeb-DF: 1 is real.
"""

from collections.abc import Iterator
from pathlib import Path

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, REAL, Record
from dfd.data.datasets.layout import carve, existing, some, videos

TITLE = "Celeb-DF++"
GET_IT = "request it through the form on the GitHub page OUC-VAS/Celeb-DF-PP and unpack it as it comes"
LIST = "List_of_testing_videos.txt"
REALS, FAKES = ("Celeb-real", "YouTube-real"), "Celeb-synthesis"


def index(root: Path, val_fraction: float = 0.1, allow_missing: bool = False) -> Iterator[Record]:
    """Yield every video: the listed ones as test, of the rest about `val_fraction` of the people as val."""
    root = existing(Path(root), TITLE, f"{GET_IT}, then give its folder as data.root=")
    test = _test_list(existing(root / LIST, f"test list of {TITLE}", GET_IT))
    found = {path.relative_to(root).as_posix(): path for name in (*REALS, FAKES) for path in videos(root / name)}
    missing = sorted(test - set(found))
    if missing and not allow_missing:
        raise DfdError(
            f"{TITLE} in {root} is not complete: {len(missing)} of {len(test)} test videos are missing, e.g. "
            f"{missing[0]}; finish the download, or go on without them with data.index.allow_missing=true"
        )
    rest = {_group(name) for name in found if name not in test}
    val = carve({g for g in rest if g.startswith("id")}, val_fraction) | carve(
        {g for g in rest if not g.startswith("id")}, val_fraction
    )
    records = []
    for name, path in found.items():
        fake, parts = name.startswith(FAKES), path.stem.split("_")
        swap = fake and len(parts) > 2 and parts[1].startswith("id")
        group = _group(name)
        records.append(
            Record(
                name.rsplit(".", 1)[0],
                "celebdfpp",
                "test" if name in test else "val" if group in val else "train",
                FAKE if fake else REAL,
                str(path),
                group,
                path.parent.name if fake else "real",
                _original(parts, swap) if fake else None,
                attributes={"family": path.parent.parent.name if fake else "real"},
                donor=parts[1] if swap else None,
            )
        )
    yield from some(records, TITLE, root, GET_IT)


def _test_list(path: Path) -> set[str]:
    names = set()
    for line in filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines())):
        label, _, name = line.partition(" ")
        if label != str(int(not name.startswith(FAKES))) or not name.startswith((*REALS, FAKES)):
            raise DfdError(f"{path}: the line {line!r} does not fit; lines are '1 Celeb-real/x.mp4' (1 is real)")
        names.add(name.strip())
    return names


def _group(name: str) -> str:
    stem = Path(name).stem
    return f"youtube{stem}" if name.startswith("YouTube-real") else stem.split("_")[0]


def _original(parts: list[str], swap: bool) -> str | None:
    take = parts[2:3] if swap else parts[1:2]
    return f"Celeb-real/{parts[0]}_{take[0]}" if take and parts[0].startswith("id") else None
