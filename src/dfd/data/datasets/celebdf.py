"""Celeb-DF v1 and v2 (Li et al., CVPR 2020), from their official folders and test list.

The list's labels are inverted: 1 is real, 0 is fake. A fake `id0_id16_0000` shows the video `id0_0000` with the face of
id16. There is no official validation split: it is carved from the rest by identity. The official test list shares
identities with the rest, which the manifest check reports.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, REAL, Record

FOLDERS = {"Celeb-real": REAL, "YouTube-real": REAL, "Celeb-synthesis": FAKE}
LIST = "List_of_testing_videos.txt"
GET_IT = "request it through the form on the GitHub page yuezunli/celeb-deepfakeforensics and unpack it as it comes"


def index(root: Path, version: str = "v2", val_fraction: float = 0.1, allow_missing: bool = False) -> Iterator[Record]:
    """Yield every video: the listed ones as test, of the rest about `val_fraction` of the people as val."""
    root = Path(root)
    if version not in ("v1", "v2"):
        raise DfdError(f"data.index.version={version}: choose v1 or v2")
    test = _test_list(root)
    found = [(name, path) for name in FOLDERS for path in sorted(_existing(root, name).glob("*.mp4"))]
    present = {f"{name}/{path.name}" for name, path in found}
    missing = sorted(set(test) - present)
    if missing and not allow_missing:
        counts = ", ".join(f"{count} of {name}" for name, count in Counter(m.split("/")[0] for m in missing).items())
        raise DfdError(
            f"Celeb-DF in {root} is not complete: of {len(test)} test videos {counts} are missing, "
            f"e.g. {missing[0]}; finish the download, or go on without them with data.index.allow_missing=true"
        )
    rest = {_group(name, path.stem) for name, path in found if f"{name}/{path.name}" not in test}
    val = _validation(rest, val_fraction)
    for name, path in found:
        group = _group(name, path.stem)
        parts = path.stem.split("_")
        donor = parts[1] if FOLDERS[name] == FAKE and len(parts) > 2 else None
        split = "test" if f"{name}/{path.name}" in test else "val" if group in val else "train"
        method = "real" if FOLDERS[name] == REAL else name
        original = f"Celeb-real/{_target_video(path.stem)}" if FOLDERS[name] == FAKE else None
        identity = f"{name}/{path.stem}"
        yield Record(identity, "celebdf", split, FOLDERS[name], str(path), group, method, original, donor=donor)


def _test_list(root: Path) -> set[str]:
    if not root.is_dir():
        raise DfdError(f"no Celeb-DF at {root}: {GET_IT}, then give its folder as data.root=")
    path = root / LIST
    if not path.is_file():
        raise DfdError(f"Celeb-DF in {root} lacks {LIST}, which comes with the download: {GET_IT}")
    names = set()
    for line in filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines())):
        label, _, name = line.partition(" ")
        folder = name.split("/")[0]
        if folder not in FOLDERS or label != str(1 - FOLDERS[folder]):
            raise DfdError(
                f"{path}: the line {line!r} does not fit; lines are '1 Celeb-real/x.mp4' or '0 Celeb-synthesis/x.mp4'"
            )
        names.add(name)
    return names


def _existing(root: Path, name: str) -> Path:
    if not (root / name).is_dir():
        raise DfdError(f"Celeb-DF in {root} lacks the folder {name}: {GET_IT}")
    return root / name


def _validation(groups: set[str], fraction: float) -> set[str]:
    """Choose people (and, apart from them, YouTube videos) by the hash of their name: the same ones everywhere."""
    chosen: set[str] = set()
    for people in (True, False):
        of_kind = sorted(
            (g for g in groups if g.startswith("id") == people), key=lambda g: hashlib.sha256(g.encode()).digest()
        )
        chosen.update(of_kind[: max(1, round(len(of_kind) * fraction))] if of_kind and fraction else [])
    return chosen


def _group(folder: str, stem: str) -> str:
    return f"youtube{stem}" if folder == "YouTube-real" else stem.split("_")[0]


def _target_video(stem: str) -> str:
    parts = stem.split("_")
    return f"{parts[0]}_{parts[-1]}"
