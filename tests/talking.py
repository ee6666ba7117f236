"""Talking faces small enough for a test: a bar that opens as a tone gets louder, with the tone beside it."""

from pathlib import Path

import numpy as np

from dfd.core.manifest import Manifest
from dfd.core.records import Record
from dfd.data.crops import COLUMNS, CROP_BOX, Crops, write_crops

HOP = 640


def opening(seed: int, frames: int) -> np.ndarray:
    """Return how far a mouth is open, frame by frame."""
    random = np.random.default_rng(seed)
    knots = random.uniform(0, 1, frames // 2 + 2)
    return np.interp(np.arange(frames) / 2, np.arange(len(knots)), knots)


def pictures(track: np.ndarray, side: int = 48, seed: int = 0) -> np.ndarray:
    """Return frames (T, side, side, 3) uint8 whose bar is as high as the mouth is open."""
    random = np.random.default_rng(seed)
    shade = random.integers(60, 200)
    frames = np.full((len(track), side, side, 3), shade, np.uint8)
    frames += random.integers(0, 8, frames.shape, np.uint8)
    for frame, open_ in zip(frames, track, strict=True):
        half = 1 + round(open_ * side / 5)
        middle = side * 3 // 4
        frame[middle - half : middle + half, side // 3 : side - side // 3] = 15
    return frames


def voice(track: np.ndarray, pitch: float = 440.0) -> np.ndarray:
    """Return int16 samples as loud as the mouth is open."""
    loud = np.repeat(track, HOP)
    t = np.arange(len(loud)) / 16_000
    return np.round(12_000 * loud * np.sin(2 * np.pi * pitch * t)).astype(np.int16)


def crops_of(images: np.ndarray, fps: float = 25.0, track: int = 0) -> Crops:
    """Return crops of every frame."""
    count, side = images.shape[:2]
    table = {name: np.zeros(count) for name in COLUMNS}
    table |= {"frame": np.arange(count), "t": np.arange(count) / fps, "valid": np.ones(count, bool)}
    table |= {name: np.full(count, float(value)) for name, value in zip(CROP_BOX, (0, 0, side, side), strict=True)}
    return Crops(table | {"track": np.full(count, track), "confidence": np.ones(count)}, dict(enumerate(images)))


def talking_heads(folder: Path, splits: dict[str, int], frames: int = 60, fakes: bool = True) -> Manifest:
    """Write a dataset: a real clip of every person, and one whose voice is another's."""
    records = []
    for split, people in splits.items():
        for person in range(people):
            seed = len(records) + 1
            track = opening(seed, frames)
            for label, method in ((0, "real"), (1, "RVFA"))[: 2 if fakes else 1]:
                name = f"{split}{person}_{method}"
                heard = track if label == 0 else opening(1000 + seed, frames)
                write_crops(folder / f"crops/{name}.zip", crops_of(pictures(track, seed=seed)))
                (folder / "audio").mkdir(exist_ok=True)
                np.save(folder / f"audio/{name}.npy", voice(heard, 300.0 + 20 * (seed % 7)))
                assets = {"crops": f"crops/{name}.zip", "audio": f"audio/{name}.npy"}
                group = f"{split}{person}"
                records.append(Record(name, "heads", split, label, f"{name}.mp4", group, method, assets=assets))
    return Manifest(tuple(records), folder)
