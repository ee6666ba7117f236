"""Records to views of talking faces: pictures at a steady rate from stored crops, and the sound under them.

A crop container of every frame (`crops.groups=0`) and the sound of the `audio` stage are on one clock. Pictures are
taken at steady ticks by the nearest stamp, so that 29.97 or 30 frames a second, or a rate that changes, need no other
code. A view lies within one stretch of ticks that all show the person.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypedDict

import cv2
import numpy as np
from torch.utils.data import Dataset

from dfd.core.card import Showing
from dfd.core.errors import DfdError
from dfd.core.records import Record, TalkInput
from dfd.data.align import show
from dfd.data.audio import RATE, steady
from dfd.data.crops import Table
from dfd.data.headers import BadVideo
from dfd.data.readers import Reader, open_crops
from dfd.data.sampling import sliding
from dfd.data.views import Visit

if TYPE_CHECKING:
    from dfd.data.augment import Augment

TOGETHER = 2**24  # bytes of pictures and sound of a file that are handed on at a time
QUIET = 10 ** (-50 / 20)  # root mean square of a frame in which nobody speaks


class NotTalking(DfdError):
    """Lips and voice cannot be compared in a file; `reason` is a stable code of why."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class TalkViews(TypedDict):
    """Views of one video: pixels (K, T, 3, S, S) uint8, sound (K, samples), own frames `length` (K,), times (K,)."""

    pixels: np.ndarray
    sound: np.ndarray
    length: np.ndarray
    t: np.ndarray
    draw: np.ndarray
    label: int
    video: int


class CropStream(Protocol):
    """The crops of one file: a table, and images that every call of `stream` yields from the first on."""

    @property
    def table(self) -> Table:
        """A row per frame and person."""

    def stream(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (row, image) in the order of rows, or of frames."""


Mouths = Callable[[np.ndarray], np.ndarray]  # rows of the table to small pictures (N, 16, 24, 3)


def stretches(times: np.ndarray, valid: np.ndarray, fps: float) -> list[tuple[int, np.ndarray]]:
    """Return the stretches of steady ticks that show a face: the first tick, and the row of the table for each."""
    if not len(times):
        return []
    rows = steady(times, fps)
    shown = valid[rows]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], shown.astype(int), [0]])))
    offset = round(float(times[0]) * fps)
    return [(offset + int(a), rows[a:b]) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def choose_speaker(table: Table, mouths: Mouths, samples: np.ndarray, fps: float) -> int:
    """Return the track of the person whose mouth moves as the voice gets louder and softer; a single one is taken."""
    people = np.unique(table["track"][table["valid"]])
    if len(people) < 2:
        return _only(table)
    return int(people[int(np.argmax([_follows_voice(table, mouths, track, samples, fps) for track in people]))])


def _only(table: Table) -> int:
    people = table["track"][table["valid"]]
    return int(people[0]) if len(people) else 0


def mouths_of(crops: CropStream) -> Mouths:
    """Return what gives the mouths of a file whose crops come as a stream."""
    seen = {row: _mouth(image) for row, image in crops.stream()}
    return lambda rows: np.stack([seen[row] for row in rows.tolist()])


def stored_mouths(crops: Reader) -> Mouths:
    """Return what gives the mouths of a file whose crops are stored."""
    return lambda rows: np.stack([_mouth(image) for image in crops.read(rows)])


def _follows_voice(table: Table, mouths: Mouths, track: int, samples: np.ndarray, fps: float) -> float:
    """Return how the motion of a person's mouth correlates with the loudness of the sound, from -1 to 1."""
    rows = np.flatnonzero((table["track"] == track) & table["valid"])
    motion = np.abs(np.diff(mouths(rows).astype(np.float32), axis=0)).mean((1, 2, 3))
    hop = round(RATE / fps)
    first = (table["t"][rows[1:]] * RATE).astype(int)
    scale = 32768.0 if samples.dtype == np.int16 else 1.0
    loud = np.array(
        [
            np.abs(samples[max(0, at - hop) : at + hop].astype(np.float32)).mean() / scale if at < len(samples) else 0.0
            for at in first
        ]
    )
    if len(motion) < 3 or motion.std() < 1e-6 or loud.std() < 1e-9:
        return -1.0
    return float(np.corrcoef(motion, np.log(loud + 1e-4))[0, 1])


def _mouth(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return cv2.resize(image[height // 2 :, width // 5 : width - width // 5], (24, 16), interpolation=cv2.INTER_AREA)


def voiced(sound: np.ndarray, input: TalkInput) -> np.ndarray:
    """Return which views (K, samples) have sound under their pictures, beyond a few frames of it."""
    hop = round(input.sample_rate / input.fps)
    own = sound[:, input.margin * hop : (input.margin + input.frames) * hop].reshape(len(sound), input.frames, hop)
    return (np.sqrt(np.square(own).mean(2)) > QUIET).sum(1) > input.window


def starts_of(frames: int, input: TalkInput, generator: np.random.Generator | None, first_only: bool) -> np.ndarray:
    """Return where the views of a stretch begin: at random in training, else so that all of it is seen."""
    if generator is not None:
        return np.sort(generator.integers(0, max(1, frames - input.frames + 1), input.windows))
    return sliding(frames, input.frames, input.stride or input.frames, first_only)


def place_views(
    table: Mapping[str, np.ndarray],
    input: TalkInput,
    track: int = 0,
    generator: np.random.Generator | None = None,
    first_only: bool = False,
) -> list[tuple[int, np.ndarray]]:
    """Return the views of one person: the tick at which each begins, and its rows of the table (at most `frames`)."""
    members = np.flatnonzero(table["track"] == track)
    found = stretches(table["t"][members], table["valid"][members], input.fps)
    long = [(tick, members[rows]) for tick, rows in found if len(rows) > input.window]
    if not long:
        raise NotTalking(
            f"the face is never seen for {input.window + 1} frames on end: nothing to compare with the sound",
            "too_short",
        )
    if generator is not None:  # every tick that can begin a view is as likely as another
        room = np.array([max(1, len(rows) - input.frames + 1) for _, rows in long])
        long = [long[int(generator.choice(len(long), p=room / room.sum()))]]
    elif first_only:
        long = long[:1]
    return [
        (tick + int(start), rows[start : start + input.frames])
        for tick, rows in long
        for start in starts_of(len(rows), input, generator, first_only)
    ]


def sound_under(samples: np.ndarray, tick: int, input: TalkInput) -> np.ndarray:
    """Return the sound of a view as floats in [-1, 1], with its margin; silence where the track has none."""
    hop = round(input.sample_rate / input.fps)
    first = (tick - input.margin) * hop
    last = first + input.samples
    inside = samples[max(0, first) : max(0, last)]
    before = min(last, 0) - min(first, 0)
    sound = np.pad(inside, (before, input.samples - before - len(inside)))
    return sound.astype(np.float32) / 32768.0 if sound.dtype == np.int16 else sound.astype(np.float32)


class TalkDataset(Dataset[TalkViews]):
    """Views of talking faces of every record; indexed by a `Visit`."""

    def __init__(
        self,
        records: Sequence[Record],
        folder: Path,
        input: TalkInput,
        augment: "Augment | None" = None,
        showing: Showing = Showing(),  # noqa: B008 - immutable
        vary_sound: bool = False,
        first_only: bool = False,
        shuffle_sound: bool = False,
    ) -> None:
        self.records, self.folder, self.input = tuple(records), folder, input
        self.augment, self.showing = augment, showing
        self.vary_sound, self.first_only, self.shuffle_sound = vary_sound, first_only, shuffle_sound

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, visit: Visit | int) -> TalkViews:
        video, seed = visit if isinstance(visit, tuple) else (visit, None)
        record, spec = self.records[video], self.input
        generator = None if seed is None else np.random.default_rng(seed)
        # a control: the sound of another record, so that what is seen says nothing of what is heard
        heard_of = self.records[(video + len(self.records) // 2) % len(self.records)] if self.shuffle_sound else record
        samples = read_samples(self.folder, heard_of)
        with open_crops(self.folder, record.assets) as crops:
            try:
                track = choose_speaker(crops.table, stored_mouths(crops), samples, spec.fps)
                views = place_views(crops.table, spec, track, generator, self.first_only)
            except NotTalking as error:
                raise NotTalking(f"{record.dataset}/{record.id}: {error}", error.reason) from None
            sound = np.stack([sound_under(samples, tick, spec) for tick, _ in views])
            if generator is None and (heard := voiced(sound, spec)).any():
                views, sound = [view for view, some in zip(views, heard) if some], sound[heard]
            pixels = np.stack([self._pictures(crops, rows, generator) for _, rows in views])
        if generator is not None and self.vary_sound:
            sound = np.stack([varied(wave, generator) for wave in sound])
        draw = np.zeros(len(views), np.int64)
        if generator is not None:
            draw = generator.integers(2**31, size=len(views))
        length, t = np.array([len(rows) for _, rows in views]), np.array([tick for tick, _ in views]) / spec.fps
        return TalkViews(pixels=pixels, sound=sound, length=length, t=t, draw=draw, label=record.label, video=video)

    def _pictures(self, crops: Reader, rows: np.ndarray, generator: np.random.Generator | None) -> np.ndarray:
        """Return the pictures of a view (T, 3, S, S); a short one repeats its last."""
        unique, again = np.unique(rows, return_inverse=True)
        shown = [
            show(image, crops.table, row, self.input.size, self.showing.margin, self.showing.align)
            for image, row in zip(crops.read(unique), unique.tolist(), strict=True)
        ]
        stack = np.stack(shown)[again]
        if generator is not None and self.augment is not None:
            stack = self.augment(stack, int(generator.integers(2**31)))
        return padded(stack, self.input.frames)


def padded(stack: np.ndarray, frames: int) -> np.ndarray:
    """Return pictures (T, H, W, 3) as (frames, 3, H, W), the last repeated as often as need be."""
    return np.ascontiguousarray(stack[np.minimum(np.arange(frames), len(stack) - 1)].transpose(0, 3, 1, 2))


def file_talk_views(
    crops: CropStream, samples: np.ndarray, input: TalkInput, showing: Showing, together: int = TOGETHER
) -> Iterator[tuple[TalkViews, int]]:
    """Yield what evaluation would see of a file, some views at a time, and the track of who speaks.

    Crops are drawn as they come and held no longer than views need them, so that a long file takes no more memory
    than a short one.
    """
    table = crops.table
    several = len(np.unique(table["track"][table["valid"]])) > 1
    track = choose_speaker(table, mouths_of(crops), samples, input.fps) if several else _only(table)
    views = place_views(table, input, track)
    views = [view for view in views if voiced(sound_under(samples, view[0], input)[None], input)[0]]
    if not views:
        raise NotTalking("nothing is heard while the face is seen: there is no voice to compare it with", "silent")
    pictures = _Pictures(
        crops, views, lambda image, row: show(image, table, row, input.size, showing.margin, showing.align)
    )
    count = max(1, together // (3 * input.frames * input.size**2 + 4 * input.samples))
    for at in range(0, len(views), count):
        part = views[at : at + count]
        yield (
            TalkViews(
                pixels=np.stack([padded(pictures.of(rows), input.frames) for _, rows in part]),
                sound=np.stack([sound_under(samples, tick, input) for tick, _ in part]),
                length=np.array([len(rows) for _, rows in part]),
                t=np.array([tick for tick, _ in part]) / input.fps,
                draw=np.zeros(len(part), np.int64),
                label=0,
                video=0,
            ),
            track,
        )


class _Pictures:
    """What a network is shown of a stream of crops, taken as far as views need it."""

    def __init__(
        self,
        crops: CropStream,
        views: Sequence[tuple[int, np.ndarray]],
        draw: Callable[[np.ndarray, int], np.ndarray],
    ) -> None:
        wanted = {row for _, rows in views for row in rows.tolist()}
        self._coming = ((row, draw(image, row)) for row, image in crops.stream() if row in wanted)
        self._held: dict[int, np.ndarray] = {}
        self._last = -1

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Return the pictures (T, H, W, 3) of ascending rows, none of which lies before those asked for last."""
        self._held = {row: picture for row, picture in self._held.items() if row >= rows[0]}
        while self._last < rows[-1]:
            self._last, picture = next(self._coming, (int(rows[-1]), None))
            if picture is not None:
                self._held[self._last] = picture
        if not self._held:
            raise BadVideo("frames that were decoded once could not be decoded again", "decode_error")
        # such a frame is shown as the one before it
        return np.stack([self._held[max((r for r in self._held if r <= row), default=min(self._held))] for row in rows])


def read_samples(folder: Path, record: Record) -> np.ndarray:
    """Return a record's sound, memory-mapped: int16 at 16 kHz from the first picture on."""
    if "audio" not in record.assets:
        raise DfdError(
            f"{record.dataset}/{record.id} has no sound beside its faces: run preprocess.py with data.sound=true, or "
            "give data.sound=true here"
        )
    path = folder / record.assets["audio"]
    if not path.is_file():
        raise DfdError(f"no sound at {path}: delete the manifest beside it and run preprocess.py again")
    return np.load(path, mmap_mode="r")


def varied(wave: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a wave as another microphone might have recorded it: louder or softer, duller, and with noise."""
    wave = wave * np.float32(np.exp(0.4 * generator.standard_normal()))
    if generator.random() < 0.3:  # duller: a simple low pass between 2 and 6 kHz
        spectrum = np.fft.rfft(wave)
        hz = np.arange(len(spectrum)) * RATE / len(wave)
        wave = np.fft.irfft(spectrum / (1 + (hz / generator.uniform(2000, 6000)) ** 4), len(wave))
    if generator.random() < 0.5:
        noise = generator.standard_normal(len(wave))
        if generator.random() < 0.5:  # a murmur instead of a hiss
            spectrum = np.fft.rfft(noise)
            noise = np.fft.irfft(spectrum / np.sqrt(1 + np.arange(len(spectrum)) * RATE / len(wave) / 200), len(wave))
        level = np.sqrt(np.mean(np.square(wave))) * 10 ** (-generator.uniform(10, 35) / 20)
        wave = wave + noise * (level / max(1e-9, float(noise.std())))
    return wave.astype(np.float32)
