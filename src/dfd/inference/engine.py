"""The engine: the only way to look at a file; predict, servers, bundles, teachers and benches use it.

A file goes through two halves. The first (decode, find faces, cut, choose views) needs no network and runs ahead in
worker processes; the second (the networks) runs here, on one device.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import cast

import numpy as np
import pandas as pd
import torch

from dfd.core.bank import Fitted
from dfd.core.build import Allowed
from dfd.core.card import Card
from dfd.core.errors import DfdError
from dfd.core.run_folder import run_of
from dfd.evaluation.operating import operating_point_of
from dfd.inference.abstain import load_abstainer, score_with_ood, why_inconclusive
from dfd.inference.sandbox import Limits, OverLimit, through_workers
from dfd.inference.talk_windows import in_order, listen
from dfd.inference.verdict import STRATEGIES, FileResult, Judging, ViewScores, judge_file
from dfd.inference.views import FileViews, ViewExtractor, ViewOptions
from dfd.models.base import Detector, Synchroniser, TalkDetector
from dfd.models.checkpoint import NETWORKS, Loaded, load_network
from dfd.models.devices import autocast, find_device, lay_out
from dfd.models.explain import method_of
from dfd.training.evidence import evidence_picture

ONLY_SAMPLE = "the run was trained on the rendered sample, which says nothing about real media (see allow_sample)"

Progress = Callable[[str, float], None]  # stage ("decode", "score"), share done


@dataclass(frozen=True)
class Member:
    """One run at work: its network on the device, its card, and how it looks at a file."""

    network: Detector
    card: Card
    options: ViewOptions
    path: Path


@dataclass
class _Scored:
    """What one run found so far in a file: columns of time, score, person and out-of-distribution score."""

    columns: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    windows: list[pd.DataFrame] = field(default_factory=list)
    evidence: np.ndarray | None = None
    rendered: bool = False
    reason: str = ""
    kind: str = ""


class Engine:
    """Judges files with one run, or with the mean of several.

    Args:
        members: the runs.
        judging: how scores become verdicts.
        batch_size: views that the network sees at once.
        abstainer: an out-of-distribution detector of the first run: what it rejects is inconclusive.
        explain: whether the first run also draws what speaks for "fake", and by which method (models/explain.py).
        allow_sample: let runs that were trained on the rendered sample judge real media.
    """

    def __init__(
        self,
        members: Sequence[Member],
        judging: Judging,
        batch_size: int = 32,
        abstainer: Fitted | None = None,
        explain: bool | str = False,
        allow_sample: bool = False,
    ) -> None:
        self.members, self.judging, self.allow_sample = tuple(members), judging, allow_sample
        self.batch_size, self.abstainer, self.explain = max(1, batch_size), abstainer, explain
        self.extractor = ViewExtractor([member.options for member in members])

    @classmethod
    def load(
        cls,
        run: str | Path | Sequence[str | Path],
        device: str = "auto",
        *,
        frames: int | None = None,
        faces: int = 1,
        threshold: float | None = None,
        strategy: str | None = None,
        ood: str | None = None,
        explain: bool | str = False,
        batch_size: int = 32,
        allow_sample: bool = False,
        networks: Allowed = NETWORKS,
    ) -> "Engine":
        """Load a run folder or a checkpoint, or several, ready to judge.

        Args:
            run: one run or several, whose scores are averaged.
            device: auto, cpu, cuda, cuda:1, mps.
            frames: frames of a video that an image network sees; None: as in the run's evaluation.
            faces: at most so many people of a video.
            threshold: of the score; None: what the run's validation chose, else 0.5.
            strategy: how views become the file's score; None: as validation pooled.
            ood: name of a fitted out-of-distribution detector of the run, or its file.
            explain: draw what in the most suspect view speaks for "fake": true (HiResCAM), gradcam or gradcam++.
            batch_size: views that the network sees at once.
            allow_sample: let a run that was trained on the rendered sample judge real media.
            networks: packages whose networks may be built.
        """
        method_of(explain)
        names = [run] if isinstance(run, (str, Path)) else list(run)
        _check(len(names), frames, faces, strategy, ood)
        where = find_device(device)
        loaded = [load_network(Path(name), networks) for name in names]
        members = [_member(one, where, frames, faces) for one in loaded]
        alone = len(loaded) == 1 and threshold is None and strategy is None
        checkpoint = loaded[0].path
        judging = Judging(
            operating_point_of(run_of(checkpoint), checkpoint) if alone else None,
            0.5 if threshold is None else threshold,
            strategy or "mean",
            members[0].card.looking.tracks,  # type: ignore[arg-type]
        )
        return cls(members, judging, batch_size, load_abstainer(run_of(checkpoint), ood), explain, allow_sample)

    @property
    def device(self) -> torch.device:
        """Where the networks compute."""
        return self.members[0].network.device

    @property
    def trained_on_sample(self) -> bool:
        """Whether any of the runs was trained on the rendered sample."""
        return any(member.card.sample for member in self.members)

    @property
    def checkpoints(self) -> list[Path]:
        """Files of the networks."""
        return [member.path for member in self.members]

    def judge(self, path: str | Path, on_progress: Progress | None = None) -> FileResult:
        """Judge one file in this process."""
        report = on_progress or (lambda stage, share: None)
        report("decode", 0.0)
        views = self.extractor(Path(path))
        report("score", 0.5)
        result = self.decide(Path(path), views)
        report("score", 1.0)
        return result

    def judge_all(
        self, paths: Iterable[str | Path], workers: int | None = None, limits: Limits | None = None
    ) -> Iterator[FileResult]:
        """Judge files in order.

        Args:
            paths: the files.
            workers: processes that prepare the next files while the network judges one, within `limits`; None takes
                one per core, 0 prepares in this process, without limits.
            limits: seconds and memory that one file may take.
        """
        yield from through_workers(paths, self.extractor, FileViews, self.decide, workers, limits)

    def decide(self, path: Path, views: Iterable[FileViews]) -> FileResult:
        """Score what the runs see of a file, as it comes, and judge the file."""
        found = [_Scored() for _ in self.members]
        try:
            for seen in views:
                self._score(seen, found[seen.run])
            scored = [self._whole(member, parts) for member, parts in zip(self.members, found, strict=True)]
        except OverLimit as error:
            scored = [ViewScores(reason=str(error), kind=error.reason) for _ in self.members]
        return judge_file(path, scored, self.judging)

    @torch.no_grad()
    def _score(self, seen: FileViews, found: _Scored) -> None:
        """Add the scores of some views of a file to those that its run found before."""
        found.rendered = seen.rendered
        if seen.reason:
            found.reason, found.kind = seen.reason, seen.kind
            return
        member, first = self.members[seen.run], seen.run == 0
        abstainer = self.abstainer if first else None
        device = member.network.device
        scores: list[tuple[np.ndarray, np.ndarray]] = []
        with autocast(device, member.card.looking.precision):
            for start in range(0, len(seen.pixels), self.batch_size):
                part = slice(start, start + self.batch_size)
                pixels = member.network.pixels(torch.from_numpy(seen.pixels[part]).to(device))
                if seen.sound is None or seen.length is None:
                    scores.append(score_with_ood(member.network, pixels, abstainer))
                    continue
                network = cast(TalkDetector, member.network)
                heard = (seen.sound[part], seen.length[part], seen.t[part])
                fake, details = listen(network, pixels, *heard, details=bool(self.explain) and first)
                scores.append((fake, np.full(len(fake), -np.inf)))
                found.windows += [] if details is None else [details]
        score, ood = (np.concatenate(column) for column in zip(*scores, strict=True))
        found.columns.append((seen.t, score, seen.track, ood))
        if self.explain and first and seen.sound is None:
            found.evidence = self._evidence(member, seen.pixels[score.argmax()])

    def _whole(self, member: Member, found: _Scored) -> ViewScores:
        """Put together what one run found in a file."""
        if found.reason or not found.columns:
            return ViewScores(reason=found.reason, kind=found.kind)
        t, score, track, ood = (np.concatenate(column) for column in zip(*found.columns, strict=True))
        abstainer = self.abstainer if member is self.members[0] else None
        result = ViewScores(
            t,
            score,
            track,
            ood=float(ood.mean()) if abstainer is not None else None,
            unlike=why_inconclusive(ood, abstainer),
            evidence=found.evidence,
            windows=in_order(found.windows) if found.windows else None,
        )
        if member.card.sample and not found.rendered and not self.allow_sample:
            return replace(result, unlike=ONLY_SAMPLE, unlike_kind="trained_on_sample")
        return result

    def _evidence(self, member: Member, view: np.ndarray) -> np.ndarray:
        frames, method = view if view.ndim == 4 else view[None], method_of(self.explain)
        return evidence_picture(member.network, frames, method or "hirescam")

    def __enter__(self) -> "Engine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.members = ()


def _member(loaded: Loaded, device: torch.device, frames: int | None, faces: int) -> Member:
    if isinstance(loaded.network, Synchroniser):
        raise DfdError(
            f"{loaded.path} measures delays between lips and voice and does not judge: train a detector over it, "
            f"model=av_anomaly model.base={run_of(loaded.path)}"
        )
    network = cast(Detector, loaded.network.folded()).to(device)
    lay_out(network, device)
    return Member(network, loaded.card, ViewOptions.of(loaded.card, network.input, frames, faces), loaded.path)


def _check(runs: int, frames: int | None, faces: int, strategy: str | None, ood: str | None) -> None:
    if strategy is not None and strategy not in STRATEGIES:
        raise DfdError(f"strategy={strategy}: allowed are {', '.join(sorted(STRATEGIES))}")
    if faces < 1 or (frames is not None and frames < 1):
        raise DfdError(f"faces={faces}, frames={frames}: at least one of each is looked at")
    if ood is not None and runs > 1:
        raise DfdError("ood= belongs to one run: give one run=")
