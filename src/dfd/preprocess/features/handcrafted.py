"""Features that need no weights: what forgeries leave in colour, texture, residuals, spectra, motion and sound.

Splices and rendered stretches show as jumps of these statistics. Pictures: 408 values per frame, most of them means
over the cells of a grid, after DCT, SRM (Fridrich & Kodovsky 2012) and spectral detectors. Sound: 324 values for every
40 ms, log-mel and linear-frequency cepstra (LFCC) with their changes, on the same clock as the frames.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.fft import dct, rfft, rfft2

from dfd.data.features import FeatureFacts
from dfd.preprocess.features.base import FPS, HERTZ, Frame, Listens, Looks
from dfd.preprocess.features.flow import Dis
from dfd.preprocess.features.spectra import htk_bank, linear_bank

SIDE = 128
RINGS, CELLS, FINE = 24, 4, 8
PICTURE_VALUES = 4 * 16 + 4 * 16 + 16 + 3 * 16 + RINGS + 2 * 64 + 16 + (32 + 16)
KERNEL_KV = np.array(
    [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]], np.float32
)
SECOND = np.array([[1, -2, 1]], np.float32)

WINDOW, STEP, STACK = 512, 160, 4  # samples of a spectrum, between spectra, spectra to a row
AROUND = 4  # spectra of context, for changes
MELS, CEPSTRA = 64, 20
SOUND_VALUES = STACK * MELS + 3 * CEPSTRA + 2 * STACK


class HandcraftedPictures(Looks):
    """Statistics of every frame and of how it differs from the two before, over the whole picture."""

    before = 2

    def __init__(self) -> None:
        self.streams = (FeatureFacts("video", FPS, PICTURE_VALUES, 0.5 / FPS),)
        self.identity = {"extractor": "handcrafted_pictures", "version": 1}
        self._flow = Dis("ultrafast")

    def look(self, frames: Sequence[Frame]) -> dict[str, np.ndarray]:
        """Describe every frame but the two that come first."""
        pictures = [frame.fitted(SIDE) for frame in frames]
        luma = np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]).astype(np.float32)
        residual = np.stack([image - cv2.blur(image, (3, 3)) for image in luma])
        now = slice(2, None)
        parts = [
            _colour(pictures[now]),
            _residuals(luma[now], residual[now]),
            _cells(np.stack([_edges(image) for image in luma[now]]), CELLS),
            _bands(luma[now]),
            _spectrum(luma[now]),
            _cells(np.abs(luma[now] - luma[1:-1]), FINE),
            _cells(np.abs(luma[now] - luma[:-2]), FINE),
            _cells(np.abs(residual[now] - residual[1:-1]), CELLS),
            np.stack([self._moved(one, two) for one, two in zip(pictures[1:-1], pictures[now], strict=True)]),
        ]
        return {"video": np.concatenate(parts, 1).astype(np.float32)}

    def _moved(self, one: np.ndarray, two: np.ndarray) -> np.ndarray:
        """Return histograms of the directions of motion in four quarters, weighted by speed, and speeds in cells."""
        flow = self._flow(one, two)[::2, ::2]  # finer than that, it is interpolated
        speed, angle = cv2.cartToPolar(flow[..., 0], flow[..., 1])
        ways = (angle * (8 / (2 * np.pi))).astype(np.int32) % 8
        half = SIDE // 4
        quarter = (np.arange(2 * half) // half)[:, None] * 2 + np.arange(2 * half) // half
        counts = np.bincount((quarter * 8 + ways).ravel(), speed.ravel(), 32) / half**2
        return np.concatenate([np.log(counts + 0.01), _cells(speed[None], CELLS, 0.01)[0]])


class HandcraftedSound(Listens):
    """Spectra and cepstra of every 40 ms, on the clock of a video of 25 frames a second."""

    hop = STACK * STEP
    samples_before = samples_after = AROUND * STEP - STEP // 2 + WINDOW // 2

    def __init__(self) -> None:
        self.streams = (FeatureFacts("audio", FPS, SOUND_VALUES, 0.5 / FPS, "audio"),)
        self.identity = {"extractor": "handcrafted_sound", "version": 1}
        self._window = np.hanning(WINDOW).astype(np.float32)
        self._mels = htk_bank(MELS, WINDOW, HERTZ, 60.0, 7800.0)
        self._lines = linear_bank(MELS, WINDOW)

    def listen(self, samples: np.ndarray) -> dict[str, np.ndarray]:
        """Describe every row's four spectra: each by itself, and how they change."""
        pieces = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::STEP]
        power = np.abs(rfft(pieces * self._window, axis=1).astype(np.complex64)) ** 2
        mels = np.log(power @ self._mels.T + 1e-6) / 4
        cepstra = dct(np.log(power @ self._lines.T + 1e-6), norm="ortho", axis=1)[:, :CEPSTRA] / 4
        change = (cepstra[2:] - cepstra[:-2]) / 2
        again = (change[2:] - change[:-2]) / 2
        flux = np.abs(np.diff(mels, axis=0)).mean(1, keepdims=True)
        crossings = (np.diff(np.signbit(pieces), axis=1) != 0).mean(1, keepdims=True)
        rows = (len(pieces) - 2 * AROUND) // STACK
        now = slice(AROUND, AROUND + rows * STACK)

        def stacked(values: np.ndarray, shift: int = 0) -> np.ndarray:
            return values[now.start - shift : now.stop - shift].reshape(rows, STACK, -1)

        parts = [
            stacked(mels).reshape(rows, -1),
            stacked(cepstra).mean(1),
            stacked(change, 1).mean(1),
            stacked(again, 2).mean(1),
            stacked(flux, 1).reshape(rows, -1),
            stacked(crossings).reshape(rows, -1),
        ]
        return {"audio": np.concatenate(parts, 1).astype(np.float32)}


def _cells(maps: np.ndarray, side: int, floor: float = 0.05) -> np.ndarray:
    """Return log means over side x side cells of maps (N, H, W), one row per map."""
    means = np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in maps])
    return np.log(means.reshape(len(maps), -1) + floor)


def _colour(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Return means of luma and colour over cells, and how much the luma varies there."""
    rows = []
    for picture in pictures:
        plain = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb).astype(np.float32) / 64
        means = cv2.resize(plain, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
        squares = cv2.resize(plain[..., 0] ** 2, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
        spread = np.sqrt(np.maximum(squares - means[..., 0] ** 2, 0))
        rows.append(np.concatenate([(means - 2).ravel(), np.log(spread + 0.02).ravel()]))
    return np.stack(rows)


def _residuals(luma: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Return how strong four high-pass residuals are, over cells."""
    filtered = [
        residual,
        np.stack([cv2.filter2D(image, -1, SECOND) for image in luma]),
        np.stack([cv2.filter2D(image, -1, SECOND.T) for image in luma]),
        np.stack([cv2.filter2D(image, -1, KERNEL_KV / 12) for image in luma]),
    ]
    return np.concatenate([_cells(np.abs(maps), CELLS) for maps in filtered], 1)


def _edges(image: np.ndarray) -> np.ndarray:
    return cv2.magnitude(cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1))


def _bands(luma: np.ndarray) -> np.ndarray:
    """Return the energy of low, middle and high frequencies of 8 x 8 blocks, over cells."""
    count, blocks = len(luma), SIDE // 8
    coefficients = _DCT @ luma.reshape(count, blocks, 8, blocks, 8).transpose(0, 1, 3, 2, 4) @ _DCT.T
    energy = (coefficients**2).reshape(count, blocks, blocks, 64) @ _BANDS
    side = blocks // CELLS
    means = energy.reshape(count, CELLS, side, CELLS, side, 3).mean((2, 4))
    return np.log(means + 0.1).reshape(count, -1) / 2


def _spectrum(luma: np.ndarray) -> np.ndarray:
    """Return the log power of the windowed picture over rings of frequency."""
    power = np.abs(rfft2(luma * _HANN, axes=(1, 2)).astype(np.complex64)) ** 2
    sums = power.reshape(len(luma), -1) @ _RINGS
    return np.log(sums / SIDE**2 + 1e-3) / 4


def _dct_matrix() -> np.ndarray:
    return dct(np.eye(8), norm="ortho", axis=0).astype(np.float32)


def _band_of_coefficients() -> np.ndarray:
    """Return (64, 3): which of three bands a coefficient adds to; the mean of a block to none."""
    order = np.add.outer(np.arange(8), np.arange(8)).ravel()
    member = np.stack([(order > 0) & (order < 4), (order >= 4) & (order < 8), order >= 8], 1).astype(np.float32)
    return member / member.sum(0)


def _ring_of_frequencies() -> np.ndarray:
    """Return (SIDE * (SIDE // 2 + 1), RINGS): means over rings of equal width up to the highest frequency."""
    radius = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    ring = np.minimum((radius / 0.5 * RINGS).astype(int), RINGS - 1).ravel()
    member = (ring[:, None] == np.arange(RINGS)).astype(np.float32)
    return member / member.sum(0)


_DCT, _BANDS, _RINGS = _dct_matrix(), _band_of_coefficients(), _ring_of_frequencies()
_HANN = np.outer(np.hanning(SIDE), np.hanning(SIDE)).astype(np.float32)
