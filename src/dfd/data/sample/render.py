"""Write the sample: the same folders, names, split files and codecs as the official downloads, from a seed."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TypedDict

import av
import numpy as np

from dfd.core.errors import DfdError
from dfd.core.records import SPLITS
from dfd.data.sample.folder import spread, whole
from dfd.data.sample.forgeries import FAMILIES, Forgery, Shot
from dfd.data.sample.heads import draw_face, draw_identity, draw_motion
from dfd.data.sample.mark import MARK
from dfd.data.sample.scene import compose, draw_scene, shoot
from dfd.data.sample.sheet import contact_sheet
from dfd.data.sample.tempo import PERIOD, TEMPORAL, hunting

log = logging.getLogger(__name__)

VERSION = 5  # of the drawings: raise it when they change, and cached samples are rendered again
SIZES = {"ffpp": 56, "celebdf": 30, "dfdc": 30, "temporal": 112}  # identities
STREAMS = {"ffpp": 1, "celebdf": 2, "dfdc": 3, "temporal": 4}  # so that no identity of one is in the other


@dataclass(frozen=True)
class Job:
    """One target video and the forgeries made from it: file names relative to the root, by forgery family."""

    target: int
    original: str
    forgeries: dict[str, tuple[str, int]]  # name of the file: (family, source identity)
    crf: int
    strength: float
    tempo: bool = False  # a white balance that hunts, and every frame coded by itself at a constant quantiser


class Facts(TypedDict):
    """What decides every pixel of a sample."""

    version: int
    dataset: str
    seed: int
    identities: int


def describe(dataset: str, seed: int = 0, identities: int | None = None) -> Facts:
    """Return what a sample is made from: two samples with the same facts are the same."""
    if dataset not in SIZES:
        raise DfdError(f"there is no sample of {dataset!r}; there are {', '.join(SIZES)}")
    return Facts(version=VERSION, dataset=dataset, seed=seed, identities=identities or SIZES[dataset])


def build(
    dataset: str, folder: Path, *, seed: int = 0, identities: int | None = None, workers: int | None = None
) -> Path:
    """Render a dataset's sample into a folder, once: a whole one of the same seed and size is left as it is.

    The folder appears when it is complete. The same seed gives the same pixels, however many processes draw them.
    """
    facts = describe(dataset, seed, identities)

    def draw(root: Path) -> None:
        jobs = LAYOUTS[dataset](root, facts["identities"])
        stream = (seed, STREAMS[dataset])
        spread([partial(render, job, root, stream) for job in jobs], f"drawing the {dataset} sample", workers)
        contact_sheet(_columns(jobs), root, root / "contact_sheet.png")

    return whole(folder, facts, draw)


def layout_ffpp(root: Path, identities: int) -> list[Job]:
    """Write the split files of FaceForensics++ and return its jobs: 4/7 train, 1/7 val, 2/7 test, in pairs."""
    pairs = identities // 2
    if pairs < 3:
        raise DfdError(f"the ffpp sample needs at least 6 identities, for three splits of pairs; got {identities}")
    val, test = max(1, round(pairs / 7)), max(1, round(pairs * 2 / 7))
    bounds = (0, pairs - val - test, pairs - test, pairs)
    (root / "splits").mkdir()
    for split, first, last in zip(SPLITS, bounds, bounds[1:]):
        listed = [[f"{2 * pair:03d}", f"{2 * pair + 1:03d}"] for pair in range(first, last)]
        (root / "splits" / f"{split}.json").write_text(json.dumps(listed, indent=2))
    jobs = []
    for target in range(2 * pairs):
        source = target ^ 1
        forgeries = {
            f"manipulated_sequences/{family}/c23/videos/{target:03d}_{source:03d}.mp4": (family, source)
            for family in FAMILIES
        }
        jobs.append(Job(target, f"original_sequences/youtube/c23/videos/{target:03d}.mp4", forgeries, 23, 1.25))
    return jobs


def layout_celebdf(root: Path, identities: int) -> list[Job]:
    """Write the test list of Celeb-DF-v2 and return its jobs: swaps among people, and reals that nobody swapped."""
    people = max(4, identities * 2 // 3)
    jobs, listed = [], []
    for target in range(identities):
        tested = target % 2 == 1
        if target < people:
            # the other face comes from the same side of the split, so that no identity is on both
            others = [(target + step) % people for step in (2, 4)]
            others = [other for other in dict.fromkeys(others) if other % 2 == target % 2 and other != target]
            original = f"Celeb-real/id{target}_0000.mp4"
            forgeries = {f"Celeb-synthesis/id{target}_id{other}_0000.mp4": ("Deepfakes", other) for other in others}
        else:
            original, forgeries = f"YouTube-real/{target - people:05d}.mp4", {}
        jobs.append(Job(target, original, forgeries, 27, 0.5))  # better made than those of FaceForensics++
        if tested:
            listed += [f"1 {original}", *(f"0 {name}" for name in forgeries)]
    (root / "List_of_testing_videos.txt").write_text("\n".join(listed) + "\n")
    return jobs


def layout_temporal(root: Path, identities: int) -> list[Job]:
    """Write `splits.json` and return jobs whose forgeries show only in time: 4/7 train, 1/7 val, 2/7 test."""
    val, test = max(1, round(identities / 7)), max(1, round(identities * 2 / 7))
    bounds = (0, identities - val - test, identities - test, identities)
    names = {split: [f"{i:03d}" for i in range(*pair)] for split, pair in zip(SPLITS, pairwise(bounds), strict=True)}
    (root / "splits.json").write_text(json.dumps(names, indent=2))
    return [
        Job(i, f"real/{i:03d}.mp4", {f"{kind}/{i:03d}.mp4": (kind, i) for kind in TEMPORAL}, 23, 1.0, tempo=True)
        for i in range(identities)
    ]


def layout_dfdc(root: Path, identities: int) -> list[Job]:
    """Write the metadata of DFDC's parts (0 to 2 for validation, 3 to 6 for training) and its test set's labels."""
    if identities < 16:
        raise DfdError(
            f"the dfdc sample needs at least 16 identities, two for each part and the test; got {identities}"
        )
    folders = [*(f"dfdc_train_part_{part}" for part in range(7)), "test"]
    listed: dict[str, dict[str, dict]] = {folder: {} for folder in folders}
    jobs = []
    for target in range(identities):
        folder = folders[target % 8]
        others = [other for other in range(target % 8, identities, 8) if other != target]
        names = [_ten_letters(f"{target} {number}") for number in range(3)]
        kinds = [("Deepfakes", others[0]), ("NeuralTextures", others[-1])]
        forgeries = {f"{folder}/{name}.mp4": kind for name, kind in zip(names[1:], kinds, strict=True)}
        jobs.append(Job(target, f"{folder}/{names[0]}.mp4", forgeries, 25, 0.8))
        listed[folder][f"{names[0]}.mp4"] = {"label": "REAL", "split": "train", "original": None}
        fake = {"label": "FAKE", "split": "train", "original": f"{names[0]}.mp4"}
        listed[folder] |= {f"{name}.mp4": fake for name in names[1:]}
    for folder in folders:
        (root / folder).mkdir()
        if folder == "test":
            rows = [f"{name},{int(facts['label'] == 'FAKE')}" for name, facts in sorted(listed[folder].items())]
            (root / folder / "labels.csv").write_text("\n".join(["filename,label", *rows]) + "\n")
        else:
            (root / folder / "metadata.json").write_text(json.dumps(listed[folder], indent=1))
    return jobs


def _ten_letters(seed: str) -> str:
    digest = hashlib.sha256(seed.encode()).digest()
    return "".join(chr(ord("a") + byte % 26) for byte in digest[:10])


LAYOUTS: dict[str, Callable[[Path, int], list[Job]]] = {
    "ffpp": layout_ffpp,
    "celebdf": layout_celebdf,
    "temporal": layout_temporal,
    "dfdc": layout_dfdc,
}


def render(job: Job, root: Path, seed: tuple[int, int]) -> None:
    """Draw one target and everything forged from it; each frame of the target is drawn once."""
    random = np.random.default_rng((*seed, job.target, 0))
    target = draw_identity(np.random.default_rng((*seed, job.target, 1)))
    scene = draw_scene(random, job.crf)
    motion = draw_motion(random, int(random.integers(50, 61)), scene.size)
    scene = replace(scene, phase=random.random()) if job.tempo else scene
    forgers: dict[str, tuple[Forgery, int]] = {}
    for name, (family, source) in job.forgeries.items():
        forgers[name] = (FAMILIES | TEMPORAL)[family](random, job.strength * random.uniform(0.8, 1.25)), source
    people = {source: draw_identity(np.random.default_rng((*seed, source, 1))) for _, source in forgers.values()}
    with Encoders(root, (job.original, *forgers), scene.size, scene.quality, job.tempo) as videos:
        for index in range(len(motion)):
            camera = hunting(scene, scene.phase + index / PERIOD) if job.tempo else scene
            frame = shoot(camera, compose(scene, draw_face(target, motion, index), motion, index), random)
            videos.write(job.original, frame)
            for name, (forge, source) in forgers.items():
                videos.write(name, forge(Shot(frame, index, scene, target, people[source], motion)))


class Encoders:
    """H.264 files that are written side by side."""

    def __init__(self, root: Path, names: Sequence[str], size: tuple[int, int], crf: int, intra: bool = False) -> None:
        rate = {"qp": str(crf), "g": "1"} if intra else {"crf": str(crf)}
        self._open = {name: self._start(root / name, size, rate) for name in names}

    def write(self, name: str, frame: np.ndarray) -> None:
        """Append one RGB frame to one file."""
        container, stream = self._open[name]
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))

    def __enter__(self) -> "Encoders":
        return self

    def __exit__(self, *error: object) -> None:
        for container, stream in self._open.values():
            container.mux(stream.encode())
            container.close()

    @staticmethod
    def _start(
        path: Path, size: tuple[int, int], rate: dict[str, str]
    ) -> tuple[av.container.OutputContainer, av.VideoStream]:
        path.parent.mkdir(parents=True, exist_ok=True)
        container = av.open(str(path), "w")
        container.metadata["comment"] = MARK
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        # with its look-ahead, x264 now and then made other bytes of the same pixels; without, it never did
        exact = "bframes=0:mbtree=0:rc-lookahead=0"
        stream.options = {**rate, "preset": "veryfast", "threads": "1", "x264-params": exact}
        return container, stream


def _columns(jobs: Sequence[Job]) -> Iterator[list[str]]:
    """Return, for the contact sheet, the files of a few targets: the original and what was made from it."""
    forged = [job for job in jobs if job.forgeries]
    for job in forged[:: max(1, len(forged) // 6)][:6]:
        yield [job.original, *job.forgeries]
