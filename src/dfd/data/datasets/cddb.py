"""CDDB, the continual deepfake detection benchmark (Li et al., WACV 2023), and its in- and out-of-distribution splits.

Folders are `<generator>/{train,val}/[<category>/]{0_real,1_fake}/`; there is no test folder: `val` is the test set of
every publication, so the validation split is carved from `train`. A record's method is its generator, for reals too.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from dfd.core.errors import DfdError, did_you_mean
from dfd.core.records import FAKE, REAL, Record
from dfd.data.kinds import IMAGE_SUFFIXES

LABELS = {"0_real": REAL, "1_fake": FAKE}
GAN = ("biggan", "cyclegan", "gaugan", "stargan_gf", "stylegan")
GENERATORS = (*GAN, "crn", "deepfake", "glow", "imle", "san", "whichfaceisreal", "wild")
EASY = ("gaugan", "biggan", "cyclegan", "imle", "deepfake", "crn", "wild")
HARD = ("gaugan", "biggan", "wild", "whichfaceisreal", "san")
# generators whose reals are the same pictures, or come from the same collection
SHARED_REALS = ({"glow", "stargan_gf"}, {"crn", "imle"})
GET_IT = "download and unpack the archive that the GitHub page Coral79/CDDB names"

OodLabel = Literal["all", "fake_only", "drop_shared_reals"]
Part = Literal["id", "outliers", "ood", "all"]


class Scenario(NamedTuple):
    """Generators of the detector's own task, and those that are out of distribution."""

    id: tuple[str, ...]
    ood: tuple[str, ...]


def _rest(known: Sequence[str]) -> tuple[str, ...]:
    return tuple(generator for generator in GENERATORS if generator not in known)


MIX = ("biggan", "gaugan", "stargan_gf", "deepfake", "glow", "crn", "wild")
SCENARIOS = {
    "content": Scenario(  # faces against other things; what may show people is left out
        ("deepfake", "glow", "stargan_gf", "whichfaceisreal", "wild"), ("crn", "cyclegan", "imle", "stylegan")
    ),
    "group": Scenario(GAN, _rest(GAN)),
    "mix": Scenario(MIX, _rest(MIX)),
    "easy": Scenario(EASY, _rest(EASY)),
    "hard": Scenario(HARD, _rest(HARD)),
    "long": Scenario(GENERATORS, ()),
}


def index(
    root: Path,
    scenario: str = "group",
    id: Sequence[str] | None = None,
    ood: Sequence[str] | None = None,
    outliers: Sequence[str] = (),
    oracle_outliers: bool = False,
    ood_label: OodLabel = "drop_shared_reals",
    val_fraction: float = 0.1,
    valid_from: Literal["train", "val"] = "train",
    part: Part = "id",
) -> Iterator[Record]:
    """Yield one part: the task itself, outliers that an abnormality module may train on, those that test it, or all.

    `outliers` are generators that are taken out of `ood`, so that nothing is tested on what it was trained on;
    `oracle_outliers` leaves them in, as the original did. `ood_label` says which pictures of an unknown generator
    count: all, the fakes, or all but the reals that a known generator has too. `valid_from=val` is the original's.
    """
    root = Path(root)
    chosen = choose(scenario, id, ood, outliers, oracle_outliers)
    if not root.is_dir():
        raise DfdError(f"no CDDB at {root}: {GET_IT}, then give its folder as data.root=")
    parts = {"id": chosen.id, "outliers": tuple(outliers), "ood": chosen.ood, "all": GENERATORS}
    # outliers may share reals with each other, but not with the task; what is tested shares none with either
    known = {*chosen.id} if part == "outliers" else {*chosen.id, *outliers}
    for generator in parts[part]:
        for record in _generator(root, generator, val_fraction, valid_from):
            if part in ("id", "all") or _counts(record, known, ood_label):
                yield record


def choose(
    scenario: str,
    id: Sequence[str] | None = None,
    ood: Sequence[str] | None = None,
    outliers: Sequence[str] = (),
    oracle_outliers: bool = False,
) -> Scenario:
    """Return the generators of a scenario, less the outliers that are trained on; an overlap is an error."""
    if scenario == "custom":
        if not id or ood is None:
            raise DfdError("data.index.scenario=custom needs data.index.id=[...] and data.index.ood=[...]")
        chosen = Scenario(tuple(id), tuple(ood))
    elif scenario in SCENARIOS:
        preset = SCENARIOS[scenario]
        chosen = Scenario(tuple(id or preset.id), tuple(preset.ood if ood is None else ood))
    else:
        raise DfdError(f"data.index.scenario={scenario}: choose from {', '.join(SCENARIOS)} or custom")
    for name in (*chosen.id, *chosen.ood, *outliers):
        if name not in GENERATORS:
            raise DfdError(f"CDDB has no generator {name!r}{did_you_mean(name, GENERATORS)}: {', '.join(GENERATORS)}")
    _refuse_overlap(chosen.id, chosen.ood, "id and ood")
    _refuse_overlap(chosen.id, outliers, "id and outliers")
    kept = chosen.ood if oracle_outliers else tuple(name for name in chosen.ood if name not in outliers)
    return Scenario(chosen.id, kept)


def _refuse_overlap(first: Sequence[str], second: Sequence[str], names: str) -> None:
    both = sorted({*first} & {*second})
    if both:
        raise DfdError(f"data.index: {', '.join(both)} cannot be both of {names}")


def _counts(record: Record, known: set[str], ood_label: OodLabel) -> bool:
    if record.label == FAKE or ood_label == "all":
        return True
    if ood_label == "fake_only":
        return False
    return not any(record.method in shared and shared & (known - {record.method}) for shared in SHARED_REALS)


def _generator(root: Path, generator: str, val_fraction: float, valid_from: str) -> Iterator[Record]:
    folder = root / generator
    if not folder.is_dir():
        raise DfdError(f"CDDB in {root} lacks {generator}/: {GET_IT}, or choose others by data.index.id and .ood")
    carve = {"train": "train", "val": "val"}[valid_from]
    for split in ("train", "val"):
        for path, label in _pictures(folder / split):
            id = path.relative_to(root).as_posix()
            carved = split == carve and _share(id) < val_fraction
            name = "val" if carved else "train" if split == "train" else "test"
            yield Record(id, "cddb", name, label, str(path), id, generator)


def _pictures(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield pictures with labels; a category between is told by the label folders that are no direct children."""
    if not folder.is_dir():
        raise DfdError(f"CDDB lacks the folder {folder}: {GET_IT}")
    flat = [name for name in LABELS if (folder / name).is_dir()]
    places = [folder] if flat else sorted(path for path in folder.iterdir() if path.is_dir())
    for place in places:
        for name, label in LABELS.items():
            for path in sorted((place / name).glob("*")):
                if path.suffix.lower() in IMAGE_SUFFIXES:
                    yield path, label


def _share(id: str) -> float:
    """Return a number in [0, 1) that only the picture's name decides."""
    return int(hashlib.sha256(id.encode()).hexdigest()[:8], 16) / 2**32
