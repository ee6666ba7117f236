"""What happens to the sound of talking faces, and to the clock that it shares with the pictures."""

from collections.abc import Callable, Mapping

import numpy as np
from scipy.signal import resample_poly

from dfd.data.audio import RATE
from dfd.data.corrupt import seed_of

OnSound = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def corrupt_sound(samples: np.ndarray, kind: str, value: float, video: str) -> np.ndarray:
    """Return samples (int16 at 16 kHz) after a corruption of some strength."""
    random = np.random.default_rng(seed_of(f"{video}/{kind}/{value}"))
    changed = ON_SOUND[kind](samples.astype(np.float32), value, random)
    return np.clip(np.round(changed), -32768, 32767).astype(np.int16)


def rows_at_rate(times: np.ndarray, fps: float) -> np.ndarray:
    """Return which of the frames shown at `times` a video of a lower rate keeps: the one on screen at each tick."""
    if not len(times):
        return np.empty(0, int)
    ticks = times[0] + np.arange(int((times[-1] - times[0]) * fps + 1e-6) + 1) / fps
    return np.unique(np.searchsorted(times, ticks + 1e-6, side="right") - 1)


def _noise(wave: np.ndarray, decibels: float, random: np.random.Generator) -> np.ndarray:
    level = np.sqrt(np.mean(np.square(wave))) if len(wave) else 0.0
    return wave + random.standard_normal(len(wave)).astype(np.float32) * level * 10 ** (-decibels / 20)


def _resampled(wave: np.ndarray, rate: float, random: np.random.Generator) -> np.ndarray:
    """Return a wave that went through a lower rate, as over a telephone."""
    through = resample_poly(resample_poly(wave, int(rate), RATE), RATE, int(rate))[: len(wave)]
    return np.pad(through, (0, len(wave) - len(through)))


def _late(wave: np.ndarray, seconds: float, random: np.random.Generator) -> np.ndarray:
    """Return a wave that comes later, and ends when it did."""
    lag = round(seconds * RATE)
    return np.concatenate([np.zeros(lag, wave.dtype), wave])[: len(wave)]


ON_SOUND: Mapping[str, OnSound] = {"sound_noise": _noise, "sound_rate": _resampled, "sound_offset": _late}
