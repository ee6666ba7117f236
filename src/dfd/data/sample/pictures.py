"""A drawn stand-in for CDDB: twelve folders in its layout, each with reals of its source and fakes with their traces.

As in the original, `glow` and `stargan_gf` share a source of reals, as `crn` and `imle` do; four folders have
categories, other ones in `val` than in `train`; modes and file formats vary.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from dfd.core.errors import DfdError
from dfd.data.sample.folder import whole
from dfd.data.sample.sheet import tiles

VERSION = 1  # of the drawings: raise it when they change
SIDE = 64
PICTURES = 120  # of either class and generator for training; a third for testing
MODES = ("RGB", "RGB", "RGB", "L", "RGBA", "P")


class Generator(NamedTuple):
    """Where its reals come from, what its fakes carry, and its categories."""

    source: str
    trace: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()


def describe(dataset: str, seed: int = 0, pictures: int | None = None) -> dict[str, Any]:
    """Return what a sample is made from: two samples with the same facts are the same."""
    return {"version": VERSION, "dataset": dataset, "seed": seed, "pictures": pictures or PICTURES}


def build(dataset: str, folder: Path, *, seed: int = 0, pictures: int | None = None) -> Path:
    """Draw the sample into a folder, once; it appears when it is complete, and the same seed gives the same pixels."""
    facts = describe(dataset, seed, pictures)
    if facts["pictures"] < 8:
        raise DfdError(f"the {dataset} sample needs at least 8 pictures of a kind, got {facts['pictures']}")

    def draw(root: Path) -> None:
        rows = [list(_write(root, name, seed, facts["pictures"])) for name in GENERATORS]
        cv2.imwrite(str(root / "contact_sheet.png"), cv2.cvtColor(tiles(rows), cv2.COLOR_RGB2BGR))

    return whole(folder, facts, draw)


def _write(root: Path, name: str, seed: int, pictures: int) -> Iterator[np.ndarray]:
    """Write one generator's folder; yield its first reals and fakes, for the contact sheet."""
    generator = GENERATORS[name]
    for split, count, categories in (
        ("train", pictures, generator.train),
        ("val", max(4, pictures // 3), generator.val),
    ):
        for label, kind in enumerate(("0_real", "1_fake")):
            for number in range(count):
                place = root / name / split / (categories[number % len(categories)] if categories else "") / kind
                place.mkdir(parents=True, exist_ok=True)
                # reals are drawn from their source's stream: generators of one source show the same pictures
                stream = generator.source if label == 0 else name
                draw = np.random.default_rng([seed, zlib.crc32(f"{stream}/{split}".encode()), label, number])
                picture = draw_picture(generator.source, draw)
                picture = photographed(picture, draw) if label == 0 else generator.trace(picture, draw)
                picture = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
                _save(place / f"{number:05d}", picture, draw)
                if split == "train" and number < 4:
                    yield picture


def _save(path: Path, picture: np.ndarray, draw: np.random.Generator) -> None:
    mode = MODES[int(draw.integers(len(MODES)))]
    image = Image.fromarray(picture)
    if mode == "RGB" and draw.random() < 0.5:
        image.save(path.with_suffix(".jpg"), quality=92)
    else:
        image.convert(mode).save(path.with_suffix(".png"))


def draw_picture(source: str, draw: np.random.Generator) -> np.ndarray:
    """Draw a scene (SIDE, SIDE, 3) of a source: soft ground, shapes in its colours, a face where it shows people."""
    style = SOURCES[source]
    ground = _clouds(draw, style["scale"])[..., None] * np.array(style["light"]) + np.array(style["dark"])
    for _ in range(int(draw.integers(2, 6))):
        ground = _shape(ground, draw, np.array(style["dark"]) + draw.uniform(0, 200, 3))
    if style["faces"]:
        ground = _face(ground, draw)
    return cv2.GaussianBlur(ground, (0, 0), 0.7)


def photographed(picture: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Add what a sensor adds."""
    return picture + draw.normal(0, 1 + picture / 60)


def _clouds(draw: np.random.Generator, scale: int) -> np.ndarray:
    small = draw.random((scale, scale)).astype(np.float32)
    return cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).astype(float)


def _mask(draw: np.random.Generator, centre: tuple[float, float], axes: tuple[float, float]) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.float32)
    points = [tuple(int(SIDE * value) for value in pair) for pair in (centre, axes)]
    cv2.ellipse(mask, points[0], points[1], float(draw.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_AA)
    return mask[..., None]


def _shape(picture: np.ndarray, draw: np.random.Generator, colour: np.ndarray) -> np.ndarray:
    mask = _mask(draw, tuple(draw.uniform(0, 1, 2)), tuple(draw.uniform(0.05, 0.25, 2)))
    return picture * (1 - mask) + colour * mask


def _face(picture: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    skin = np.array([225, 180, 150]) * draw.uniform(0.5, 1.05)
    head = _mask(draw, (0.5, 0.52), (0.27, 0.27)) * (0.8 + 0.4 * _clouds(draw, 5)[..., None])
    picture = picture * (1 - np.clip(head, 0, 1)) + skin * np.clip(head, 0, 1.1)
    for x in (0.4, 0.6):
        eye = _mask(draw, (x, 0.45), (0.05, 0.03))
        picture = picture * (1 - eye) + 40 * eye
    mouth = _mask(draw, (0.5, 0.68), (0.09, 0.02))
    return picture * (1 - mouth) + np.array([150, 60, 60]) * mouth


def _grid(period: int, strength: float, blur: float = 0.0) -> Callable[..., np.ndarray]:
    """The checkerboard of a transposed convolution."""
    wave = np.cos(2 * np.pi * np.arange(SIDE) / period)
    pattern = (wave[:, None] * wave[None])[..., None]

    def trace(picture: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        soft = cv2.GaussianBlur(picture, (0, 0), blur) if blur else picture
        return soft + draw.uniform(0.6, 1.2) * strength * pattern + draw.normal(0, 0.7, picture.shape)

    return trace


def _smooth(sigma: float, steps: int = 0) -> Callable[..., np.ndarray]:
    """The softness of a regressed picture, with steps in its colours."""

    def trace(picture: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        soft = cv2.GaussianBlur(picture, (0, 0), sigma * draw.uniform(0.8, 1.2))
        return np.round(soft / steps) * steps if steps else soft

    return trace


def _sharp(amount: float) -> Callable[..., np.ndarray]:
    """The ringing of super-resolution."""

    def trace(picture: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        low = cv2.resize(cv2.resize(picture, (SIDE // 2, SIDE // 2)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        return low + amount * (low - cv2.GaussianBlur(low, (0, 0), 1.5))

    return trace


def _swapped(colour: float, quality: int) -> Callable[..., np.ndarray]:
    """A face of another picture, blended in, then compressed."""

    def trace(picture: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        mask = cv2.GaussianBlur(_mask(draw, (0.5, 0.52), (0.22, 0.22)), (0, 0), 2)[..., None]
        other = cv2.GaussianBlur(_face(picture, draw), (0, 0), 1.2) + draw.normal(0, colour, 3)
        mixed = photographed(picture, draw) * (1 - mask) + other * mask
        coded = cv2.imencode(".jpg", np.clip(mixed, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), float)

    return trace


SOURCES: Mapping[str, Mapping[str, Any]] = {
    "lsun": {"light": (120, 100, 70), "dark": (40, 35, 40), "scale": 5, "faces": False},
    "imagenet": {"light": (90, 130, 90), "dark": (40, 50, 40), "scale": 8, "faces": False},
    "style": {"light": (110, 110, 140), "dark": (60, 60, 40), "scale": 10, "faces": False},
    "coco": {"light": (130, 120, 110), "dark": (30, 40, 50), "scale": 7, "faces": False},
    "celeba": {"light": (80, 80, 100), "dark": (70, 60, 60), "scale": 4, "faces": True},
    "gta": {"light": (60, 90, 140), "dark": (60, 70, 60), "scale": 6, "faces": False},
    "benchmarks": {"light": (150, 150, 150), "dark": (30, 30, 30), "scale": 14, "faces": False},
    "youtube": {"light": (60, 60, 60), "dark": (80, 80, 90), "scale": 3, "faces": True},
    "ffhq": {"light": (120, 110, 90), "dark": (60, 60, 70), "scale": 6, "faces": True},
    "internet": {"light": (100, 70, 70), "dark": (50, 50, 60), "scale": 4, "faces": True},
}
GENERATORS = {
    "biggan": Generator("imagenet", _grid(4, 7)),
    "crn": Generator("gta", _smooth(1.6)),
    "cyclegan": Generator("style", _grid(4, 6, 0.5), ("apple", "horse", "orange"), ("orange", "zebra")),
    "deepfake": Generator("youtube", _swapped(14, 80)),
    "gaugan": Generator("coco", _grid(8, 8)),
    "glow": Generator("celeba", _smooth(0.6, 12), ("black_hair", "blond_hair"), ("blond_hair", "brown_hair")),
    "imle": Generator("gta", _smooth(1.2, 6)),
    "san": Generator("benchmarks", _sharp(1.5)),
    "stargan_gf": Generator("celeba", _grid(2, 7), ("black_hair", "blond_hair"), ("brown_hair",)),
    "stylegan": Generator("lsun", _grid(2, 6), ("bedroom", "car"), ("cat",)),
    "whichfaceisreal": Generator("ffhq", _grid(2, 4, 0.4)),
    "wild": Generator("internet", _swapped(20, 55)),
}
