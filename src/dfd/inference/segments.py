"""A localiser looks at a file: features as its run extracted them, proposals as its validation decoded them.

Long files are seen through windows that overlap by half; a recording of hours is fine.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dfd.core.build import Allowed
from dfd.core.card import Card
from dfd.core.errors import DfdError
from dfd.core.records import FAKE as FORGED
from dfd.core.records import STREAMS, Record
from dfd.core.run_folder import run_of
from dfd.data.collate import collate
from dfd.data.features import FeatureFacts
from dfd.data.overlay import data_url
from dfd.data.sequences import SequenceViews
from dfd.evaluation.localisation.decoding import stored_decoding
from dfd.evaluation.localisation.timeline import Stretch, timeline
from dfd.inference.engine import ONLY_SAMPLE
from dfd.inference.file_features import HEARD, SHOWN, FeatureReader, FileFeatures
from dfd.inference.sandbox import Limits, OverLimit, through_workers
from dfd.inference.verdict import FAKE, INCONCLUSIVE, NOT_JUDGED, REAL
from dfd.metrics.proposals import Candidates, Decoding, decode
from dfd.models.base import Localiser
from dfd.models.checkpoint import NETWORKS, load_network
from dfd.models.devices import find_device
from dfd.models.localisation.candidates import Found, candidates

ROWS = 16  # windows that the network sees at once
BELIEVED = 0.5  # score from which a stretch makes a file fake, unless another threshold is asked for


@dataclass(frozen=True)
class Located:
    """What was found in one file: proposals by falling score, its seconds; or why it could not be judged.

    `verdict` is that of the best proposal; `pictures` (seconds and a data URL) and `loudness` are for a timeline.
    """

    path: Path
    proposals: list[Stretch] = field(default_factory=list)
    duration: float = 0.0
    verdict: str = NOT_JUDGED
    reason: str = ""
    kind: str = ""
    pictures: list[tuple[float, str]] = field(default_factory=list, repr=False)
    loudness: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)

    @property
    def judged(self) -> bool:
        """Whether the file could be looked at."""
        return self.verdict != NOT_JUDGED

    @property
    def score(self) -> float:
        """How forged the file looks: the score of its best proposal."""
        return max((proposal.score for proposal in self.proposals), default=0.0)

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        plain = {**self.__dict__, "path": str(self.path), "loudness": self.loudness.tolist()}
        return plain | {"proposals": [list(proposal) for proposal in self.proposals]}

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> "Located":
        """Return what `plain` was made of."""
        proposals = [Stretch(*row) for row in plain["proposals"]]
        pictures = [(float(t), str(url)) for t, url in plain["pictures"]]
        made = {"path": Path(plain["path"]), "proposals": proposals, "pictures": pictures}
        return cls(**{**plain, **made, "loudness": np.array(plain["loudness"], float)})


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
    """Finds forged stretches of files with one run.

    Args:
        network: the localiser.
        card: of its checkpoint.
        decoding: how candidates become proposals.
        path: of the checkpoint.
        allow: what may be built.
        threshold: score of the best proposal from which a file is fake.
        allow_sample: let a run that was trained on the rendered sample judge real media.
    """

    def __init__(
        self,
        network: Localiser,
        card: Card,
        decoding: Decoding,
        path: Path,
        allow: Allowed,
        threshold: float = BELIEVED,
        allow_sample: bool = False,
    ) -> None:
        if not card.features:
            raise DfdError(f"{path} does not say how its features are made: evaluate it on a dataset with eval.py")
        if card.features.get("pca"):
            raise DfdError(f"{path} reads features reduced by data.features.pca, which it does not hold: use eval.py")
        self.network, self.card, self.decoding, self.path = network.eval(), card, decoding, path
        self.threshold, self.allow_sample = threshold, allow_sample
        trees = [tree for tree in card.features["extractors"].values() if tree is not None]
        self.reader = FeatureReader(trees, card.features["dtype"], allow)
        extractors = self.reader.extractors
        if not all(hasattr(extractor, "streams") and hasattr(extractor, "identity") for extractor in extractors):
            raise DfdError(f"{path} reads features of other programs: extract them as those do, then use eval.py")
        self._facts = {stream.name: stream for extractor in extractors for stream in extractor.streams}

    @classmethod
    def load(
        cls,
        run: str | Path,
        device: str = "auto",
        allow: Allowed = NETWORKS,
        threshold: float = BELIEVED,
        allow_sample: bool = False,
    ) -> "SegmentEngine":
        """Load a run folder or a checkpoint."""
        loaded = load_network(Path(run), allow)
        if loaded.network.input.kind != "sequence":
            raise DfdError(f"{run} is not a localiser: it takes {loaded.network.input.kind!r}")
        network: Any = loaded.network.to(find_device(device))
        decoding = stored_decoding(run_of(loaded.path))
        return cls(network, loaded.card, decoding, loaded.path, Allowed(allow.plugins), threshold, allow_sample)

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.network.device

    @property
    def trained_on_sample(self) -> bool:
        """Whether the run was trained on the rendered sample."""
        return self.card.sample

    @property
    def checkpoints(self) -> list[Path]:
        """Files of the networks."""
        return [self.path]

    def judge(self, path: str | Path) -> Located:
        """Look at one file in this process."""
        return self.decide(Path(path), self.reader(Path(path)))

    def judge_all(
        self, paths: Iterable[str | Path], workers: int | None = None, limits: Limits | None = None
    ) -> Iterator[Located]:
        """Look at files in order; `workers` processes extract the features of the next ones, within `limits`.

        None takes a process per core, 0 extracts in this one, without limits.
        """
        yield from through_workers(paths, self.reader, FileFeatures, self.decide, workers, limits)

    def decide(self, path: Path, features: Iterable[FileFeatures]) -> Located:
        """Find the forged stretches in what was extracted of a file, and judge it by the best of them."""
        try:
            seen = list(features)
        except OverLimit as error:
            return Located(path, reason=str(error), kind=error.reason)
        if seen[0].reason:
            return Located(path, reason=seen[0].reason, kind=seen[0].kind)
        drawn = {each.stream: each for each in seen if each.stream in (SHOWN, HEARD)}
        try:
            found = self._candidates(path, {each.stream: each.rows for each in seen if each.stream not in drawn})
        except DfdError as error:
            return Located(path, reason=" ".join(str(error).split()), kind="no_features")
        proposals = self._proposals(found, seen[0].seconds)
        best = max((proposal.score for proposal in proposals), default=0.0)
        verdict, reason, kind = (FAKE if best >= self.threshold else REAL), "", ""
        if self.card.sample and not seen[0].rendered and not self.allow_sample:
            verdict, reason, kind = INCONCLUSIVE, ONLY_SAMPLE, "trained_on_sample"
        shown, heard = drawn[SHOWN], drawn[HEARD]
        pictures = [(float(t), data_url(rows.transpose(2, 0, 1))) for t, rows in zip(shown.t, shown.rows, strict=True)]
        return Located(path, proposals, seen[0].seconds, verdict, reason, kind, pictures, heard.rows)

    @torch.no_grad()
    def _candidates(self, path: Path, rows: dict[str, np.ndarray]) -> Found:
        missing = [s.name for s in self.network.input.streams if not len(rows.get(s.name, ()))]
        if len(missing) == len(self.network.input.streams):
            raise DfdError(f"{path} has nothing for {', '.join(missing)}")
        sources = {name: InMemory(self._facts[name], held) for name, held in rows.items()}
        record = Record(path.name, "file", "test", FORGED, str(path), path.name)
        view = collate([SequenceViews([record], sources, self.network.input)[0]])
        parts = []
        for at in range(0, len(view["t"]), ROWS):
            streams = {name: values[at : at + ROWS].to(self.device) for name, values in view["streams"].items()}
            output = self.network(streams, view["mask"][at : at + ROWS].to(self.device))
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
        located.duration, located.proposals, truth, located.pictures, located.loudness, title=located.path.name
    )
