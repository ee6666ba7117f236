"""DeeperForensics-1.0 (Jiang et al., CVPR 2020), from its official split lists.

The lists name fakes only: `480_W133.mp4` shows the video 480 of FaceForensics++ with the face of actor W133. The reals
are those videos, so FaceForensics++ is needed beside it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, REAL, SPLITS, Record
from dfd.data.datasets.layout import complete, existing

TITLE = "DeeperForensics-1.0"
GET_IT = "request it through the form on the GitHub page EndlessSora/DeeperForensics-1.0 and unpack it as it comes"
REALS = "original_sequences/youtube/{compression}/videos"


def index(
    root: Path,
    reals: str | None = None,
    variants: Sequence[str] = ("end_to_end",),
    compression: str = "c23",
    allow_missing: bool = False,
) -> Iterator[Record]:
    """Yield the fakes of each variant, and as reals the videos of FaceForensics++ (its folder is `reals`)."""
    root = existing(Path(root), TITLE, f"{GET_IT}, then give its folder as data.root=")
    originals = Path(reals or root) / REALS.format(compression=compression)
    if not originals.is_dir():
        raise DfdError(
            f"the reals of {TITLE} are those of FaceForensics++, not found at {originals}: data.index.reals="
        )
    have = sorted(path.name for path in existing(root / "manipulated_videos", TITLE, GET_IT).iterdir())
    unknown = sorted(set(variants) - set(have))
    if unknown:
        raise DfdError(f"data.index.variants: no {', '.join(unknown)} in {root}; there are {', '.join(have)}")
    yield from complete(list(_listed(root, originals, variants)), TITLE, root, allow_missing)


def _listed(root: Path, originals: Path, variants: Sequence[str]) -> Iterator[Record]:
    for split in SPLITS:
        path = existing(root / "lists" / "splits" / f"{split}.txt", f"split list of {TITLE}", GET_IT)
        names = [Path(line.strip()).stem for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        for target in sorted({name.split("_")[0] for name in names}):
            yield Record(f"real/{target}", "deeperforensics", split, REAL, str(originals / f"{target}.mp4"), target)
        for variant in variants:
            for name in names:
                target, _, actor = name.partition("_")
                video, source = root / "manipulated_videos" / variant / f"{name}.mp4", f"real/{target}"
                yield Record(
                    f"{variant}/{name}",
                    "deeperforensics",
                    split,
                    FAKE,
                    str(video),
                    target,
                    variant,
                    source,
                    donor=actor or None,
                )
