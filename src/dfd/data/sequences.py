"""Feature streams to the grid of a network: aligned in seconds, cut to windows, with forged stretches as targets.

Every stream has a rate and a start of its own; step i of a window that begins at t describes the moment
t + (i + 1/2) / rate. Rows are interpolated between, or averaged where a stream is faster than the grid. Nothing is ever
aligned by the ratio of lengths, which would shift labels by the difference of two clocks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

import numpy as np
from torch.utils.data import Dataset

from dfd.core.errors import DfdError
from dfd.core.records import FAKE, STREAMS, FeatureStream, Record, Segment, SequenceInput, Stream
from dfd.data.features import FeatureFacts, Source
from dfd.data.views import Visit

VISIBLE = 0.5  # the share of a forged stretch that a window must show for it to be a target
TRIES = 20  # for a window that shows one
AVERAGED = 1.5  # rows to a step from which on they are averaged


class Window(NamedTuple):
    """A part of a record, in seconds."""

    start: float
    end: float


class SequenceView(TypedDict):
    """Windows of one record: streams (K, width, L) by name, mask (K, L), t (K,); targets of every window in seconds."""

    streams: dict[str, np.ndarray]
    mask: np.ndarray
    label: int
    video: int
    t: np.ndarray
    draw: np.ndarray
    segments: list[np.ndarray]
    forged: list[np.ndarray]


@dataclass(frozen=True)
class SequenceAugment:
    """What is random about a window in training.

    Args:
        crop: the shortest part of a clip that is shown; a fake keeps at least one forged stretch.
        noise: the standard deviation of what is added to every value, in units of that value's own over time.
        drop: how often one of several streams is blanked.
    """

    crop: float = 0.9
    noise: float = 0.0
    drop: float = 0.0


class SequenceViews(Dataset[SequenceView]):
    """Windows of the features of records, indexed by a `Visit`.

    A visit with a seed is one random window; without one, as many windows as cover the record, overlapping by half, so
    that a recording of any length is seen whole.
    """

    def __init__(
        self,
        records: Sequence[Record],
        sources: Mapping[str, Source],
        input: SequenceInput,
        augment: SequenceAugment | None = None,
    ) -> None:
        self.records, self.input, self.augment = tuple(records), input, augment
        self.sources = {stream.name: sources[stream.name] for stream in input.streams}
        for stream in input.streams:
            _refuse_others(stream, self.sources[stream.name].facts)
        self.seconds = [duration(record, self.sources) for record in self.records]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, visit: Visit | int) -> SequenceView:
        video, seed = visit if isinstance(visit, tuple) else (visit, None)
        if seed is None:
            windows, random, draw = cover(self.seconds[video], self.input.seconds), None, 0
        else:
            random = np.random.default_rng(seed)
            draw = int(random.integers(2**31))
            windows = [self._random_window(video, random)]
        record = self.records[video]
        ends = np.array([window.end for window in windows])
        starts = np.array([window.start for window in windows])
        mask = starts[:, None] + (np.arange(self.input.length) + 0.5) / self.input.rate < ends[:, None]
        streams = {name: self._stream(source, record, windows, mask) for name, source in self.sources.items()}
        if random is not None and self.augment is not None:
            streams = _changed(streams, mask, self.augment, random)
        seen = [self._shown(visible(record.segments, window), streams) for window in windows]
        return SequenceView(
            streams=streams,
            mask=mask,
            label=record.label,
            video=video,
            t=starts,
            draw=np.full(len(windows), draw, np.int64),
            segments=[np.array([s[:2] for s in segments], np.float64).reshape(-1, 2) for segments in seen],
            forged=[np.array([STREAMS.index(s.stream) for s in segments], np.int64) for segments in seen],
        )

    def _stream(self, source: Source, record: Record, windows: Sequence[Window], mask: np.ndarray) -> np.ndarray:
        rows, facts = source.read(record), source.facts
        values = [on_grid(rows, facts.rate, facts.start, window.start, self.input) for window in windows]
        return np.where(mask[:, None], np.stack(values), np.float32(0))

    def _shown(self, segments: list[Segment], streams: Mapping[str, np.ndarray]) -> list[Segment]:
        """Return the stretches that the streams can still show: of a blanked modality nothing can be found."""
        blank = {
            modality
            for modality in ("video", "audio")
            if (named := [n for n, source in self.sources.items() if source.facts.modality == modality])
            and not any(streams[name].any() for name in named)
        }
        other: dict[str, Stream] = {"video": "audio", "audio": "video"}
        kept = [segment for segment in segments if segment.stream not in blank]
        return [s._replace(stream=other[min(blank)]) if s.stream == "both" and blank else s for s in kept]

    def _random_window(self, video: int, random: np.random.Generator) -> Window:
        """Choose a part of a record; of a fake, one that shows a forged stretch if any of the tries does."""
        record, seconds = self.records[video], self.seconds[video]
        share = 1.0 if self.augment is None else random.uniform(self.augment.crop, 1)
        length = min(share * seconds, self.input.seconds)
        window = Window(0.0, min(seconds, self.input.seconds))
        for _ in range(TRIES):
            start = random.uniform(0, seconds - length) if seconds > length else 0.0
            window = Window(start, start + length)
            if record.label != FAKE or not record.segments or visible(record.segments, window):
                break
        return window


def on_grid(rows: np.ndarray, rate: float, start: float, begin: float, spec: SequenceInput) -> np.ndarray:
    """Return rows (T, C) of a stream on the grid of a window that begins at `begin`: (C, length).

    Beyond its ends a stream keeps its first or last row; one that has no rows at all is zero.
    """
    if not len(rows):
        return np.zeros((rows.shape[1], spec.length), np.float32)
    wanted = (begin + (np.arange(spec.length) + 0.5) / spec.rate - start) * rate  # as a position among the rows
    ratio = rate / spec.rate
    low = int(np.clip(np.floor(wanted[0] - ratio), 0, len(rows) - 1))
    high = int(np.clip(np.ceil(wanted[-1] + ratio) + 1, low + 1, len(rows)))
    part = np.asarray(rows[low:high], np.float32)  # the only rows that are read from the disk
    wanted = np.clip(wanted - low, 0, len(part) - 1)
    if ratio > AVERAGED:
        return _averaged(part, wanted, ratio)
    left = np.floor(wanted).astype(int)
    right = np.minimum(left + 1, len(part) - 1)
    share = (wanted - left).astype(np.float32)[:, None]
    return (part[left] * (1 - share) + part[right] * share).T


def _averaged(part: np.ndarray, wanted: np.ndarray, ratio: float) -> np.ndarray:
    """Return the means of the rows whose middles lie within each step."""
    sums = np.concatenate([np.zeros((1, part.shape[1])), np.cumsum(part, 0, dtype=np.float64)])
    first = np.clip(np.ceil(wanted - ratio / 2 - 1e-6).astype(int), 0, len(part) - 1)
    last = np.clip(np.ceil(wanted + ratio / 2 - 1e-6).astype(int), first + 1, len(part))
    return ((sums[last] - sums[first]) / (last - first)[:, None]).T.astype(np.float32)


def visible(segments: Sequence[Segment], window: Window) -> list[Segment]:
    """Return the forged stretches of which a window shows at least half, cut at its ends."""
    seen = []
    for segment in segments:
        start, end = max(segment.start, window.start), min(segment.end, window.end)
        if end - start >= VISIBLE * (segment.end - segment.start) and end > start:
            seen.append(Segment(start, end, segment.stream))
    return seen


def duration(record: Record, sources: Mapping[str, Source]) -> float:
    """Return how many seconds of a record there are features of; none at all is an error."""
    seconds = max(source.facts.seconds(source.rows(record)) for source in sources.values())
    if seconds <= 0:
        raise DfdError(f"{record.dataset}: {record.id} has no row in any of its streams: leave it out")
    return seconds


def cover(seconds: float, length: float) -> list[Window]:
    """Return windows of at most `length` seconds that cover a recording, neighbours overlapping by half or more."""
    if seconds <= length * (1 + 1e-9):
        return [Window(0.0, seconds)]
    count = int(np.ceil((seconds - length) / (length / 2))) + 1
    return [Window(float(start), float(start) + length) for start in np.linspace(0, seconds - length, count)]


def _refuse_others(stream: FeatureStream, facts: FeatureFacts) -> None:
    if stream.width != facts.dimension or not np.isclose(stream.rate, facts.rate):
        raise DfdError(
            f"the network was built for {stream.width} values of {stream.name} at {stream.rate:g} Hz, these features "
            f"have {facts.dimension} at {facts.rate:g} Hz: extract them as its run did, or train it on these"
        )


def _changed(
    streams: dict[str, np.ndarray], mask: np.ndarray, augment: SequenceAugment, random: np.random.Generator
) -> dict[str, np.ndarray]:
    names = sorted(streams)
    if augment.noise:
        for name in names:
            spread = streams[name][0][:, mask[0]].std(1)[None, :, None]
            noise = random.standard_normal(streams[name].shape, np.float32) * mask[:, None]
            streams[name] = streams[name] + np.float32(augment.noise) * spread * noise
    if augment.drop and len(names) > 1 and random.random() < augment.drop:
        name = names[int(random.integers(len(names)))]
        streams[name] = np.zeros_like(streams[name])
    return streams


def statistics(
    records: Sequence[Record], sources: Mapping[str, Source], limit: int = 512
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return mean and standard deviation (C,) of every stream over at most `limit` records spread over those given."""
    chosen = [records[i] for i in np.unique(np.linspace(0, len(records) - 1, min(limit, len(records))).astype(int))]
    found = {}
    for name, source in sources.items():
        count, total, squares = 0, np.zeros(source.facts.dimension), np.zeros(source.facts.dimension)
        for record in chosen:
            rows = np.asarray(source.read(record), np.float64)
            count, total, squares = count + len(rows), total + rows.sum(0), squares + (rows**2).sum(0)
        if not count:
            raise DfdError(f"the stream {name!r} has no row in any of {len(chosen)} records")
        mean = total / count
        found[name] = mean, np.sqrt(np.maximum(squares / count - mean**2, 1e-8))
    return found
