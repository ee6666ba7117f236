"""A localiser looks at a file: features as its run extracted them, proposals as its validation decoded them.

Long files are seen through windows that overlap by half; a recording of hours is fine.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from dfd.core.build import Allowed, build
from dfd.core.card import Card
from dfd.core.errors import DfdError
from dfd.core.records import FAKE, STREAMS, Record
from dfd.core.run_folder import run_of
from dfd.data.audio import read_sound
from dfd.data.collate import collate
from dfd.data.features import FeatureFacts
from dfd.data.overlay import data_url
from dfd.data.sequences import SequenceViews
from dfd.data.video import BadVideo, open_video
from dfd.evaluation.localisation.decoding import stored_decoding
from dfd.evaluation.localisation.timeline import Stretch, timeline
from dfd.metrics.proposals import Candidates, Decoding, decode
from dfd.models.base import Localiser
from dfd.models.checkpoint import NETWORKS, load_network
from dfd.models.devices import find_device
from dfd.models.localisation.candidates import Found, candidates
from dfd.preprocess.features.extract import extract

PICTURES, LOUDNESS = 8, 240  # of a timeline
ROWS = 16  # windows that the network sees at once


@dataclass(frozen=True)
class Located:
    """What was found in one file: proposals by falling score, its seconds; or why it could not be judged."""

    path: Path
    proposals: list[Stretch] = field(default_factory=list)
    duration: float = 0.0
    reason: str = ""

    @property
    def score(self) -> float:
        """How forged the file looks: the score of its best proposal."""
        return max((proposal.score for proposal in self.proposals), default=0.0)


@dataclass(frozen=True)
class InMemory:
    """The rows of one stream of one file that was just extracted."""

    facts: FeatureFacts
    held: np.ndarray

    def rows(self, record: Record) -> int:
        """Return how many rows there are."""
        return len(self.held)

    def read(self, record: Record) -> np.ndarray:
        """Return the rows."""
        return self.held


class SegmentEngine:
    """Finds forged stretches of files with one run."""

    def __init__(self, network: Localiser, card: Card, decoding: Decoding, path: Path, allow: Allowed) -> None:
        if not card.features:
            raise DfdError(f"{path} does not say how its features are made: evaluate it on a dataset with eval.py")
        if card.features.get("pca"):
            raise DfdError(f"{path} reads features reduced by data.features.pca, which it does not hold: use eval.py")
        self.network, self.card, self.decoding, self.path = network.eval(), card, decoding, path
        trees = [tree for tree in card.features["extractors"].values() if tree is not None]
        self.extractors = [build(tree, allow, "extractors") for tree in trees]
        if not all(hasattr(extractor, "streams") and hasattr(extractor, "identity") for extractor in self.extractors):
            raise DfdError(f"{path} reads features of other programs: extract them as those do, then use eval.py")

    @classmethod
    def load(cls, run: str | Path, device: str = "auto", allow: Allowed = NETWORKS) -> "SegmentEngine":
        """Load a run folder or a checkpoint."""
        loaded = load_network(Path(run), allow)
        if loaded.network.input.kind != "sequence":
            raise DfdError(f"{run} is not a localiser: it takes {loaded.network.input.kind!r}")
        network: Any = loaded.network.to(find_device(device))
        return cls(network, loaded.card, stored_decoding(run_of(loaded.path)), loaded.path, Allowed(allow.plugins))

    def locate(self, path: str | Path) -> Located:
        """Return the forged stretches that a file seems to have; a file that cannot be read has a reason."""
        path = Path(path)
        try:
            extracted = extract(path, self.extractors, self.card.features["dtype"])  # type: ignore[index]
            found = self._candidates(path, extracted.rows)
        except (BadVideo, DfdError) as error:
            return Located(path, reason=" ".join(str(error).split()))
        return Located(path, self._proposals(found, extracted.seconds), extracted.seconds)

    def locate_all(self, paths: Iterable[str | Path]) -> Iterator[Located]:
        """Look at files in order."""
        yield from map(self.locate, paths)

    @torch.no_grad()
    def _candidates(self, path: Path, rows: dict[str, np.ndarray]) -> Found:
        facts = {stream.name: stream for extractor in self.extractors for stream in extractor.streams}
        missing = [s.name for s in self.network.input.streams if not len(rows.get(s.name, ()))]
        if len(missing) == len(self.network.input.streams):
            raise DfdError(f"{path} has nothing for {', '.join(missing)}")
        sources = {name: InMemory(facts[name], held) for name, held in rows.items()}
        record = Record(path.name, "file", "test", FAKE, str(path), path.name)
        view = collate([SequenceViews([record], sources, self.network.input)[0]])
        device = self.network.device
        parts = []
        for at in range(0, len(view["t"]), ROWS):
            streams = {name: values[at : at + ROWS].to(device) for name, values in view["streams"].items()}
            output = self.network(streams, view["mask"][at : at + ROWS].to(device))
            parts.append(candidates(self.network, output, view["t"][at : at + ROWS], self.decoding.min_score))
        return Found(*(np.concatenate(column) for column in zip(*parts)))

    def _proposals(self, found: Found, seconds: float) -> list[Stretch]:
        pairs = np.stack([found.start, found.end], -1)[None]
        picks = decode(Candidates(pairs, found.score[None]), self.decoding, [seconds])[0]
        streams = [STREAMS[stream] for stream in found.stream[picks.chosen]]
        rows = zip(picks.segments.tolist(), picks.scores.tolist(), streams)
        return [Stretch(start, end, score, stream) for (start, end), score, stream in rows if end > start]


def drawing(located: Located, truth: list[Stretch] | None = None) -> str:
    """Return the timeline of a file as SVG, with pictures and sound of it where it has them."""
    return timeline(
        located.duration,
        located.proposals,
        truth,
        pictures_of(located.path),
        loudness_of(located.path),
        located.path.name,
    )


def pictures_of(path: Path, count: int = PICTURES, side: int = 96) -> list[tuple[float, str]]:
    """Return frames spread over a video as (second, data URL); none if it has no pictures."""
    try:
        with open_video(path) as video:
            times = np.asarray(video.times, float)
            chosen = np.unique(np.linspace(0, len(times) - 1, count + 2)[1:-1].astype(int))
            shown = []
            for picture in video.pictures(chosen):
                frame = picture.rgb()
                size = min(frame.shape[:2])
                top, left = ((length - size) // 2 for length in frame.shape[:2])
                square = cv2.resize(frame[top : top + size, left : left + size], (side, side))
                shown.append((float(picture.t), data_url(square.transpose(2, 0, 1))))
            return shown
    except (BadVideo, DfdError):
        return []


def loudness_of(path: Path, count: int = LOUDNESS) -> np.ndarray | None:
    """Return how loud a file is at even steps, in [0, 1]; None if it has no sound."""
    try:
        samples = np.abs(read_sound(path).samples)
    except (BadVideo, DfdError):
        return None
    if not len(samples):
        return None
    edges = np.linspace(0, len(samples), count + 1).astype(int)
    loud = np.array([samples[a:b].max(initial=0.0) for a, b in pairwise(edges)])
    return loud / max(float(loud.max()), 1e-6)
