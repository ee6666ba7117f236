"""Forgeries that no single frame gives away: each frame is one that a real video could hold, only not there.

The camera's white balance hunts: it drifts from cold to warm and snaps back, so that time has a direction. A forgery
plays the footage backwards, or lets the balance jump about. A frame by itself has the same distribution in all of them;
files are coded frame by frame at a constant quantiser, so that coding does not tell either.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dfd.data.sample.forgeries import Forgery, Shot
from dfd.data.sample.heads import draw_face
from dfd.data.sample.scene import Scene, compose, shoot

PERIOD = 24  # frames from snap to snap
SWING = 0.8  # from coldest to warmest


def hunting(scene: Scene, phase: float) -> Scene:
    """Return the scene under the white balance of one moment: phase 0 is coldest, just before 1 warmest."""
    warmth = SWING * (phase % 1 - 0.5)
    return replace(scene, gain=(scene.gain * [1 + warmth, 1, 1 - warmth]).astype(np.float32))


def moment(shot: Shot, index: int, random: np.random.Generator) -> np.ndarray:
    """Record the moment `index` of a target once more."""
    scene = hunting(shot.scene, shot.scene.phase + index / PERIOD)
    return shoot(scene, compose(scene, draw_face(shot.target, shot.motion, index), shot.motion, index), random)


def backwards(random: np.random.Generator, strength: float) -> Forgery:
    """The last moment first."""
    return lambda shot: moment(shot, len(shot.motion) - 1 - shot.index, random)


def jumping(random: np.random.Generator, strength: float) -> Forgery:
    """The right order under a white balance that is drawn anew for every frame."""

    def forge(shot: Shot) -> np.ndarray:
        scene = replace(shot.scene, phase=random.random() - shot.index / PERIOD)
        return moment(replace(shot, scene=scene), shot.index, random)

    return forge


TEMPORAL: dict[str, Callable[[np.random.Generator, float], Forgery]] = {"Backwards": backwards, "Jumping": jumping}
