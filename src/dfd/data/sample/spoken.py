"""The sample of FakeAVCeleb: heads that talk, in its official layout, and innocent clips that look suspicious.

Every person has a real clip. People who are tested also have a clip of each category: another voice over real lips
(RVFA), lips that are re-rendered for another speech (FVRA, a little late and smeared, as Wav2Lip does it), the same
for a cloned voice (FVFA), and a swapped face whose lips are re-rendered. Some of those who are trained on have one
too, so that detectors which learn from labels find both classes.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypedDict, cast

import av
import numpy as np
from scipy.ndimage import gaussian_filter1d

from dfd.core.errors import DfdError
from dfd.data.datasets.fakeavceleb import COLUMNS, INNOCENT, TABLE, split_people
from dfd.data.sample.folder import spread, whole
from dfd.data.sample.forgeries import Shot, deepfakes, faceswap, relipped
from dfd.data.sample.heads import Motion
from dfd.data.sample.scene import Scene
from dfd.data.sample.talking import Person, add_sound, draw_person, film, saying, set_up, write_video
from dfd.data.sample.voice import RATE, Speech, draw_words, speak, speak_for, trimmed

VERSION = 1  # of the drawings and the voices: raise it when they change
PEOPLE = 72
STREAM = 5  # so that nobody here is in another sample
SECONDS = 4.0
FPS = 25.0
CRF = 23
RACES = ("African", "Asian (East)", "Asian (South)", "Caucasian (American)", "Caucasian (European)")
CATEGORIES = ("RVFA", "FVRA-WL", "FVFA-WL", "FVFA-FS", "FVFA-GAN")
OFFICIAL = {  # category: (type, category letter, method) of the table
    "real": ("RealVideo-RealAudio", "A", "real"),
    "RVFA": ("RealVideo-FakeAudio", "B", "rtvc"),
    "FVRA-WL": ("FakeVideo-RealAudio", "C", "wav2lip"),
    "FVFA-WL": ("FakeVideo-FakeAudio", "D", "wav2lip"),
    "FVFA-FS": ("FakeVideo-FakeAudio", "D", "faceswap-wav2lip"),
    "FVFA-GAN": ("FakeVideo-FakeAudio", "D", "fsgan-wav2lip"),
}
SWAPS = {"FVFA-FS": faceswap, "FVFA-GAN": deepfakes}
CHEAP, DRAWN = ("offset", "recoded", "noise", "cut"), ("fps2997", "fps30", "pause")


@dataclass(frozen=True)
class Clip:
    """A file to write: its kind (a category, "real" or an innocent variant) and its name relative to the root."""

    kind: str
    name: str


@dataclass(frozen=True)
class Job:
    """One person and all files that show them."""

    number: int
    others: tuple[int, int]  # whose speech and whose face is borrowed
    clips: tuple[Clip, ...]


class Facts(TypedDict):
    """What decides every sample and pixel."""

    version: int
    dataset: str
    seed: int
    identities: int


def describe(dataset: str, seed: int = 0, identities: int | None = None) -> Facts:
    """Return what a sample is made from: two samples with the same facts are the same."""
    return Facts(version=VERSION, dataset=dataset, seed=seed, identities=identities or PEOPLE)


def build(
    dataset: str, folder: Path, *, seed: int = 0, identities: int | None = None, workers: int | None = None
) -> Path:
    """Render the sample into a folder, once; the folder appears when it is complete."""
    facts = describe(dataset, seed, identities)

    def draw(root: Path) -> None:
        from dfd.data.sample.players import write_players

        jobs = layout(root, facts["identities"])
        # those with most to do first, so that nobody waits for the last one
        tasks = [partial(render, job, root, seed) for job in sorted(jobs, key=lambda job: -len(job.clips))]
        spread(tasks, f"drawing the {dataset} sample", workers)
        write_players(root, [clip for job in jobs for clip in job.clips])

    return whole(folder, facts, draw)


def layout(root: Path, people: int) -> list[Job]:
    """Write `meta_data.csv` and `innocent.csv`, and return what is to be rendered."""
    if people < 10:
        raise DfdError(f"the fakeavceleb sample needs at least 10 identities, for three splits; got {people}")
    names = [f"id{number:05d}" for number in range(people)]
    splits = split_people(names)
    rows: list[list[str]] = []
    odd: list[dict[str, str]] = []
    jobs = []
    for number, name in enumerate(names):
        peers = [other for other in range(people) if splits[names[other]] == splits[name] and other != number]
        borrowed = peers[number % len(peers)], peers[(number * 7 + 3) % len(peers)]
        kinds = ["real", *_fakes_of(splits[name], number)]
        clips = [_listed(rows, kind, number, names, borrowed) for kind in kinds]
        variants = _variants_of(splits[name], number)
        odd += [{"source": name, "variant": variant} for variant in variants]
        clips += [Clip(variant, f"innocent/{variant}/{name}.mp4") for variant in variants]
        jobs.append(Job(number, borrowed, tuple(clips)))
    with (root / TABLE).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[*COLUMNS, ""], *rows])
    with (root / INNOCENT).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["source", "variant"])
        writer.writeheader()
        writer.writerows(odd)
    return jobs


def _fakes_of(split: str, number: int) -> tuple[str, ...]:
    """All categories of who is tested; one, in turn, of every third of the others."""
    if split == "test":
        return CATEGORIES
    return (CATEGORIES[number // 3 % len(CATEGORIES)],) if number % 3 == 0 else ()


def _variants_of(split: str, number: int) -> tuple[str, ...]:
    if split != "test":
        return ()
    return CHEAP[number % len(CHEAP)], CHEAP[(number + 1) % len(CHEAP)], DRAWN[number % len(DRAWN)]


def _listed(rows: list[list[str]], kind: str, number: int, names: Sequence[str], borrowed: tuple[int, int]) -> Clip:
    """Add a line of the table, and return its file."""
    type_, letter, method = OFFICIAL[kind]
    race, gender = RACES[number % len(RACES)], ("men", "women")[number // len(RACES) % 2]
    folder = f"{type_}/{race}/{gender}/{names[number]}"
    suffix = "" if kind in ("real", "FVRA-WL") else f"_{names[borrowed[1]]}_{method}"
    file = f"{number:05d}{suffix}.mp4"
    target = names[borrowed[1]] if kind in ("FVFA-FS", "FVFA-GAN") else "-"
    rows.append([names[number], target, "-", method, letter, type_, race, gender, file, f"FakeAVCeleb/{folder}"])
    return Clip(kind, f"{folder}/{file}")


def render(job: Job, root: Path, seed: int) -> None:
    """Film one person and write every file that shows them; what is recorded is drawn once."""
    import cv2

    cv2.setNumThreads(1)
    random = np.random.default_rng((seed, STREAM, job.number, 0))
    person = draw_person(seed, STREAM, job.number)
    speech = speak_for(SECONDS, person.voice, random)
    take = Take(person, speech, *_scene(person, speech, random))
    others = {"speech": draw_person(seed, STREAM, job.others[0]), "face": draw_person(seed, STREAM, job.others[1])}
    for clip in job.clips:
        write = INNOCENTS.get(clip.kind)
        video, wave, rate = write(take, random) if write else _category(clip.kind, take, others, random)
        add_sound(video, wave, root / clip.name, rate)


@dataclass(frozen=True)
class Take:
    """What was recorded of a person: frames, and the same as a coded video."""

    person: Person
    speech: Speech
    scene: Scene
    motion: Motion
    frames: list[np.ndarray]
    video: bytes


Written = tuple[bytes, np.ndarray, int]  # coded pictures, samples, bits a second of the sound
GOOD = 64_000


def _scene(
    person: Person, speech: Speech, random: np.random.Generator
) -> tuple[Scene, Motion, list[np.ndarray], bytes]:
    scene, motion = set_up(person, round(SECONDS * FPS))
    motion = saying(motion, speech)
    frames = list(film(person.face, scene, motion, random))
    return scene, motion, frames, write_video(frames, CRF)


def _category(kind: str, take: Take, others: Mapping[str, Person], random: np.random.Generator) -> Written:
    if kind == "real":
        return take.video, take.speech.wave, GOOD
    voice = others["speech"].voice if kind == "FVRA-WL" else replace(take.person.voice, melody=0.03, breath=0.0)
    speech = speak_for(SECONDS, voice, random)
    if kind == "RVFA":
        return take.video, speech.wave, GOOD
    said = late_lips(take.motion, speech, random)
    face = others["face"].face
    strength = float(random.uniform(0.8, 1.2))
    swap = SWAPS[kind](random, strength) if kind in SWAPS else None
    forge = relipped(random, strength, said, swap)
    shots = (
        forge(Shot(frame, index, take.scene, take.person.face, face, take.motion))
        for index, frame in enumerate(take.frames)
    )
    return write_video(shots, CRF), speech.wave, GOOD


def late_lips(motion: Motion, speech: Speech, random: np.random.Generator) -> Motion:
    """Return lips as a generator of them makes them: late by a frame or two that changes, smeared, and less wide."""
    t = np.arange(len(motion)) / FPS
    wander = np.sin(2 * np.pi * random.uniform(0.5, 1.1) * t + random.uniform(0, 6))
    jumps = gaussian_filter1d(random.standard_normal(len(t)), 4)
    late = random.uniform(0.5, 2) + 1.3 * wander + 1.3 * jumps / jumps.std()
    said = saying(motion, speech, late=late / FPS)
    smear = random.uniform(1.0, 1.6)
    assert said.spread is not None
    opening, spread = (gaussian_filter1d(track, smear) for track in (said.mouth, said.spread))
    return replace(said, mouth=0.85 * opening + 0.05, spread=0.7 * spread)


def _offset(take: Take, random: np.random.Generator) -> Written:
    """The sound is up to three frames early or late throughout."""
    frames = int(random.choice([-3, -2, -1, 1, 2, 3]))
    return take.video, shifted(take.speech.wave, round(frames * RATE / FPS)), GOOD


def _recoded(take: Take, random: np.random.Generator) -> Written:
    """The sound went through a telephone's codec before."""
    return take.video, through_codec(take.speech.wave, "libopus", 16_000), 32_000


def _noise(take: Take, random: np.random.Generator) -> Written:
    """A murmur and hiss in the background, 12 to 20 dB below the voice."""
    wave = take.speech.wave
    hiss = np.cumsum(random.standard_normal(len(wave))) if random.random() < 0.5 else random.standard_normal(len(wave))
    hiss = hiss - gaussian_filter1d(hiss, 200)
    level = float(np.sqrt(np.mean(np.square(wave)))) * 10 ** (-random.uniform(12, 20) / 20)
    return take.video, np.clip(wave + level * hiss / hiss.std(), -1, 1).astype(np.float32), GOOD


def _cut(take: Take, random: np.random.Generator) -> Written:
    """A piece is missing from the middle, of pictures and sound alike."""
    first = int(random.integers(30, 50))
    last = first + int(random.integers(10, 25))
    sample = round(RATE / FPS)
    frames = take.frames[:first] + take.frames[last:]
    return write_video(frames, CRF), np.delete(take.speech.wave, slice(first * sample, last * sample)), GOOD


def _at_rate(fps: float) -> Callable[[Take, np.random.Generator], Written]:
    def write(take: Take, random: np.random.Generator) -> Written:
        """The same, filmed at another rate."""
        scene, motion = set_up(take.person, round(SECONDS * fps), fps=fps)
        shots = film(take.person.face, scene, saying(motion, take.speech, fps), random)
        return write_video(shots, CRF, fps), take.speech.wave, GOOD

    return write


def _pause(take: Take, random: np.random.Generator) -> Written:
    """The speaker stops in the middle, for most of a second."""
    words = draw_words(random, 5), draw_words(random, 8)
    voice = take.person.voice
    speech = trimmed(speak([*words[0], *["_"] * 6, *words[1]], voice, random), 0, SECONDS)
    scene, motion = set_up(take.person, round(SECONDS * FPS), take=1)
    return write_video(film(take.person.face, scene, saying(motion, speech), random), CRF), speech.wave, GOOD


INNOCENTS: dict[str, Callable[[Take, np.random.Generator], Written]] = {
    "offset": _offset,
    "recoded": _recoded,
    "noise": _noise,
    "cut": _cut,
    "fps2997": _at_rate(30_000 / 1001),
    "fps30": _at_rate(30.0),
    "pause": _pause,
}


def shifted(wave: np.ndarray, late: int) -> np.ndarray:
    """Return a wave that comes so many samples later, of the same length."""
    if late >= 0:
        return np.pad(wave, (late, 0))[: len(wave)]
    return np.pad(wave, (0, -late))[-late:]


def through_codec(wave: np.ndarray, codec: str, bit_rate: int) -> np.ndarray:
    """Return what a lossy codec leaves of a wave, at the same place."""
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as target:
        stream = cast(av.AudioStream, target.add_stream(codec, rate=RATE, layout="mono"))
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[None]), "flt", "mono")
        frame.sample_rate, frame.pts = RATE, 0
        for packet in (*stream.encode(frame), *stream.encode()):
            target.mux(packet)
    out.seek(0)
    resampler, parts = av.AudioResampler("flt", "mono", RATE), []
    with av.open(out, "r") as source:
        for heard in (*source.decode(audio=0), None):
            parts += [part.to_ndarray()[0] for part in resampler.resample(heard)]
    found = np.concatenate(parts)[: len(wave)]
    return np.pad(found, (0, len(wave) - len(found)))
