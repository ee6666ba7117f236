"""FaceForensics++ (Roessler et al., ICCV 2019), from its official folders and split files.

A fake `071_054` shows the video 071 with the face of 054. The split files list pairs of ids; a pair and everything made
from it stay in one split, so the pair is the group.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, REAL, SPLITS, Record
from dfd.data.datasets.layout import complete

METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")
KNOWN = (*METHODS, "FaceShifter")
COMPRESSIONS = {"c0": ("raw", "c0"), "raw": ("raw", "c0"), "c23": ("c23",), "c40": ("c40",)}
GET_IT = "request it through the form on the GitHub page ondyari/FaceForensics and unpack it as it comes"


def index(
    root: Path, compression: str = "c23", methods: Sequence[str] = METHODS, allow_missing: bool = False
) -> Iterator[Record]:
    """Yield the originals and the fakes of each method that the split files list."""
    root = Path(root)
    _check_arguments(root, compression, methods)
    yield from complete(list(_listed(root, compression, methods)), "FaceForensics++", root, allow_missing)


def index_actors(root: Path, compression: str = "c23", allow_missing: bool = False) -> Iterator[Record]:
    """Yield DeepFakeDetection, which comes with FaceForensics++; it has no official split, so all of it is test.

    A fake `24_23__outside__YR5OVD4S` shows actor 24 in that scene with the face of actor 23.
    """
    root = Path(root)
    sequences = ("original_sequences/actors", "manipulated_sequences/DeepFakeDetection")
    real, fake = (_existing(root, sequence, compression) for sequence in sequences)
    for path in sorted(real.glob("*.mp4")):
        yield Record(f"actors/{path.stem}", "dfd", "test", REAL, str(path), path.stem.split("__")[0])
    for path in sorted(fake.glob("*.mp4")):
        people, scene, *_ = path.stem.split("__")
        target, _, donor = people.partition("_")
        original = f"actors/{target}__{scene}" if (real / f"{target}__{scene}.mp4").is_file() else None
        if original is None and not allow_missing:
            raise DfdError(
                f"DeepFakeDetection in {root} lacks {target}__{scene}.mp4, the original of {path.name}: finish the "
                "download, or go on without it with data.index.allow_missing=true"
            )
        identity = f"DeepFakeDetection/{path.stem}"
        yield Record(
            identity, "dfd", "test", FAKE, str(path), target, "DeepFakeDetection", original, donor=donor or None
        )


def _listed(root: Path, compression: str, methods: Sequence[str]) -> Iterator[Record]:
    for split in SPLITS:
        for a, b in _pairs(root, split):
            group = "_".join(sorted((a, b)))
            for target, source in ((a, b), (b, a)):
                original = f"youtube/{target}"
                path = _folder(root, "original_sequences/youtube", compression) / f"{target}.mp4"
                yield Record(original, "ffpp", split, REAL, str(path), group)
                for method in methods:
                    name = f"{target}_{source}"
                    path = _folder(root, f"manipulated_sequences/{method}", compression) / f"{name}.mp4"
                    yield Record(f"{method}/{name}", "ffpp", split, FAKE, str(path), group, method, original)


def _pairs(root: Path, split: str) -> list[tuple[str, str]]:
    places = [root / "splits", root, root / "dataset" / "splits"]
    for place in places:
        path = place / f"{split}.json"
        if path.is_file():
            return [(a, b) for a, b in json.loads(path.read_text(encoding="utf-8"))]
    looked = ", ".join(str(place) for place in places)
    raise DfdError(f"no {split}.json of FaceForensics++ in {looked}: it is in dataset/splits of ondyari/FaceForensics")


def _folder(root: Path, sequence: str, compression: str) -> Path:
    folders = [root / sequence / name / "videos" for name in COMPRESSIONS[compression]]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def _existing(root: Path, sequence: str, compression: str) -> Path:
    if compression not in COMPRESSIONS:
        raise DfdError(f"data.index.compression={compression}: choose from {', '.join(COMPRESSIONS)}")
    if not root.is_dir():
        raise DfdError(f"no FaceForensics++ at {root}: {GET_IT}, then give its folder as data.root=")
    folder = _folder(root, sequence, compression)
    if not folder.is_dir():
        raise DfdError(f"FaceForensics++ in {root} lacks {folder.relative_to(root)}: {GET_IT}")
    return folder


def _check_arguments(root: Path, compression: str, methods: Sequence[str]) -> None:
    unknown = sorted(set(methods) - set(KNOWN))
    if unknown:
        raise DfdError(f"data.index.methods: unknown {', '.join(unknown)}; there are {', '.join(KNOWN)}")
    for sequence in ("original_sequences/youtube", *(f"manipulated_sequences/{method}" for method in methods)):
        _existing(root, sequence, compression)
