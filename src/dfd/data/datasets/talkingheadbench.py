"""TalkingHeadBench (2025): fakes of six generators and two held-out ones; its reals are FaceForensics++'s.

`fake/<generator>/{train,val,test}/*.mp4`, `fake/additional_dataset/{MAGI-1,Hallo3}/*.mp4` (test only) and
`real/real_dataset_split_official_ff++.json`, whose reals come from FaceForensics++ and CelebV-HQ and are not in the
download. The layout is from a public description of the release. A fake `<number>--<driver>--<generator>` is grouped
by the clip that drives it.
"""

from collections.abc import Iterator
from pathlib import Path

from dfd.core.records import FAKE, REAL, SPLITS, Record
from dfd.data.datasets.layout import complete, existing, read_json, some, videos

TITLE = "TalkingHeadBench"
GET_IT = "fetch it from the Hugging Face page luchaoqi/TalkingHeadBench (dfd-fetch talkingheadbench)"
LIST = "real/real_dataset_split_official_ff++.json"


def index(
    root: Path,
    ffpp: str | None = None,
    celebvhq: str | None = None,
    compression: str = "raw",
    allow_missing: bool = False,
) -> Iterator[Record]:
    """Yield the fakes, and as reals the listed videos of FaceForensics++ (`ffpp`) and CelebV-HQ (`celebvhq`)."""
    root = existing(Path(root), TITLE, f"{GET_IT}, then give its folder as data.root=")
    tree = read_json(root / LIST, f"split list of {TITLE}", GET_IT)
    places = {
        "FaceForensics++": Path(ffpp) / "original_sequences/youtube" / compression / "videos" if ffpp else None,
        "CelebV-HQ": Path(celebvhq) if celebvhq else None,
    }
    reals, drivers = [], {}
    for split in SPLITS:
        for source, names in (tree.get(split.capitalize()) or {}).items():
            for name in names:
                stem = Path(name).stem
                drivers[stem] = split
                if (place := places.get(source)) is not None:
                    path = str(place / f"{stem}.mp4")
                    attributes = {"source": source}
                    reals.append(Record(f"real/{stem}", "talkingheadbench", split, REAL, path, stem,
                                        attributes=attributes))  # fmt: skip
    records = [*complete(reals, f"reals of {TITLE}", root, allow_missing), *_fakes(root, drivers)]
    yield from some(records, TITLE, root, "data.index.ffpp= or data.index.celebvhq= names where its reals lie")


def _fakes(root: Path, drivers: dict[str, str]) -> Iterator[Record]:
    for path in videos(existing(root / "fake", TITLE, GET_IT)):
        parts = path.relative_to(root / "fake").parts
        held_out = parts[0] == "additional_dataset"
        generator = parts[1] if held_out else parts[0]
        driver = path.stem.split("--")[1] if path.stem.count("--") >= 2 else ""
        driver = driver if driver in drivers or f"-{driver}" not in drivers else f"-{driver}"
        folder = next((part for part in parts[1:-1] if part in SPLITS), "train")
        split = "test" if held_out else drivers.get(driver, folder)
        identity = f"{generator}/{path.stem}"
        yield Record(identity, "talkingheadbench", split, FAKE, str(path), driver or identity, generator)
