"""FakeAVCeleb v1.2 (Khalid et al., NeurIPS 2021), from its folders and `meta_data.csv`.

The table has ten columns, the last without a name: it holds the folder of the file that `path` names. Some files are
listed twice, under two methods; the first is kept. There is no official split: people are split by a hash of their
names, so that the same ones are tested everywhere. Categories are named as papers do (RVFA, FVRA-WL, FVFA-FS, ...).
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, REAL, Record
from dfd.data.datasets.layout import carve, complete, existing

TITLE = "FakeAVCeleb"
GET_IT = "request it through the form on the GitHub page DASH-Lab/FakeAVCeleb and unpack it as it comes"
TABLE = "meta_data.csv"
INNOCENT = "innocent.csv"  # of the rendered sample alone: real clips with something odd about them
COLUMNS = ("source", "target1", "target2", "method", "category", "type", "race", "gender", "path")
KINDS = {
    "RealVideo-RealAudio": "real",
    "RealVideo-FakeAudio": "RVFA",
    "FakeVideo-RealAudio": "FVRA",
    "FakeVideo-FakeAudio": "FVFA",
}
SUFFIXES = {"faceswap": "FS", "faceswap-wav2lip": "FS", "fsgan": "GAN", "fsgan-wav2lip": "GAN", "wav2lip": "WL"}


@dataclass(frozen=True)
class Listed:
    """A file of the table: its folder below the four kinds, its name, and what the table says of it."""

    folder: str
    name: str
    source: str
    method: str
    race: str
    gender: str

    @property
    def id(self) -> str:
        """The record's name."""
        return f"{self.folder}/{Path(self.name).stem}"


def index(
    root: Path,
    categories: Sequence[str] | None = None,
    val_fraction: float = 0.25,
    test_fraction: float = 0.25,
    innocent: bool = True,
    allow_missing: bool = False,
) -> Iterator[Record]:
    """Yield the real clips, and the fakes of the chosen categories (all: none named).

    Args:
        root: the folder that holds `meta_data.csv`, or the one above it.
        categories: RVFA, FVRA-WL, FVRA-FS, FVRA-GAN, FVFA-WL, FVFA-FS, FVFA-GAN.
        val_fraction: share of the people.
        test_fraction: share of the people.
        innocent: with the rendered sample, its odd but real clips too; they are tested only.
        allow_missing: go on without listed files that are not there.
    """
    base = _base(Path(root))
    listed = list(_listed(base / TABLE))
    known = {item.method for item in listed if item.method != "real"}
    unknown = sorted(set(categories or ()) - known)
    if unknown:
        raise DfdError(
            f"data.index.categories: no {', '.join(unknown)} in {base / TABLE}; there are {', '.join(sorted(known))}"
        )
    splits = split_people((item.source for item in listed), val_fraction, test_fraction)
    originals = {item.source: item.id for item in listed if item.method == "real"}
    chosen = [item for item in listed if item.method == "real" or categories is None or item.method in categories]
    records = [_record(base, item, splits, originals) for item in chosen]
    yield from complete(records, TITLE, base, allow_missing)
    if innocent and (base / INNOCENT).is_file():
        yield from _innocent(base, splits)


def split_people(people: Iterator[str] | Sequence[str], val: float = 0.25, test: float = 0.25) -> dict[str, str]:
    """Return the split of every person, by the hash of their names: the same ones everywhere."""
    names = sorted(set(people))
    if not 0 < val + test < 1:
        raise DfdError(f"val_fraction={val} and test_fraction={test} leave nobody to train on")
    tested = carve(names, test)
    rest = [name for name in names if name not in tested]
    validated = carve(rest, val / (1 - test))
    return {name: "test" if name in tested else "val" if name in validated else "train" for name in names}


def _base(root: Path) -> Path:
    places = [root, root / "FakeAVCeleb_v1.2", root / "FakeAVCeleb"]
    found = next((place for place in places if (place / TABLE).is_file()), None)
    return found or existing(root / TABLE, TITLE, f"{GET_IT}, then give its folder as data.root=").parent


def _listed(table: Path) -> Iterator[Listed]:
    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if tuple(header[:9]) != COLUMNS or len(header) != 10:
            raise DfdError(f"{table} does not fit: its columns must be {','.join(COLUMNS)} and one without a name")
        seen: set[tuple[str, str]] = set()
        for row in filter(None, rows):
            told = dict(zip(COLUMNS, row))
            folder, name = row[9].strip("/").partition("/")[2], Path(told["path"]).name
            if (folder, name) in seen:
                continue
            seen.add((folder, name))
            yield Listed(folder, name, told["source"], _category(table, told), told["race"], told["gender"])


def _category(table: Path, told: dict[str, str]) -> str:
    kind = KINDS.get(told["type"])
    if kind is None:
        raise DfdError(f"{table}: {told['path']} is of type {told['type']!r}; types are {', '.join(KINDS)}")
    if kind in ("real", "RVFA"):
        return kind
    return f"{kind}-{SUFFIXES.get(told['method'], told['method'])}"


def _record(base: Path, item: Listed, splits: dict[str, str], originals: dict[str, str]) -> Record:
    label = REAL if item.method == "real" else FAKE
    return Record(
        item.id,
        "fakeavceleb",
        splits[item.source],
        label,
        str(_place(base, item.folder) / item.name),
        item.source,
        item.method,
        originals.get(item.source) if label == FAKE else None,
        attributes={"race": item.race, "gender": item.gender},
    )


def _place(base: Path, folder: str) -> Path:
    """Return a folder as this copy spells it: some have "Asian_East" for "Asian (East)"."""
    place = base
    for part in folder.split("/"):
        if not (place / part).exists() and place.is_dir():
            alike = [p.name for p in place.iterdir() if _letters(p.name) == _letters(part)]
            part = alike[0] if alike else part
        place = place / part
    return place


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _innocent(base: Path, splits: dict[str, str]) -> Iterator[Record]:
    with (base / INNOCENT).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = f"innocent/{row['variant']}/{row['source']}"
            path = str(base / f"{name}.mp4")
            yield Record(
                name, "fakeavceleb", splits[row["source"]], REAL, path, row["source"], f"innocent-{row['variant']}"
            )
