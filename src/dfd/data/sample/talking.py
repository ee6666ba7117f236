"""Drawn heads that talk: a mouth that follows a voice, written as small videos with sound."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from dfd.data.sample.heads import Identity, Motion, draw_face, draw_identity, draw_motion
from dfd.data.sample.mark import MARK
from dfd.data.sample.scene import Scene, compose, draw_scene, shoot
from dfd.data.sample.voice import RATE, Speech, Voice, draw_voice

SIZE = (224, 224)  # of a face crop as VoxCeleb2 and FakeAVCeleb have it
WIDEST = 1.7  # opening of the mouth of `heads` at an opening of 1 here
EXACT = {"preset": "veryfast", "threads": "1", "x264-params": "bframes=0:mbtree=0:rc-lookahead=0"}  # see `render`


@dataclass(frozen=True)
class Person:
    """Somebody who talks: a face, a voice, and a random seed for where they sit."""

    face: Identity
    voice: Voice
    seed: tuple[int, ...]


def draw_person(*seed: int) -> Person:
    """Make somebody up from a seed: always the same face and the same voice."""
    return Person(draw_identity(np.random.default_rng((*seed, 1))), draw_voice(np.random.default_rng((*seed, 2))), seed)


def set_up(
    person: Person, frames: int, take: int = 0, fps: float = 25.0, crf: int = 23, size: tuple[int, int] = SIZE
) -> tuple[Scene, Motion]:
    """Return a scene and how a head moves in it; the same take at another rate moves the same way."""
    random = np.random.default_rng((*person.seed, 3, take))
    scene = draw_scene(random, crf, size)
    return scene, draw_motion(np.random.default_rng((*person.seed, 4, take)), frames, size, fps)


def saying(motion: Motion, speech: Speech, fps: float = 25.0, late: float | np.ndarray = 0.0) -> Motion:
    """Return a motion whose mouth says something, `late` seconds after it is heard (a number, or one per frame)."""
    opening, spread = speech.mouth((np.arange(len(motion)) + 0.5) / fps - late)
    return replace(motion, mouth=WIDEST * opening, spread=spread)


def film(person: Identity, scene: Scene, motion: Motion, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the frames (H, W, 3) uint8 of a person in a scene."""
    for index in range(len(motion)):
        yield shoot(scene, compose(scene, draw_face(person, motion, index), motion, index), random)


def write_video(frames: Iterable[np.ndarray], crf: int, fps: float | Fraction = 25) -> bytes:
    """Return frames as an MP4 of H.264 without sound."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.pix_fmt, stream.options = "yuv420p", {"crf": str(crf), **EXACT}
        for number, frame in enumerate(frames):
            if not number:
                stream.height, stream.width = frame.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return out.getvalue()


def add_sound(video: bytes, wave: np.ndarray, path: Path, bit_rate: int = 64_000) -> None:
    """Write a video, as it was coded, with a voice (16 kHz, in [-1, 1]) as AAC beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(io.BytesIO(video), "r") as source, av.open(str(path), "w", format="mp4") as container:
        container.metadata["comment"] = MARK
        pictures = container.add_stream_from_template(source.streams.video[0])
        voice = container.add_stream("aac", rate=RATE, layout="mono")
        voice.bit_rate = bit_rate
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = pictures
                container.mux(packet)
        for frame in _chunks(wave):
            container.mux(voice.encode(frame))
        container.mux(voice.encode())


def write_talk(
    path: Path, frames: Iterable[np.ndarray], wave: np.ndarray, fps: float | Fraction = 25, crf: int = 23
) -> None:
    """Write frames and a voice (16 kHz, in [-1, 1]) as an MP4 of H.264 and AAC."""
    add_sound(write_video(frames, crf, fps), wave, path)


def _chunks(wave: np.ndarray, length: int = 1024) -> Iterator[av.AudioFrame]:
    for start in range(0, len(wave), length):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(wave[None, start : start + length], np.float32), "flt", "mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        yield frame
