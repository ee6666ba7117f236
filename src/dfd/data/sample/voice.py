"""A small formant synthesiser: words become a voice, the mouth that says them, and when each word is said.

After Klatt's cascade synthesiser ("Software for a cascade/parallel formant synthesizer", JASA 1980), reduced to what a
test of lips against voice needs: glottal pulses and noise through five resonators, and a mouth that opens, closes and
rounds with every phone. Speakers differ in pitch, vocal tract, rate and breath; formants are those of Peterson and
Barney (1952).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter

RATE = 16_000  # samples a second
STEP = 80  # samples between two values of a control track
CONTROL = RATE // STEP  # values of a control track a second


class Phone(NamedTuple):
    """A sound and the mouth that makes it: seconds, formants in Hz, loudness of voice and noise, opening and spread."""

    seconds: float
    formants: tuple[float, float, float]
    voice: float
    noise: float = 0.0
    band: float = 0.0  # Hz, where its noise is loudest; 0: the noise is breath, shaped by the formants
    opening: float = 0.0  # of the lips, 0 to 1
    spread: float = 0.0  # of their corners, -1 (rounded) to 1 (wide)
    stressed: bool = False


def _vowel(seconds: float, f1: float, f2: float, f3: float, opening: float, spread: float) -> Phone:
    return Phone(seconds, (f1, f2, f3), 1.0, 0.0, 0.0, opening, spread, stressed=True)


SILENT = (500.0, 1500.0, 2500.0)
PHONES: dict[str, tuple[Phone, ...]] = {
    "iy": (_vowel(0.13, 270, 2290, 3010, 0.30, 1.0),),
    "ih": (_vowel(0.10, 390, 1990, 2550, 0.42, 0.6),),
    "eh": (_vowel(0.12, 530, 1840, 2480, 0.62, 0.5),),
    "ae": (_vowel(0.14, 660, 1720, 2410, 0.85, 0.5),),
    "ah": (_vowel(0.11, 640, 1190, 2390, 0.72, 0.0),),
    "aa": (_vowel(0.14, 730, 1090, 2440, 1.00, 0.0),),
    "ao": (_vowel(0.13, 570, 840, 2410, 0.80, -0.6),),
    "uh": (_vowel(0.10, 440, 1020, 2240, 0.40, -0.6),),
    "uw": (_vowel(0.13, 300, 870, 2240, 0.25, -1.0),),
    "er": (_vowel(0.12, 490, 1350, 1690, 0.40, -0.3),),
    "m": (Phone(0.08, (280, 1000, 2200), 0.40, opening=0.0, spread=0.0),),
    "n": (Phone(0.07, (280, 1700, 2600), 0.40, opening=0.22, spread=0.2),),
    "l": (Phone(0.07, (360, 1300, 2700), 0.60, opening=0.38, spread=0.1),),
    "r": (Phone(0.07, (310, 1060, 1380), 0.60, opening=0.30, spread=-0.5),),
    "w": (Phone(0.07, (290, 610, 2150), 0.55, opening=0.12, spread=-1.0),),
    "y": (Phone(0.06, (260, 2070, 3020), 0.60, opening=0.22, spread=0.8),),
    "s": (Phone(0.10, SILENT, 0.0, 0.60, 5600, 0.14, 0.5),),
    "z": (Phone(0.08, (280, 1700, 2600), 0.30, 0.40, 5600, 0.14, 0.5),),
    "sh": (Phone(0.10, SILENT, 0.0, 0.60, 2900, 0.22, -0.8),),
    "f": (Phone(0.09, SILENT, 0.0, 0.25, 4200, 0.05, 0.1),),
    "v": (Phone(0.07, (280, 1200, 2300), 0.35, 0.15, 4200, 0.05, 0.1),),
    "h": (Phone(0.06, SILENT, 0.0, 0.40, 0, 0.45, 0.0),),
    "b": (Phone(0.06, (250, 900, 2200), 0.12, opening=0.0), Phone(0.015, (300, 900, 2200), 0.5, 0.3, 900, 0.15)),
    "p": (Phone(0.08, SILENT, 0.0, opening=0.0), Phone(0.03, SILENT, 0.0, 0.5, 900, 0.25)),
    "d": (Phone(0.05, (250, 1700, 2600), 0.12, opening=0.20), Phone(0.015, (300, 1700, 2600), 0.5, 0.3, 4000, 0.25)),
    "t": (Phone(0.06, SILENT, 0.0, opening=0.18, spread=0.2), Phone(0.03, SILENT, 0.0, 0.5, 4200, 0.25, 0.2)),
    "g": (Phone(0.05, (250, 1900, 2300), 0.12, opening=0.32), Phone(0.02, (300, 1900, 2300), 0.5, 0.3, 2000, 0.35)),
    "k": (Phone(0.06, SILENT, 0.0, opening=0.30), Phone(0.035, SILENT, 0.0, 0.5, 2000, 0.35)),
    "_": (Phone(0.10, SILENT, 0.0),),  # a pause
}
WORDS = {
    "about": "ah b aa uw t", "after": "ae f t er", "again": "ah g eh n", "always": "ao l w eh iy z",
    "army": "aa r m iy", "away": "ah w eh iy", "bad": "b ae d", "because": "b iy k ao z", "before": "b iy f ao r",
    "big": "b ih g", "brother": "b r ah v er", "buy": "b aa iy", "city": "s ih t iy", "close": "k l ao uw z",
    "coffee": "k ao f iy", "cold": "k ao uw l d", "family": "f ae m ih l iy", "father": "f aa v er",
    "follow": "f aa l ao uw", "forest": "f ao r eh s t", "good": "g uh d", "happy": "h ae p iy", "heavy": "h eh v iy",
    "hot": "h aa t", "improve": "ih m p r uw v", "large": "l aa r sh", "less": "l eh s", "lose": "l uw z",
    "market": "m aa r k ih t", "maybe": "m eh iy b iy", "memory": "m eh m er iy", "money": "m ah n iy",
    "more": "m ao r", "morning": "m ao r n ih n", "mother": "m ah v er", "move": "m uw v", "music": "m y uw z ih k",
    "never": "n eh v er", "no": "n ao uw", "old": "ao uw l d", "open": "ao uw p eh n", "paper": "p eh iy p er",
    "people": "p iy p ah l", "problem": "p r aa b l eh m", "public": "p ah b l ih k", "remember": "r iy m eh m b er",
    "river": "r ih v er", "sad": "s ae d", "sell": "s eh l", "small": "s m ao l", "summer": "s ah m er",
    "table": "t eh iy b ah l", "today": "t uh d eh iy", "together": "t uh g eh v er", "water": "w ao t er",
    "window": "w ih n d ao uw", "win": "w ih n", "winter": "w ih n t er", "worse": "w er s", "yes": "y eh s",
    "young": "y ah n",
}  # fmt: skip
OPPOSITES = {
    "good": "bad", "happy": "sad", "more": "less", "always": "never", "yes": "no", "open": "close", "big": "small",
    "hot": "cold", "win": "lose", "buy": "sell", "summer": "winter", "old": "young", "before": "after",
}  # fmt: skip
OPPOSITES |= {other: word for word, other in OPPOSITES.items()}


@dataclass(frozen=True)
class Voice:
    """What stays the same about a speaker's voice."""

    pitch: float  # Hz
    tract: float  # factor on every formant: above 1 for a short vocal tract
    rate: float  # factor on the speed
    breath: float  # share of noise in the voice
    melody: float  # how far the pitch moves, as a factor
    edge: float  # of the glottal pulse: the share of a period in which the glottis closes


class Word(NamedTuple):
    """A word and when it is said, in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Speech:
    """What is heard and seen of something said: samples at 16 kHz, and the mouth `CONTROL` times a second."""

    wave: np.ndarray
    opening: np.ndarray
    spread: np.ndarray
    words: tuple[Word, ...]

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return len(self.wave) / RATE

    def mouth(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return opening and spread at these seconds; before and after the speech the mouth stays as it is there."""
        grid = (np.arange(len(self.opening)) + 0.5) / CONTROL
        return np.interp(times, grid, self.opening), np.interp(times, grid, self.spread)


def draw_voice(random: np.random.Generator) -> Voice:
    """Make a speaker's voice up: a high voice tends to have a short vocal tract."""
    pitch = float(np.exp(random.uniform(np.log(85), np.log(235))))
    tract = 0.93 + 0.2 * np.log(pitch / 85) / np.log(235 / 85) + random.uniform(-0.05, 0.05)
    return Voice(
        pitch,
        float(tract),
        rate=float(random.uniform(0.9, 1.15)),
        breath=float(random.uniform(0.01, 0.08)),
        melody=float(random.uniform(0.06, 0.2)),
        edge=float(random.uniform(0.12, 0.25)),
    )


def draw_words(random: np.random.Generator, count: int) -> list[str]:
    """Choose words at random, no word twice in a row; a phrase of three to six ends with a pause ("_")."""
    words: list[str] = []
    left = int(random.integers(3, 7))
    while len(words) < count:
        word = str(random.choice([word for word in WORDS if word not in words[-2:]]))
        words.append(word)
        left -= 1
        if not left and len(words) < count:
            words.append("_")
            left = int(random.integers(3, 7))
    return words


def speak(words: Sequence[str], voice: Voice, random: np.random.Generator) -> Speech:
    """Say words of `WORDS`, where "_" is a pause, with a short silence before and after."""
    phones, spans = _sequence(["_", *words, "_"], voice, random)
    return _say(phones, spans, voice, random)


def speak_for(seconds: float, voice: Voice, random: np.random.Generator) -> Speech:
    """Say random words for exactly so long: the last word is cut off, as a clip cuts it."""
    words = draw_words(random, 4 + int(seconds * 3))
    speech = speak(words, voice, random)
    return trimmed(speech, 0.0, seconds)


def reword(speech: Speech, position: int, word: str, voice: Voice, random: np.random.Generator) -> Speech:
    """Say another word in the place and in the time of the one at `position`: what is around it stays as it was."""
    old = speech.words[position]
    phones, spans = _sequence([word], voice, random)
    wanted = old.end - old.start
    factor = wanted / sum(phone.seconds for phone in phones)
    phones = [phone._replace(seconds=phone.seconds * factor) for phone in phones]
    piece = _say(phones, spans, voice, random)
    first = round(old.start * CONTROL)
    count = min(len(piece.opening), len(speech.opening) - first)
    said = replace(
        speech,
        wave=_laid_over(speech.wave, piece.wave[: count * STEP], first * STEP, fade=160),
        opening=_laid_over(speech.opening, piece.opening[:count], first, fade=4),
        spread=_laid_over(speech.spread, piece.spread[:count], first, fade=4),
    )
    listed = [*speech.words]
    listed[position] = Word(word, old.start, old.end)
    return replace(said, words=tuple(listed))


def trimmed(speech: Speech, start: float, end: float) -> Speech:
    """Return what is said between two seconds; too short a speech ends in silence."""
    first, last = round(start * CONTROL), round(end * CONTROL)
    short = max(0, last - len(speech.opening))
    words = [Word(w.text, max(0.0, w.start - start), min(end, w.end) - start) for w in speech.words]
    return Speech(
        np.pad(speech.wave, (0, short * STEP))[first * STEP : last * STEP],
        np.pad(speech.opening, (0, short))[first:last],
        np.pad(speech.spread, (0, short))[first:last],
        tuple(word for word in words if word.end - word.start > 1e-6),
    )


def _sequence(
    words: Sequence[str], voice: Voice, random: np.random.Generator
) -> tuple[list[Phone], list[tuple[str, int, int]]]:
    """Return the phones of words, each a little longer or shorter, and each word's first and last phone."""
    phones: list[Phone] = []
    spans = []
    for word in words:
        first = len(phones)
        for name in WORDS.get(word, word).split():
            longer = float(random.uniform(0.85, 1.2)) / voice.rate
            phones += [phone._replace(seconds=phone.seconds * longer) for phone in PHONES[name]]
        if word != "_":
            spans.append((word, first, len(phones)))
    return phones, spans


def _say(
    phones: Sequence[Phone], spans: Sequence[tuple[str, int, int]], voice: Voice, random: np.random.Generator
) -> Speech:
    ends = np.cumsum([phone.seconds for phone in phones])
    count = int(np.ceil(ends[-1] * CONTROL))
    which = np.searchsorted(ends, (np.arange(count) + 0.5) / CONTROL).clip(0, len(phones) - 1)
    starts = np.concatenate([[0.0], ends])

    def track(values: Sequence[float], milliseconds: float) -> np.ndarray:
        return gaussian_filter1d(np.array(values, float)[which], milliseconds / 1000 * CONTROL, mode="nearest")

    formants = np.stack([track([p.formants[i] for p in phones], 18) for i in range(3)], 1) * voice.tract
    loud, hiss = track([p.voice for p in phones], 8), track([p.noise for p in phones], 5)
    band = track([p.band or 1500.0 for p in phones], 5)
    breathy = track([float(p.noise > 0 and p.band == 0) for p in phones], 5)
    pitch = voice.pitch * (1 + voice.melody * track([float(p.stressed) for p in phones], 50))
    pitch *= np.linspace(1.06, 0.94, count) * (1 + 0.01 * gaussian_filter1d(random.standard_normal(count), 4))
    source = _glottis(pitch, loud, voice, random)
    noise = random.standard_normal(count * STEP)
    breath = noise * _fine(hiss * breathy)
    voiced = _through(source + 0.3 * breath, formants, (90.0, 110.0, 160.0), voice.tract)
    hissed = _band(noise * _fine(hiss * (1 - breathy)), band)
    wave = voiced + 0.12 * hissed
    wave = 0.5 * wave / max(1e-9, float(np.abs(wave).max()))
    return Speech(
        wave.astype(np.float32),
        track([p.opening for p in phones], 22),
        track([p.spread for p in phones], 30),
        tuple(Word(text, float(starts[first]), float(starts[last])) for text, first, last in spans),
    )


def _glottis(pitch: np.ndarray, loud: np.ndarray, voice: Voice, random: np.random.Generator) -> np.ndarray:
    """Return the derivative of the air flow through the glottis (Rosenberg's pulse), with breath in its open phase."""
    phase = np.cumsum(_fine(pitch)) / RATE % 1.0
    opens = 0.62 - voice.edge
    rising = 0.5 * (1 - np.cos(np.pi * phase / opens))
    falling = np.cos(0.5 * np.pi * (phase - opens) / voice.edge)
    flow = np.where(phase < opens, rising, np.where(phase < opens + voice.edge, falling, 0.0))
    pulses = np.diff(flow, prepend=flow[:1])
    breath = voice.breath * flow * random.standard_normal(len(flow))
    return (pulses / pulses.std() + breath) * _fine(loud)


def _through(source: np.ndarray, formants: np.ndarray, widths: tuple[float, ...], tract: float) -> np.ndarray:
    """Filter through three formants that move and two that stay, a block at a time."""
    count = len(formants)
    centres = np.concatenate([formants, np.tile([3500.0 * tract, 4600.0 * tract], (count, 1))], 1).clip(60, 7600)
    radius = np.exp(-np.pi * np.array([*widths, 220.0, 300.0]) / RATE)
    return _resonated(source, -2 * radius * np.cos(2 * np.pi * centres / RATE), np.tile(radius**2, (count, 1)))


def _band(noise: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Filter noise through one wide resonance, which is what a fricative's constriction does."""
    radius = np.exp(-np.pi * 1200.0 / RATE)
    sharpened = np.diff(noise, prepend=noise[:1])  # no rumble
    turn = -2 * radius * np.cos(2 * np.pi * centre / RATE)
    return _resonated(sharpened, turn[:, None], np.full((len(centre), 1), radius**2))


def _resonated(source: np.ndarray, a1: np.ndarray, a2: np.ndarray) -> np.ndarray:
    """Filter through a cascade of resonators (blocks, sections) of unit gain at 0 Hz whose coefficients move."""
    poles = np.ones((len(a1), 1))
    for one, two in zip(a1.T, a2.T, strict=True):  # the product of the sections' polynomials
        longer = np.pad(poles, ((0, 0), (0, 2)))
        longer[:, 1:-1] += one[:, None] * poles
        longer[:, 2:] += two[:, None] * poles
        poles = longer
    gain = (1 + a1 + a2).prod(1)
    state, out = np.zeros(poles.shape[1] - 1), np.empty_like(source)
    for block, (zeros, all_poles) in enumerate(zip(gain[:, None], poles, strict=True)):
        part = slice(block * STEP, (block + 1) * STEP)
        out[part], state = lfilter(zeros, all_poles, source[part], zi=state)
    return out


def _fine(track: np.ndarray) -> np.ndarray:
    """Return a control track with a value for every sample."""
    grid = (np.arange(len(track)) + 0.5) * STEP
    return np.interp(np.arange(len(track) * STEP), grid, track)


def _laid_over(whole: np.ndarray, piece: np.ndarray, first: int, fade: int) -> np.ndarray:
    """Return a track with a part of it replaced, blended over `fade` values at both ends."""
    weight = np.clip(np.minimum(np.arange(len(piece)), np.arange(len(piece))[::-1]) / max(1, fade), 0, 1)
    out = whole.copy()
    part = slice(first, first + len(piece))
    out[part] = (weight * piece + (1 - weight) * whole[part]).astype(whole.dtype)
    return out
