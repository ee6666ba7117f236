"""Rendered clips on which face tracks go wrong, with the truth: who is where on every frame."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np

from dfd.data.sample.heads import Identity, Motion, draw_face, draw_identity, draw_motion
from dfd.data.sample.scene import Scene, compose, draw_scene, over, warp

Walker = tuple[int, Identity, Callable[[float], float]]  # number, person, place across the picture by share of the clip
FACE = 50.0  # half the width of a drawn face at scale 1


class Head(NamedTuple):
    """Where somebody's face is on a frame: centre, half width, and which share of its width is in the picture."""

    person: int
    x: float
    y: float
    half: float
    visible: float


@dataclass(frozen=True)
class Clip:
    """Frames (H, W, 3) uint8 and, for each, the heads on it."""

    frames: list[np.ndarray]
    heads: list[list[Head]]

    def __add__(self, other: "Clip") -> "Clip":
        size = self.frames[0].shape[1::-1]
        return Clip(self.frames + [cv2.resize(frame, size) for frame in other.frames], self.heads + other.heads)


def people(seed: int, count: int) -> tuple[Scene, list[Identity]]:
    """Make a scene and people up."""
    random = np.random.default_rng(seed)
    return draw_scene(random), [draw_identity(random) for _ in range(count)]


def moving(scene: Scene, persons: list[Walker], frames: int, scale: float = 0.8) -> Clip:
    """Render people whose faces are at x(share of the clip); the later ones stand in front."""
    width = scene.size[0]
    motions = [_motion(person, frames, scene, x, scale) for person, _, x in persons]
    pictures, heads = [], []
    for i in range(frames):
        (_, first, _), *rest = persons
        picture = compose(scene, draw_face(first, motions[0], i), motions[0], i)
        for (_, person, _), motion in zip(rest, motions[1:], strict=True):
            picture = over(picture, warp(draw_face(person, motion, i), motion, i, scene.size))
        pictures.append(picture)
        heads.append([_head(person, m, i, scale, width) for (person, _, _), m in zip(persons, motions, strict=True)])
    return Clip(pictures, heads)


def pans_out(seed: int = 0) -> Clip:
    """Somebody leaves the picture after a third of the clip and does not come back."""
    scene, (person,) = people(seed, 1)
    return moving(scene, [(0, person, lambda t: 0.5 + max(0.0, t - 0.25) * 4)], 100)


def black_first(seed: int = 1) -> Clip:
    """Fifty black frames, then somebody."""
    scene, (person,) = people(seed, 1)
    clip = moving(scene, [(0, person, lambda t: 0.5)], 50)
    return Clip([np.zeros_like(clip.frames[0])] * 50, [[] for _ in range(50)]) + clip


def cut_to_another(seed: int = 2) -> Clip:
    """A cut from somebody to somebody else at the same place, in another scene."""
    scene, (first, second) = people(seed, 2)
    elsewhere, _ = people(seed + 100, 1)
    return moving(scene, [(0, first, lambda t: 0.5)], 45) + moving(elsewhere, [(1, second, lambda t: 0.5)], 45)


def cut_to_nobody(seed: int = 3) -> Clip:
    """Somebody, then a cut to an empty scene for the last quarter."""
    scene, (person,) = people(seed, 1)
    empty, _ = people(seed + 100, 1)
    clip = moving(scene, [(0, person, lambda t: 0.5)], 75)
    return clip + Clip([cv2.resize(empty.backdrop, scene.size)] * 25, [[] for _ in range(25)])


def crossing(seed: int = 4) -> Clip:
    """Two people who change places, one passing in front of the other."""
    scene, (first, second) = people(seed, 2)
    return moving(scene, [(0, first, lambda t: 0.25 + 0.5 * t), (1, second, lambda t: 0.75 - 0.5 * t)], 100, 0.5)


def fast(seed: int = 5) -> Clip:
    """Somebody who moves a face's width to and fro within a third of a second."""
    scene, (person,) = people(seed, 1)
    return moving(scene, [(0, person, lambda t: 0.5 + 0.2 * np.sin(2 * np.pi * 6.3 * t))], 100, 0.6)


CLIPS: dict[str, Callable[[int], Clip]] = {
    "pans_out": pans_out,
    "black_first": black_first,
    "cut_to_another": cut_to_another,
    "cut_to_nobody": cut_to_nobody,
    "crossing": crossing,
    "fast": fast,
}


def _motion(seed: int, frames: int, scene: Scene, x: Callable[[float], float], scale: float) -> Motion:
    motion = draw_motion(np.random.default_rng(seed), frames, scene.size)
    places = np.array([x(i / frames) for i in range(frames)]) * scene.size[0]
    return replace(motion, x=places, y=np.full(frames, 0.5 * scene.size[1]), scale=np.full(frames, scale))


def _head(person: int, motion: Motion, i: int, scale: float, width: int) -> Head:
    x, half = float(motion.x[i]), FACE * scale
    shown = min(x + half, width) - max(x - half, 0.0)
    return Head(person, x, float(motion.y[i]), half, max(0.0, shown / (2 * half)))
