"""WildDeepfake (Zi et al., ACM MM 2020): sequences of face crops from the internet, in its official folders.

`real_train/<video>/real/<sequence>/<frame>.png`; the faces are cut already and are read as they are. A fake may come
from a video of which the dataset has real sequences too, so the video is the group.
"""

from collections.abc import Iterator
from pathlib import Path

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, REAL, Record
from dfd.data.datasets.layout import carve, existing

TITLE = "WildDeepfake"
GET_IT = "request it through the form on the GitHub page OpenTAI/wild-deepfake and unpack its archives as they come"
FOLDERS = {"real_train": REAL, "fake_train": FAKE, "real_test": REAL, "fake_test": FAKE}


def index(root: Path, val_fraction: float = 0.1, allow_missing: bool = False) -> Iterator[Record]:
    """Yield a record per sequence; about `val_fraction` of the training videos of each class are validation."""
    root = existing(Path(root), TITLE, f"{GET_IT}, then give its folder as data.root=")
    absent = [name for name in FOLDERS if not (root / name).is_dir()]
    if absent and not allow_missing:
        raise DfdError(f"{TITLE} in {root} lacks {', '.join(absent)}: {GET_IT}")
    for name, label in FOLDERS.items():
        sequences = sorted(path for path in (root / name).glob("*/*/*") if path.is_dir())
        test = name.endswith("_test")
        val = set() if test else carve({path.parts[-3] for path in sequences}, val_fraction)
        for path in sequences:
            video = path.parts[-3]
            yield Record(
                f"{name}/{video}/{path.name}",
                "wilddeepfake",
                "test" if test else "val" if video in val else "train",
                label,
                str(path),
                f"{name}/{video}",
                "fake" if label else "real",
                assets={"crops": path.relative_to(root).as_posix()},
            )
