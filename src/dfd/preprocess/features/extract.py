"""Decode a file once and show it to any number of extractors."""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dfd.data.audio import read_sound, steady
from dfd.data.features import FeatureFacts
from dfd.data.video import BadVideo, Video, open_video
from dfd.preprocess.features.base import FPS, HERTZ, Extractor, Frame, Listens, Looks

FRAMES = 64  # of a stretch at most, besides context
SECONDS = 60.0  # of sound in a stretch
SOUND_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aac", ".m4a")  # files without pictures


@dataclass(frozen=True)
class Extracted:
    """What extractors made of one file: rows by stream, and how long the file is.

    `fps` and `frames` are the video's own, `holes` counts frames that could not be decoded and show the one before.
    """

    rows: dict[str, np.ndarray]
    seconds: float
    fps: float
    frames: int
    samples: int
    holes: int


def extract(path: Path, extractors: Sequence[Extractor], dtype: str = "float32") -> Extracted:
    """Return the features of a file; what it has no pictures or no sound for has no rows."""
    looking = [extractor for extractor in extractors if isinstance(extractor, Looks)]
    listening = [extractor for extractor in extractors if isinstance(extractor, Listens)]
    parts: dict[str, list[np.ndarray]] = {stream.name: [] for e in extractors for stream in e.streams}
    fps = length = 0.0
    frames = holes = 0
    if looking and path.suffix.lower() not in SOUND_SUFFIXES:
        with open_video(path) as video:
            grid = Grid(video)
            _look(grid, looking, parts, dtype)
            fps, frames, length, holes = video.info.fps, video.info.frames, len(grid) / FPS, grid.holes
    samples = _sound(path) if listening else np.zeros(0, np.float32)
    if not frames and not len(samples):
        raise BadVideo(f"{path} holds neither pictures nor sound that an extractor could use", "not_a_video")
    _listen(samples, listening, parts, dtype)
    known = {stream.name: stream for e in extractors for stream in e.streams}
    rows = {name: _joined(known[name], part, dtype) for name, part in parts.items()}
    return Extracted(rows, max(length, len(samples) / HERTZ), fps, frames, len(samples), holes)


class Grid:
    """The frames of a video at a steady rate: at every step the one that is shown then."""

    def __init__(self, video: Video) -> None:
        self.indices = steady(video.times, FPS)
        self.holes = 0
        self._video = video

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Frame]:
        position, last = 0, None
        for picture in self._video.pictures(self.indices):
            frame = Frame(picture)
            while self.indices[position] < picture.index:  # it could not be decoded
                self.holes += 1
                yield last or frame
                position += 1
            while position < len(self) and self.indices[position] == picture.index:
                yield frame
                position += 1
            last = frame
        if last is None:
            raise BadVideo("none of the frames can be decoded")
        for _ in range(position, len(self)):
            self.holes += 1
            yield last


def _sound(path: Path) -> np.ndarray:
    try:
        return read_sound(path, rate=HERTZ).samples
    except BadVideo as error:
        if error.reason != "no_audio":
            raise
        return np.zeros(0, np.float32)


def _look(grid: Grid, extractors: Sequence[Looks], parts: Mapping[str, list[np.ndarray]], dtype: str) -> None:
    """Slide over the frames; every extractor sees its own share of the context."""
    if not extractors:
        return
    before, after = max(e.before for e in extractors), max(e.after for e in extractors)
    together = math.lcm(*(extractor.stride for extractor in extractors))
    size = max(together, FRAMES // together * together)  # a stretch begins with a row of every extractor
    for held, count in _stretches(iter(grid), before, after, size):
        for extractor in extractors:
            seen = held[before - extractor.before : before + count + extractor.after]
            _keep(extractor.look(seen), parts, -(-count // extractor.stride), dtype)


def _stretches(frames: Iterator[Frame], before: int, after: int, size: int) -> Iterator[tuple[list[Frame], int]]:
    """Yield lists of before + count + after frames, the ends repeated, that together have every frame once."""
    ahead: deque[Frame] = deque()
    held: list[Frame] = []
    ended = False
    while True:
        while not ended and len(ahead) < size + after:
            frame = next(frames, None)
            if frame is None:
                ended = True
            else:
                ahead.append(frame)
        count = min(size, len(ahead))
        if not count:
            return
        current = [ahead.popleft() for _ in range(count)]
        held = held or [current[0].repeated()] * before
        following = list(ahead)[:after]
        last = (following or current)[-1].repeated()
        yield [*held, *current, *following, *[last] * (after - len(following))], count
        held = ([*held, *current])[len(current) :] if before else []


def _listen(
    samples: np.ndarray, extractors: Sequence[Listens], parts: Mapping[str, list[np.ndarray]], dtype: str
) -> None:
    for extractor in extractors:
        size = int(SECONDS * HERTZ) // extractor.hop * extractor.hop
        before, after, hop = extractor.samples_before, extractor.samples_after, extractor.hop
        whole = len(samples) // hop * hop
        if not whole:
            continue
        padded = np.pad(samples, (before, after))
        for start in range(0, whole, size):
            count = min(size, whole - start)
            heard = extractor.listen(padded[start : start + before + count + after])
            _keep(heard, parts, count // hop, dtype)


def _keep(made: Mapping[str, np.ndarray], parts: Mapping[str, list[np.ndarray]], wanted: int, dtype: str) -> None:
    for name, rows in made.items():
        if len(rows) != wanted:
            raise ValueError(f"{name}: {len(rows)} rows where {wanted} are due")
        parts[name].append(rows.astype(dtype))


def _joined(stream: FeatureFacts, parts: Sequence[np.ndarray], dtype: str) -> np.ndarray:
    rows = np.concatenate(parts) if parts else np.zeros((0, stream.dimension), dtype)
    if rows.shape[1] != stream.dimension:
        raise ValueError(f"{stream.name}: rows have {rows.shape[1]} values, its stream says {stream.dimension}")
    if not np.isfinite(rows).all():
        raise BadVideo(f"the stream {stream.name} is not finite in {dtype}: try dtype=float32", "not_finite")
    return rows


def described(extracted: Extracted) -> dict[str, Any]:
    """Return what a table says of one file."""
    facts = {name: getattr(extracted, name) for name in ("seconds", "fps", "frames", "samples", "holes")}
    return facts | {f"rows.{name}": len(rows) for name, rows in extracted.rows.items()}
