"""Forgeries that no single frame gives away: each frame is one that a real video could hold, only not there.

The camera's colour balance, constant in a real video, is drawn anew for every frame from the same distribution; or a
face's expressions come in a shuffled order over an unchanged motion of the head. Files are coded frame by frame at a
constant quantiser, so that coding does not tell either.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dfd.data.sample.forgeries import Forgery, Shot
from dfd.data.sample.heads import draw_face
from dfd.data.sample.scene import compose, draw_balance, shoot


def flicker(random: np.random.Generator, strength: float) -> Forgery:
    """The whole picture under another colour balance in every frame."""

    def forge(shot: Shot) -> np.ndarray:
        gain = shot.scene.gain / shot.scene.balance * draw_balance(random)
        scene = replace(shot.scene, gain=gain.astype(np.float32))
        return shoot(
            scene, compose(scene, draw_face(shot.target, shot.motion, shot.index), shot.motion, shot.index), random
        )

    return forge


def reordered(random: np.random.Generator, strength: float) -> Forgery:
    """The face's own expressions, in an order that no face makes."""
    seed = random.integers(2**31)

    def forge(shot: Shot) -> np.ndarray:
        order = np.random.default_rng(seed).permutation(len(shot.motion))
        changed = {name: getattr(shot.motion, name)[order] for name in ("mouth", "blink", "brow", "gaze")}
        motion = replace(shot.motion, **changed)
        return shoot(
            shot.scene, compose(shot.scene, draw_face(shot.target, motion, shot.index), motion, shot.index), random
        )

    return forge


TEMPORAL: dict[str, Callable[[np.random.Generator, float], Forgery]] = {"Flicker": flicker, "Reordered": reordered}
