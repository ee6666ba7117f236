"""Synthetic outliers: corruptions, pseudo-forgeries, and the benign changes that must not be rejected.

A record is asked for in changed form by its method, `synthetic/<kind>`. What is drawn depends on the record (and, in
training, on the visit) alone: never on order, worker or process.
"""

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import cv2
import numpy as np
from torch.utils.data import Dataset

from dfd.core.errors import DfdError, did_you_mean
from dfd.core.records import FAKE, Record
from dfd.data.views import Views, Visit

PREFIX = "synthetic/"
Change = Callable[[np.ndarray, np.random.Generator, np.ndarray], np.ndarray]


def outliers_of(records: Iterable[Record], kinds: Sequence[str]) -> list[Record]:
    """Return an outlier (label 1) per record, the kinds in turn."""
    _check(kinds)
    return [_changed(record, kinds[number % len(kinds)], FAKE) for number, record in enumerate(records)]


def changed(records: Iterable[Record], kind: str) -> list[Record]:
    """Return the same records in changed form, with their labels."""
    _check([kind])
    return [_changed(record, kind, record.label) for record in records]


def _changed(record: Record, kind: str, label: int) -> Record:
    return replace(record, id=f"{record.id}#{kind}", label=label, method=f"{PREFIX}{kind}")


def _check(kinds: Sequence[str]) -> None:
    for kind in kinds:
        if kind not in CHANGES:
            raise DfdError(f"no synthetic outlier {kind!r}{did_you_mean(kind, CHANGES)}: {', '.join(CHANGES)}")


class ChangedViews(Dataset[Views]):
    """Views of which those of synthetic records are changed; partners (for mixing) come from the same split."""

    def __init__(self, views: Dataset[Views], records: Sequence[Record]) -> None:
        self.views = views
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, visit: Visit | int) -> Views:
        number, seed = visit if isinstance(visit, tuple) else (visit, None)
        view, record = self.views[visit], self.records[number]
        if not record.method.startswith(PREFIX):
            return view
        kind = record.method.removeprefix(PREFIX)
        draw = np.random.default_rng([zlib.crc32(record.id.encode()), *([] if seed is None else [seed])])
        other = int(draw.integers(len(self)))
        partner = self.views[Visit(other)]["pixels"] if kind in NEED_PARTNER else view["pixels"]
        return {**view, "pixels": change(view["pixels"], kind, draw, partner)}


def with_changes(views: Dataset[Views], records: Sequence[Record]) -> Dataset[Views]:
    """Return views that change what the records ask to be changed; the same views where none does."""
    asked = any(record.method.startswith(PREFIX) for record in records)
    return ChangedViews(views, records) if asked else views


def change(pixels: np.ndarray, kind: str, generator: np.random.Generator, partner: np.ndarray) -> np.ndarray:
    """Change uint8 pixels (..., 3, H, W); the frames of one video are changed alike."""
    frames = _frames(pixels)
    others = _frames(partner)[np.arange(len(frames)) % len(_frames(partner))]
    done = CHANGES[kind](frames, generator, others)
    whole = np.clip(np.rint(done), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(whole.transpose(0, 3, 1, 2)).reshape(pixels.shape)


def _frames(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels.reshape(-1, *pixels.shape[-3:]).transpose(0, 2, 3, 1))


def _each(frames: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.stack([function(frame) for frame in frames])


def _blur(frames: np.ndarray, generator: np.random.Generator, partner: np.ndarray) -> np.ndarray:
    sigma = max(1.0, 2.5 * frames.shape[1] / 224)
    return _each(frames, lambda frame: cv2.GaussianBlur(frame, (0, 0), sigma))


def _brightening(low: float, high: float) -> Change:
    def add(frames: np.ndarray, generator: np.random.Generator, partner: np.ndarray) -> np.ndarray:
        return frames + 255 * generator.uniform(low, high) * generator.random(frames.shape)

    return add


def _rotated_noise(frames: np.ndarray, generator: np.random.Generator, partner: np.ndarray) -> np.ndarray:
    turned = np.rot90(frames, int(generator.integers(1, 4)), (1, 2))
    return turned + 127.5 * generator.random(turned.shape)


def _jpeg(quality: int) -> Change:
    def compress(frame: np.ndarray) -> np.ndarray:
        coded = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))

    return lambda frames, generator, partner: _each(frames, compress)


def _rescaled(low: float, high: float) -> Change:
    def rescale(frames: np.ndarray, generator: np.random.Generator, partner: np.ndarray) -> np.ndarray:
        size = frames.shape[2], frames.shape[1]
        scale = generator.uniform(low, high)
        small = max(2, round(size[0] * scale)), max(2, round(size[1] * scale))
        up = int(generator.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST] if high < 0.6 else [1]))
        return _each(
            frames, lambda f: cv2.resize(cv2.resize(f, small, interpolation=cv2.INTER_AREA), size, None, 0, 0, up)
        )

    return rescale


def _noise(deviation: float) -> Change:
    return lambda frames, generator, partner: frames + generator.normal(0, deviation, frames.shape)


def _blend(frames: np.ndarray, generator: np.random.Generator, partner: np.ndarray) -> np.ndarray:
    """Paste a picture, moved, scaled, recoloured a little, into itself (self-blending, Shiohara and Yamasaki 2022)."""
    height, width = frames.shape[1:3]
    shift = generator.uniform(-0.05, 0.05, 2) * (width, height)
    scale = generator.uniform(0.92, 1.08)
    move = np.array([[scale, 0, shift[0] + (1 - scale) * width / 2], [0, scale, shift[1] + (1 - scale) * height / 2]])
    mask = _ellipse(height, width, generator)
    tint, gain = generator.uniform(-20, 20, 3), generator.uniform(0.85, 1.15)
    moved = _each(frames, lambda f: cv2.warpAffine(f, move, (width, height), borderMode=cv2.BORDER_REFLECT))
    return mask * (gain * moved + tint) + (1 - mask) * frames


def _ellipse(height: int, width: int, generator: np.random.Generator) -> np.ndarray:
    mask = np.zeros((height, width), np.float32)
    centre = tuple(int(v) for v in generator.uniform(0.4, 0.6, 2) * (width, height))
    axes = tuple(int(v) for v in generator.uniform(0.2, 0.38, 2) * (width, height))
    cv2.ellipse(mask, centre, axes, float(generator.uniform(0, 180)), 0, 360, 1.0, -1)
    return cv2.GaussianBlur(mask, (0, 0), max(1.0, width / 40))[..., None] * generator.uniform(0.5, 1)


def _spectrum(frames: np.ndarray, generator: np.random.Generator, partner: np.ndarray) -> np.ndarray:
    """Keep the phases and low frequencies of a picture; its other amplitudes are those of its partner."""
    own, other = np.fft.fft2(frames, axes=(1, 2)), np.fft.fft2(partner, axes=(1, 2))
    radius = np.hypot(np.fft.fftfreq(frames.shape[1])[:, None], np.fft.fftfreq(frames.shape[2])[None])
    swap = (radius > generator.uniform(0.02, 0.15))[None, :, :, None]
    amplitude = np.where(swap, np.abs(other), np.abs(own))
    return np.fft.ifft2(amplitude * np.exp(1j * np.angle(own)), axes=(1, 2)).real


def _shuffle(frames: np.ndarray, generator: np.random.Generator, partner: np.ndarray) -> np.ndarray:
    """Shuffle the tiles of a grid."""
    parts = int(generator.integers(2, 5))
    rows, columns = (np.array_split(np.arange(side // parts * parts), parts) for side in frames.shape[1:3])
    tiles = [np.ix_(np.arange(len(frames)), row, column) for row in rows for column in columns]
    out = frames.copy()
    for target, source in zip(tiles, generator.permutation(len(tiles)), strict=True):
        out[target] = frames[tiles[source]]
    return out


def _cutmix(frames: np.ndarray, generator: np.random.Generator, partner: np.ndarray) -> np.ndarray:
    """Put a rectangle of the partner in (Yun et al. 2019)."""
    height, width = frames.shape[1:3]
    side = np.sqrt(generator.uniform(0.15, 0.6))
    h, w = max(1, int(side * height)), max(1, int(side * width))
    top, left = int(generator.integers(height - h + 1)), int(generator.integers(width - w + 1))
    out = frames.copy()
    out[:, top : top + h, left : left + w] = partner[:, top : top + h, left : left + w]
    return out


CORRUPTIONS: dict[str, Change] = {
    "blur": _blur,
    "noise": _brightening(0.5, 0.5),
    "strong_noise": _brightening(0.9, 1.2),
    "rotated_noise": _rotated_noise,
    "jpeg": _jpeg(10),
}
FORGERIES: dict[str, Change] = {
    "blend": _blend,
    "spectrum": _spectrum,
    "resample": _rescaled(0.2, 0.5),
    "shuffle": _shuffle,
    "cutmix": _cutmix,
}
BENIGN: dict[str, Change] = {"jpeg75": _jpeg(75), "resize": _rescaled(0.7, 0.7), "light_noise": _noise(4.0)}
CHANGES = CORRUPTIONS | FORGERIES | BENIGN
NEED_PARTNER = ("spectrum", "cutmix")
