"""Decode sound with PyAV, on the clock of the pictures: sample 0 is heard when the first picture is shown.

Time comes from the stamps of the file, never from counting: a track that starts late begins with silence, one that
starts early (an encoder's priming) is cut, a damaged packet leaves a hole of its own length. Pictures that do not come
at a steady rate are resampled to one by the nearest stamp.
"""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from dfd.core.errors import DfdError
from dfd.data.headers import BadVideo
from dfd.data.video import WHITELIST, open_container

RATE = 16_000
STEADY = 25.0  # pictures a second of everything that is trained on lips
LONGEST = 2 * 3600.0  # seconds
TOLERANCE = 0.012  # seconds by which stamps may disagree with the number of samples before they are believed
SILENCE = 1e-4  # root mean square below which a track is silent: -80 dB of full scale
SOUND_FILES = f"{WHITELIST},wav,mp3,flac,aac"


@dataclass(frozen=True)
class Sound:
    """Mono samples in [-1, 1]; `heard` are the seconds between which the track has sound at all."""

    samples: np.ndarray
    heard: tuple[float, float]
    rate: int = RATE

    @property
    def seconds(self) -> float:
        """Its length from the first picture on."""
        return len(self.samples) / self.rate

    @property
    def silent(self) -> bool:
        """Whether there is nothing to hear."""
        return not len(self.samples) or float(np.sqrt(np.mean(np.square(self.samples)))) < SILENCE

    def between(self, first: int, last: int) -> np.ndarray:
        """Return the samples [first, last), silence where the track has none."""
        inside = self.samples[max(0, first) : max(0, last)]
        before = min(last, 0) - min(first, 0)
        return np.pad(inside, (before, last - first - before - len(inside)))


@dataclass(frozen=True)
class Talk:
    """A clip with sound: frames (T, H, W, 3) uint8 at a steady rate from time 0 on, and what is heard meanwhile."""

    frames: np.ndarray
    sound: Sound
    fps: float = STEADY


def read_sound(path: Path, track: int | None = None, rate: int = RATE) -> Sound:
    """Return a file's sound on the clock of its pictures; `track` counts its audio tracks, None is the default one."""
    with open_container(path, SOUND_FILES) as container:
        stream = _audio_stream(container, path, track)
        mixer = _Mixer(rate, _first_picture(container))
        for packet in container.demux(stream):
            mixer.add(packet)
    return mixer.finish(path)


def read_talk(path: Path, fps: float = STEADY, track: int | None = None, longest: float = 60.0) -> Talk:
    """Decode pictures and sound in one pass over a short file; one beyond `longest` seconds is refused."""
    with open_container(path, SOUND_FILES) as container:
        if not container.streams.video:
            raise BadVideo(f"{path} holds no video stream", "not_a_video")
        stream = container.streams.video[0]
        zero = _first_picture(container)
        audio = _audio_stream(container, path, track)
        mixer = _Mixer(RATE, zero)
        times: list[float] = []
        pictures: list[np.ndarray] = []
        for packet in container.demux(stream, audio):
            if packet.stream.type == "audio":
                mixer.add(packet)
                continue
            for frame in _decoded(packet):
                times.append(float(frame.time or 0.0) - zero)
                pictures.append(frame.to_ndarray(format="rgb24"))
            if times and times[-1] > longest:
                raise BadVideo(f"{path} is longer than {longest:g} s: cut it into parts", "too_long")
    if not pictures:
        raise BadVideo(f"{path} holds no frames")
    order = steady(np.array(times), fps)
    return Talk(np.stack([pictures[index] for index in order]), mixer.finish(path), fps)


def steady(times: np.ndarray, fps: float = STEADY) -> np.ndarray:
    """Return, for every tick k / fps that the frames shown at `times` last, the frame whose stamp is nearest.

    A file of that very rate gives every frame once; of two as near the earlier one is taken.
    """
    times = np.asarray(times, float) - times[0]
    last = float(np.median(np.diff(times))) if len(times) > 1 else 1 / fps
    ticks = np.arange(max(1, int((times[-1] + last) * fps + 0.01))) / fps
    after = np.searchsorted(times, ticks - 1e-6).clip(0, len(times) - 1)
    before = (after - 1).clip(0)
    nearer = np.abs(ticks - times[before]) <= np.abs(times[after] - ticks) + 1e-6
    return np.where(nearer, before, after)


class _Mixer:
    """Collect the packets of one track as runs of samples, each at the place that its stamp gives it."""

    def __init__(self, rate: int, zero: float) -> None:
        self.rate, self.zero = rate, zero
        self._runs: list[tuple[int, list[np.ndarray]]] = []
        self._resampler: av.AudioResampler | None = None
        self._format: tuple[str, str, int] | None = None
        self._next = 0.0  # seconds at which the run would go on

    def add(self, packet: av.Packet) -> None:
        """Decode a packet; a damaged one is left out, and what follows it keeps its time."""
        for frame in _decoded(packet):
            start = self._next if frame.time is None else float(frame.time) - self.zero
            kind = (frame.format.name, frame.layout.name, frame.sample_rate)
            if kind != self._format or abs(start - self._next) > TOLERANCE:
                self._flush()
                self._format, self._next = kind, start
                self._resampler = av.AudioResampler(format="flt", layout="mono", rate=self.rate)
                self._runs.append((round(start * self.rate), []))
            self._next += frame.samples / frame.sample_rate
            if self._next > LONGEST:
                raise BadVideo(f"its sound is longer than {LONGEST / 3600:g} h: cut the file into parts", "too_long")
            frame.pts = None  # time is kept here
            self._take(frame)

    def finish(self, path: Path) -> Sound:
        """Lay the runs out from the first picture on."""
        self._flush()
        runs = [(first, np.concatenate(parts)) for first, parts in self._runs if parts]
        if not runs:
            raise BadVideo(f"no sound of {path} can be decoded", "no_audio")
        samples = np.zeros(max(0, *(first + len(run) for first, run in runs)), np.float32)
        for first, run in runs:
            inside = run[max(0, -first) :]
            samples[max(0, first) : max(0, first) + len(inside)] = inside
        begin = max(0, min(first for first, _ in runs))
        return Sound(samples, (min(begin, len(samples)) / self.rate, len(samples) / self.rate), self.rate)

    def _take(self, frame: av.AudioFrame | None) -> None:
        assert self._resampler is not None
        for part in self._resampler.resample(frame):
            self._runs[-1][1].append(part.to_ndarray()[0].copy())

    def _flush(self) -> None:
        if self._resampler is not None:
            self._take(None)
            self._resampler = None


def _audio_stream(container: av.container.InputContainer, path: Path, track: int | None) -> av.AudioStream:
    streams = container.streams.audio
    if not streams:
        raise BadVideo(f"{path} has no audio track", "no_audio")
    if track is not None and not 0 <= track < len(streams):
        raise DfdError(f"track={track}: {path} has {len(streams)} audio track(s), counted from 0")
    stream = container.streams.best("audio") if track is None else streams[track]
    if stream is None or stream.codec_context is None:
        raise BadVideo(f"{path}: this build of PyAV cannot decode its sound; code it as AAC, Opus or PCM", "no_decoder")
    return stream  # type: ignore[return-value]


def _first_picture(container: av.container.InputContainer) -> float:
    """Return the second at which the first picture is shown, where there is one."""
    streams = container.streams.video
    if not streams or streams[0].start_time is None:
        return 0.0
    return float(streams[0].start_time * (streams[0].time_base or 0))


def _decoded(packet: av.Packet) -> list:
    try:
        return list(packet.decode())
    except av.error.InvalidDataError:
        return []
