"""Stand-ins for LAV-DF and TVIL: clips in which a word or two is replaced, or an object removed for a while.

LAV-DF: drawn people say random words in a room with its own noise. A word or two is said again by an imitation of their
voice, or their lips are re-rendered for other words, or both; every real clip has one fake of each kind. TVIL: an
object that crosses the picture is inpainted away for a while. People, and so clips, stand in one split only.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dfd.core.errors import DfdError
from dfd.data.sample.folder import spread, whole
from dfd.data.sample.forgeries import Shot, relipped
from dfd.data.sample.heads import Motion
from dfd.data.sample.sheet import contact_sheet
from dfd.data.sample.talking import Person, add_sound, draw_person, film, saying, set_up, write_video
from dfd.data.sample.voice import OPPOSITES, RATE, WORDS, Speech, Voice, reword, speak_for
from dfd.data.video import probe

VERSION = 1  # of the drawings: raise it when they change
FPS = 25
SIZES = {"lavdf": 40, "tvil": 80}  # identities
STREAMS = {"lavdf": 11, "tvil": 12}  # so that no identity of one is in another sample
CLIPS = 2  # of an identity
KINDS = ("video", "audio", "both")
SHORTEST, LONGEST = 0.2, 1.6  # seconds of a replaced stretch
SPLITS = {"train": 0.6, "dev": 0.125, "test": 0.275}
INPAINTERS = ("blur", "copy", "diffusion", "median")


def describe(dataset: str, seed: int = 0, identities: int | None = None) -> dict[str, Any]:
    """Return what a sample is made from: two samples with the same facts are the same."""
    return {"version": VERSION, "dataset": dataset, "seed": seed, "identities": identities or SIZES[dataset]}


def build(
    dataset: str, folder: Path, *, seed: int = 0, identities: int | None = None, workers: int | None = None
) -> Path:
    """Render a sample into a folder, once; the same seed gives the same pictures, however many processes draw them."""
    facts = describe(dataset, seed, identities)
    if facts["identities"] < 5:
        raise DfdError(f"the {dataset} sample needs at least 5 identities, for three splits; got {facts['identities']}")
    draw = _lavdf if dataset == "lavdf" else _tvil
    return whole(folder, facts, partial(draw, seed=seed, identities=facts["identities"], workers=workers))


@dataclass(frozen=True)
class Take:
    """One clip of a person, and the number of its first file in the folder of its split."""

    split: str
    identity: int
    number: int
    seed: tuple[int, ...]


def _lavdf(root: Path, seed: int, identities: int, workers: int | None) -> None:
    takes = []
    for split, members in _split(identities).items():
        for place, (identity, clip) in enumerate((i, c) for i in members for c in range(CLIPS)):
            number = 4 * place
            takes.append(Take(split, identity, number, (seed, STREAMS["lavdf"], identity, clip)))
        (root / split).mkdir()
    parts = spread([partial(speak_and_forge, take, root) for take in takes], "drawing the lavdf sample", workers)
    rows = [row for part in parts for row in part]
    (root / "metadata.min.json").write_text(json.dumps(rows))
    shown = takes[:: max(1, len(takes) // 6)][:6]
    sheet = [[f"{take.split}/{take.number + k:06d}.mp4" for k in range(4)] for take in shown]
    contact_sheet(sheet, root, root / "contact_sheet.png")


def speak_and_forge(take: Take, root: Path) -> list[dict[str, Any]]:
    """Draw one person saying something and three forgeries of it; return the rows of the metadata."""
    person = draw_person(*take.seed[:3])
    random = np.random.default_rng((*take.seed, 5))
    seconds = round(float(random.uniform(3.0, 5.0)) * FPS) / FPS
    speech = speak_for(seconds, person.voice, random)
    scene, motion = set_up(person, round(seconds * FPS), take.seed[3], FPS)
    motion = saying(motion, speech, FPS)
    frames = list(film(person.face, scene, motion, random))
    room = _room(len(speech.wave), random)
    rows = [_write(take, 0, root, frames, speech.wave + room, scene.quality, (), None)]
    for position, kind in enumerate(KINDS, 1):
        chosen = _choose(speech, random)
        other, forged = _reworded(speech, chosen, person.voice, random)
        wave = speech.wave + room if kind == "video" else _spliced(speech.wave + room, other.wave, room, forged, random)
        shown = frames
        if kind != "audio":
            shown = _relipped(frames, person, scene, motion, saying(motion, other, FPS), forged, random)
        rows.append(_write(take, position, root, shown, wave, scene.quality, forged, kind))
    return rows


def _choose(speech: Speech, random: np.random.Generator) -> list[list[int]]:
    """Choose one or two runs of neighbouring words, each of a length that LAV-DF has, some time apart."""
    runs = []
    for first in range(len(speech.words)):
        for last in range(first, min(first + 3, len(speech.words))):
            length = speech.words[last].end - speech.words[first].start
            if SHORTEST <= length <= LONGEST and speech.words[last].end < speech.seconds - 0.1:
                runs.append(list(range(first, last + 1)))
    runs = [runs[i] for i in random.permutation(len(runs))]
    chosen = runs[:1]
    if random.random() < 0.4:
        chosen += [run for run in runs if run[0] > chosen[0][-1] + 1 or run[-1] < chosen[0][0] - 1][:1]
    return sorted(chosen)


def _reworded(
    speech: Speech, chosen: Sequence[Sequence[int]], voice: Voice, random: np.random.Generator
) -> tuple[Speech, tuple[tuple[float, float], ...]]:
    """Say other words, in an imitation of a voice; return the speech and the seconds that were replaced."""
    imitation = replace(
        voice,
        pitch=voice.pitch * float(np.exp(random.normal(0, 0.08))),
        tract=voice.tract * float(np.exp(random.normal(0, 0.03))),
        breath=voice.breath * 0.3,
        melody=voice.melody * 0.5,
    )
    forged = []
    for run in chosen:
        for position in run:
            said = speech.words[position].text
            word = OPPOSITES.get(said) or str(random.choice([word for word in WORDS if word != said]))
            speech = reword(speech, position, word, imitation, random)
        forged.append((round(speech.words[run[0]].start, 3), round(speech.words[run[-1]].end, 3)))
    return speech, tuple(forged)


def _room(count: int, random: np.random.Generator) -> np.ndarray:
    """Return the sound of a room: low noise, and a hum."""
    noise = np.cumsum(random.standard_normal(count)) * 0.02
    noise = noise - np.convolve(noise, np.ones(400) / 400, "same") + random.standard_normal(count)
    hum = np.sin(2 * np.pi * 50 * np.arange(count) / RATE + random.uniform(0, 6))
    level = float(np.exp(random.uniform(np.log(0.0015), np.log(0.006))))
    return (level * (noise + random.uniform(0, 0.7) * hum)).astype(np.float32)


def _spliced(
    recorded: np.ndarray,
    other: np.ndarray,
    room: np.ndarray,
    forged: Sequence[tuple[float, float]],
    random: np.random.Generator,
) -> np.ndarray:
    """Lay what an imitation says over the recording: with little of its room, and without its highest tones."""
    wave = recorded.copy()
    share, width = random.uniform(0.0, 0.4), int(random.integers(2, 4))
    smooth = np.convolve(other + share * room, np.ones(width) / width, "same").astype(np.float32)
    for start, end in forged:
        part = slice(round(start * RATE), round(end * RATE))
        place = np.arange(part.stop - part.start)
        fade = np.clip(np.minimum(place, place[::-1]) / 80, 0, 1)  # over 5 ms
        wave[part] = fade * smooth[part] + (1 - fade) * wave[part]
    return wave


def _relipped(
    frames: Sequence[np.ndarray],
    person: Person,
    scene: Any,
    motion: Motion,
    other: Motion,
    forged: Sequence[tuple[float, float]],
    random: np.random.Generator,
) -> list[np.ndarray]:
    """Re-render the mouth, for other words, in the frames that are shown while they are said."""
    forge = relipped(random, float(random.uniform(1.2, 1.8)), other)
    moments = (np.arange(len(frames)) + 0.5) / FPS
    touched = np.zeros(len(frames), bool)
    for start, end in forged:
        touched |= (moments >= start) & (moments < end)
    return [
        forge(Shot(frame, index, scene, person.face, person.face, motion)) if touched[index] else frame
        for index, frame in enumerate(frames)
    ]


def _write(
    take: Take,
    position: int,
    root: Path,
    frames: Sequence[np.ndarray],
    wave: np.ndarray,
    quality: int,
    forged: Sequence[tuple[float, float]],
    kind: str | None,
) -> dict[str, Any]:
    """Write one clip; return its row of the metadata."""
    file = f"{take.split}/{take.number + position:06d}.mp4"
    add_sound(write_video(frames, quality, FPS), np.clip(wave, -1, 1), root / file)
    return {
        "file": file,
        "n_fakes": len(forged),
        "fake_periods": [list(period) for period in forged],
        "duration": round(len(frames) / FPS, 3),
        "original": None if kind is None else f"{take.split}/{take.number:06d}.mp4",
        "modify_video": kind in ("video", "both"),
        "modify_audio": kind in ("audio", "both"),
        "split": take.split,
        "video_frames": len(frames),
        "audio_channels": 1,
        "audio_frames": len(wave),
    }


def _split(identities: int) -> dict[str, range]:
    """Return the identities of each split."""
    dev, test = (max(1, round(identities * SPLITS[name])) for name in ("dev", "test"))
    train = identities - dev - test
    return {"train": range(train), "dev": range(train, train + dev), "test": range(train + dev, identities)}


def _tvil(root: Path, seed: int, identities: int, workers: int | None) -> None:
    takes = []
    for split, members in _split(identities).items():
        split = "valid" if split == "dev" else split
        takes += [Take(split, i, 0, (seed, STREAMS["tvil"], i, 0)) for i in members]
        (root / "videos" / split).mkdir(parents=True)
    parts = spread([partial(cross_and_remove, take, root) for take in takes], "drawing the tvil sample", workers)
    rows = {key: row for part in parts for key, row in part.items()}
    (root / "annotations").mkdir()
    (root / "annotations" / "metadata.json").write_text(json.dumps(rows))
    shown = takes[:: max(1, len(takes) // 6)][:6]
    names = [[f"videos/{t.split}/{t.identity:05d}_{k}.mp4" for k in ("real", *INPAINTERS)] for t in shown]
    contact_sheet([[n for n in row if (root / n).is_file()] for row in names], root, root / "contact_sheet.png")


def cross_and_remove(take: Take, root: Path) -> Mapping[str, dict[str, Any]]:
    """Draw a scene that an object crosses, and two forgeries in which it is gone for a while."""
    random = np.random.default_rng((*take.seed, 5))
    person = draw_person(*take.seed[:3])
    count = int(random.integers(75, 126))
    scene, motion = set_up(person, count, 0, FPS)
    empty = list(film(person.face, scene, motion, random))
    frames, masks = _crossed(empty, random)
    files: dict[str, tuple[list[np.ndarray], list[tuple[float, float]]]] = {"real": (frames, [])}
    for method in random.permutation(INPAINTERS)[:2]:
        length = int(random.integers(12, min(50, count // 2)))
        start = int(random.integers(0, count - length + 1))
        shown, still = [*frames], np.median(frames[::5], 0)
        for index in range(start, start + length):
            shown[index] = _inpainted(frames[index], masks[index], still, str(method))
        files[str(method)] = (shown, [(start / FPS, (start + length) / FPS)])
    rows = {}
    for method, (shown, forged) in files.items():
        key = f"{take.identity:05d}_{method}"
        path = root / "videos" / take.split / f"{key}.mp4"
        path.write_bytes(write_video(shown, scene.quality, FPS))
        rows[key] = {
            "file": f"{key}.mp4",
            "split": take.split,
            "duration": round(probe(path).frames / FPS, 3),
            "video_frames": count,
            "fake_periods": [list(period) for period in forged],
            "n_fakes": len(forged),
            "method": method,
        }
    return rows


def _crossed(frames: Sequence[np.ndarray], random: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return frames with a ball of some texture that drifts through them, and where it is."""
    height, width = frames[0].shape[:2]
    radius = int(random.integers(16, 30))
    texture = random.uniform(30, 225, 3) + cv2.GaussianBlur(random.normal(0, 60, (height, width, 3)), (0, 0), 1.5)
    begin, speed = random.uniform(0.2, 0.8, 2) * [width, height], random.uniform(-1.2, 1.2, 2)
    shown, masks = [], []
    for index, frame in enumerate(frames):
        centre = np.abs((begin + speed * index) % (2 * np.array([width, height])) - [width, height])
        mask = np.zeros((height, width), np.uint8)
        cv2.circle(mask, centre.round().astype(int).tolist(), radius, 255, -1, cv2.LINE_AA)
        alpha = mask[..., None] / 255
        noise = random.normal(0, 3, (height, width, 1))
        shown.append(np.clip(frame + (texture + noise - frame) * alpha, 0, 255).astype(np.uint8))
        masks.append(cv2.dilate(mask, np.ones((7, 7), np.uint8)))
    return shown, masks


def _inpainted(frame: np.ndarray, mask: np.ndarray, still: np.ndarray, method: str) -> np.ndarray:
    """Fill where the object is: diffused from around, blurred, copied from beside, or from the median of all frames."""
    if method == "diffusion":
        return cv2.inpaint(frame, mask, 3, cv2.INPAINT_TELEA)
    if method == "copy":
        filled = np.roll(frame, frame.shape[1] // 3, 1)
    elif method == "blur":
        filled = cv2.GaussianBlur(cv2.inpaint(frame, mask, 2, cv2.INPAINT_NS), (0, 0), 4)
    else:
        filled = still
    soft = cv2.GaussianBlur(mask, (0, 0), 1.5)[..., None] / 255
    return np.clip(frame + (filled.astype(np.float32) - frame) * soft, 0, 255).astype(np.uint8)
