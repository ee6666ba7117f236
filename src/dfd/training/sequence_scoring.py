"""A localiser behind the loops: candidates of every file are kept, and decoded into proposals of stretches of time."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import torch

from dfd.core import segments
from dfd.core.records import FAKE, STREAMS, Record, Stream
from dfd.core.tensors import Localised, SequenceBatch
from dfd.metrics.proposals import Candidates, Decoding, decode
from dfd.metrics.segments import THRESHOLDS, Spans, average_precision, overlaps, scorer, true_positives, video_auc
from dfd.models.localisation.candidates import candidates
from dfd.training.trained import Trained

TOGETHER = 64  # files decoded at a time


class SegmentRows(NamedTuple):
    """Stretches as arrays of one length: seconds, position of the stream in `STREAMS`, score."""

    video: np.ndarray
    start: np.ndarray
    end: np.ndarray
    stream: np.ndarray
    score: np.ndarray


class SequenceScoring(Trained):
    """A localiser: rows are candidates, the points with a score; tables hold what decoding makes of them.

    The windows of a long file are decoded together. `decoding` says how (`metrics.proposals.Decoding`); the other
    arguments are those of `Trained`.
    """

    pictures = ()
    on_cpu = ("t", "draw", "segments", "forged")
    table_file = "segments.parquet"
    stream: ClassVar[Stream] = "both"  # of every proposal, where the network does not tell streams apart

    def __init__(self, *args: Any, decoding: Mapping[str, Any] | Decoding | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.decoding = decoding if isinstance(decoding, Decoding) else Decoding(**(decoding or {}))

    def answer(self, batch: SequenceBatch) -> Localised:
        """Show the network the streams and which of their steps lie within the video."""
        return self.network(batch["streams"], batch["mask"])

    def rows_of(self, output: Localised, batch: SequenceBatch) -> SegmentRows:
        """Return the candidates of a batch."""
        found = candidates(self.network, output, batch["t"], self.decoding.min_score, self.stream)
        return SegmentRows(batch["video"].cpu().numpy()[found.row], *found[1:])

    def finish(self, split: str) -> SegmentRows:
        """Join the candidates of all batches and ranks, dropping files that a distributed sampler repeated."""
        pending, self._pending = self._pending, []
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            shares: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(shares, pending)
            pending = [rows for share in shares for rows in share]
        seen: set[int] = set()
        parts = []
        for rows in pending:  # all windows of a file are in one batch
            videos = set(np.unique(rows.video).tolist())
            new = np.isin(rows.video, list(videos - seen))
            seen |= videos
            parts.append([column[new] for column in rows])
        self.rows[split] = SegmentRows(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        return self.rows[split]

    def judge(self, rows: SegmentRows) -> dict[str, float]:
        """Return AP at an IoU of 0.5 and its mean over thresholds, AR, and the AUC of files, by ActivityNet's rules."""
        records = self.trainer.datamodule.records("val")  # type: ignore[attr-defined]
        return judged(decoded(rows, self.decoding), records)

    def table(self, rows: SegmentRows, records: Sequence[Record]) -> pd.DataFrame:
        """Return the segment table."""
        return segment_table(decoded(rows, self.decoding), records)


def decoded(rows: SegmentRows, how: Decoding) -> SegmentRows:
    """Turn candidates into proposals, file by file."""
    order = np.argsort(rows.video, kind="stable")
    rows = SegmentRows(*(column[order] for column in rows))
    videos, begins, counts = np.unique(rows.video, return_index=True, return_counts=True)
    parts = []
    for at in range(0, len(videos), TOGETHER):
        span = slice(at, at + TOGETHER)
        places = begins[span, None] + np.arange(counts[span].max())
        held = np.arange(counts[span].max()) < counts[span, None]
        places = np.where(held, places, 0)
        pairs = np.stack([rows.start[places], rows.end[places]], -1)
        picks = decode(Candidates(pairs, np.where(held, rows.score[places], 0)), how)
        for video, pick, place in zip(videos[span], picks, places):
            start, end = pick.segments.astype(float).T
            stream = rows.stream[place[pick.chosen]]
            parts.append((np.full(len(start), video), start.clip(min=0), end, stream, pick.scores))
    if not parts:
        return rows
    found = SegmentRows(*(np.concatenate(column) for column in zip(*parts)))
    return SegmentRows(*(column[found.end > found.start] for column in found))


def judged(proposals: SegmentRows, records: Sequence[Record]) -> dict[str, float]:
    """Return the numbers of a whole validation split; NaN without a forged stretch."""
    held = [(place, *segment[:2]) for place, record in enumerate(records) for segment in record.segments]
    clip, start, end = np.array(held, float).reshape(-1, 3).T
    truth = Spans(clip.astype(int), start, end)
    spans = Spans(proposals.video, proposals.start, proposals.end, proposals.score)
    found = overlaps(spans, truth, len(records))
    numbers = scorer(found, "activitynet", (), (10,))(None)
    precision = [average_precision(found, true_positives(found, at, "activitynet"), "activitynet") for at in THRESHOLDS]
    return {
        "val/map": float(np.mean(precision)),
        "val/ap50": precision[0],
        "val/ar10": numbers["ar@10"],
        "val/auc": video_auc(spans, truth, len(records)),
    }


def segment_table(proposals: SegmentRows, records: Sequence[Record]) -> pd.DataFrame:
    """Turn proposals into a segment table by looking their files up among the records of the split."""
    shown = [records[video] for video in proposals.video]
    columns = {"dataset": [r.dataset for r in shown], "video": [r.id for r in shown]}
    times = {"start": proposals.start, "end": proposals.end, "stream": np.array(STREAMS)[proposals.stream]}
    return segments.tidy(pd.DataFrame(columns | times | {"score": proposals.score.astype(float)}))


def without_segments(records: Sequence[Record]) -> list[Record]:
    """Return fakes that no stretch is known of: they would count as real."""
    return [record for record in records if record.label == FAKE and not record.segments]
