"""A forgery that no single frame gives away: each frame is one that a real video could hold, only not there.

The camera's white balance hunts: in a real video it drifts from cold to warm and snaps back. In a forgery it is drawn
for every frame. A frame by itself has the same distribution in both; files are coded frame by frame at a constant
quantiser, so that coding does not tell either.
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


def jumping(random: np.random.Generator, strength: float) -> Forgery:
    """The footage of the target under a white balance that is redrawn for every frame."""

    def forge(shot: Shot) -> np.ndarray:
        picture = compose(shot.scene, draw_face(shot.target, shot.motion, shot.index), shot.motion, shot.index)
        return shoot(hunting(shot.scene, random.random()), picture, random)

    return forge


TEMPORAL: dict[str, Callable[[np.random.Generator, float], Forgery]] = {"Jumping": jumping}
