"""CIFAR-10 against other pictures: the field's usual benchmark of out-of-distribution detection.

The sets come through torchvision, from archives in the folder or by download, and are written out as pictures once.
TinyImageNet and Places365 are read where they lie: `<root>/tiny-imagenet-200/val/images`, `<root>/places365`.
"""

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from dfd.core.errors import DfdError, did_you_mean
from dfd.core.records import REAL, Record
from dfd.data.kinds import IMAGE_SUFFIXES

PICTURES = "pictures"
# (class of torchvision, arguments) of every split that is used
SETS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "cifar10": {"train": ("CIFAR10", {"train": True}), "test": ("CIFAR10", {"train": False})},
    "cifar100": {"test": ("CIFAR100", {"train": False})},
    "svhn": {"test": ("SVHN", {"split": "test"})},
    "dtd": {"test": ("DTD", {"split": "test", "partition": 1})},
    "mnist": {"test": ("MNIST", {"train": False})},
    "fashionmnist": {"test": ("FashionMNIST", {"train": False})},
}
FOLDERS = {"tinyimagenet": "tiny-imagenet-200/val/images", "places365": "places365"}
VARIANTS = {
    "thesis": ("mnist", "fashionmnist", "svhn", "dtd", "tinyimagenet", "cifar100"),
    "openood": ("cifar100", "tinyimagenet", "mnist", "svhn", "dtd", "places365"),
}
Variant = Literal["openood", "thesis"]


def fetch(root: Path, sets: Sequence[str] = tuple(SETS), download: bool = True) -> None:
    """Write the sets out as `<root>/pictures/<set>/<split>/<class>/<number>.png`, once each."""
    for name in sets:
        for split, (kind, arguments) in SETS[_known(name, SETS)].items():
            folder = root / PICTURES / name / split
            if not (folder / ".complete").is_file():
                _export(_open(kind, root, download, arguments), folder)


def index(
    root: Path,
    variant: Variant = "openood",
    sets: Sequence[str] | None = None,
    part: Literal["id", "ood", "all"] = "id",
) -> Iterator[Record]:
    """Yield CIFAR-10 (a method per class), or the out-of-distribution sets (a method per set).

    "openood" takes a tenth of the test set for validation, "thesis" a tenth of the training set. `sets` replaces the
    variant's out-of-distribution sets.
    """
    root = Path(root)
    if part in ("id", "all"):
        for split in ("train", "test"):
            for path in _pictures(root / PICTURES / "cifar10" / split, "cifar10"):
                carved = split == ("test" if variant == "openood" else "train") and _share(path) < 0.1
                yield _record(root, path, path.parent.name, "val" if carved else split)
    if part == "id":
        return
    for name in sets if sets is not None else VARIANTS[variant]:
        folder = root / FOLDERS[name] if name in FOLDERS else root / PICTURES / _known(name, SETS) / "test"
        for path in _pictures(folder, name):
            yield _record(root, path, name, "test")


def _open(kind: str, root: Path, download: bool, arguments: dict[str, Any]) -> Any:
    from torchvision import datasets

    try:
        return getattr(datasets, kind)(root, download=download, **arguments)
    except Exception as error:  # without archive and network torchvision raises whatever its downloader does
        reason = " ".join(str(error).split())[:150]
        raise DfdError(
            f"{kind} is not in {root} and could not be downloaded ({reason}): put its archive there as torchvision "
            "names it, or leave the set out with data.fetch.sets=[...] and data.index.sets=[...]"
        ) from error


def _export(dataset: Any, folder: Path) -> None:
    names = getattr(dataset, "classes", [str(k) for k in range(10)])
    for number in range(len(dataset)):
        image, label = dataset[number]
        path = folder / str(names[label]).replace("/", "-").replace(" ", "_") / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    (folder / ".complete").touch()


def _pictures(folder: Path, name: str) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise DfdError(f"no pictures of {name} in {folder}: put them there, or leave it out with data.index.sets=[...]")
    return found


def _record(root: Path, path: Path, method: str, split: str) -> Record:
    id = path.relative_to(root).as_posix()
    return Record(id, "cifar10_ood", split, REAL, str(path), id, method)


def _known(name: str, known: Any) -> str:
    if name not in known:
        raise DfdError(f"no set {name!r}{did_you_mean(name, known)}: there are {', '.join([*SETS, *FOLDERS])}")
    return name


def _share(path: Path) -> float:
    return zlib.crc32(path.stem.encode()) / 2**32
