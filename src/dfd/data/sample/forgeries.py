"""Four families of forgery, after those of FaceForensics++: what each does to footage of a target.

Each takes the recorded frame, as a real forgery does, so what it pastes has neither the camera's noise nor its blur.
What differs from video to video (how strong, which way) is drawn once per video; what jitters is drawn per frame.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from dfd.data.sample.heads import CENTRE, Identity, Motion, draw_face, grid, oval
from dfd.data.sample.scene import Scene, covered, warp


@dataclass(frozen=True)
class Shot:
    """One recorded frame of a target, and all that a forger knows about it."""

    frame: np.ndarray
    index: int
    scene: Scene
    target: Identity
    source: Identity
    motion: Motion


Forgery = Callable[[Shot], np.ndarray]


def deepfakes(random: np.random.Generator, strength: float) -> Forgery:
    """The source's inner face in the target's pose: too few pixels, a colour off, a soft border that jitters."""
    shrink = 1 / (1 + random.uniform(0.5, 1.0) * strength)
    tint = random.normal(0, 4, 3) * strength
    soft = random.uniform(6, 12)

    def forge(shot: Shot) -> np.ndarray:
        face = _relit(draw_face(shot.source, shot.motion, shot.index)[..., :3], shot.source, shot.target)
        face = _resampled(face, shrink) + tint
        jitter = random.normal(0, 0.7 * strength, 2)
        mask = oval(shot.target.half * [0.78, 0.74], soft) * _below(-shot.target.half[1] * 0.5)
        return _paste(shot, face, np.roll(mask, np.round(jitter).astype(int), (1, 0)))

    return forge


def face2face(random: np.random.Generator, strength: float) -> Forgery:
    """The target's own face with another expression: rendered a little too smooth, warped along its border."""
    shift, smooth = int(random.integers(8, 25)), random.uniform(0.7, 1.2) * strength
    bend, phase = random.uniform(1.2, 2.4) * strength, random.uniform(0, 6)

    def forge(shot: Shot) -> np.ndarray:
        other = (shot.index + shift) % len(shot.motion)
        motion = replace(
            shot.motion,
            mouth=np.roll(shot.motion.mouth, -shift),
            brow=np.roll(shot.motion.brow, -shift),
            gaze=shot.motion.gaze,
        )
        face = cv2.GaussianBlur(draw_face(shot.target, motion, shot.index)[..., :3], (0, 0), smooth)
        face = _bent(face.astype(np.float32), shot.target.half, bend * np.sin(0.5 * other + phase))
        return _paste(shot, face, oval(shot.target.half * [0.86, 0.86], 5) * _below(-shot.target.half[1] * 0.55))

    return forge


def faceswap(random: np.random.Generator, strength: float) -> Forgery:
    """The source's face as a warped texture: a hard border, a colour that flickers, a shape that does not sit still."""
    tint, shrink = random.normal(0, 4, 3) * strength, 1 / (1 + random.uniform(0.3, 0.8) * strength)
    stretch = 1 + random.uniform(-0.05, 0.05, 2) * strength
    start = int(random.integers(0, 20))

    def forge(shot: Shot) -> np.ndarray:
        still = draw_face(shot.source, shot.motion, (shot.index + start) % len(shot.motion))[..., :3]
        wobble = random.normal(0, 0.8 * strength, 2)
        scale = np.diag(stretch)
        matrix = np.hstack([scale, (CENTRE - scale @ CENTRE + wobble)[:, None]])
        face = _resampled(cv2.warpAffine(still, matrix, still.shape[1::-1], borderMode=cv2.BORDER_REPLICATE), shrink)
        face = _relit(face, shot.source, shot.target) * (1 + 0.02 * strength * random.normal()) + tint
        return _paste(shot, face, oval(shot.target.half * [0.8, 0.8], 2) * _below(-shot.target.half[1] * 0.52, 2))

    return forge


def neuraltextures(random: np.random.Generator, strength: float) -> Forgery:
    """Only the mouth is re-rendered, saying something else, from a texture with too little detail."""
    shift = int(random.integers(8, 25))
    shrink = 1 / (1 + random.uniform(0.9, 1.6) * strength)

    def forge(shot: Shot) -> np.ndarray:
        motion = replace(shot.motion, mouth=np.roll(shot.motion.mouth, -shift))
        face = _resampled(draw_face(shot.target, motion, shot.index)[..., :3], shrink)
        x, y = grid()
        height, wide, _ = shot.target.mouth
        radius = np.sqrt(((x - shot.motion.yaw[shot.index]) / (wide + 21)) ** 2 + ((y - height) / 29) ** 2)
        return _paste(shot, face, np.clip((1 - radius) * 5, 0, 1))

    return forge


def relipped(random: np.random.Generator, strength: float, said: Motion, swap: Forgery | None = None) -> Forgery:
    """The mouth is re-rendered to say what `said` says, after an optional swap of the face: what Wav2Lip does."""
    shrink = 1 / (1 + random.uniform(0.4, 0.8) * strength)

    def forge(shot: Shot) -> np.ndarray:
        person = shot.target if swap is None else shot.source
        frame = shot if swap is None else replace(shot, frame=swap(shot))
        face = draw_face(person, replace(said, yaw=shot.motion.yaw, blink=shot.motion.blink), shot.index)[..., :3]
        if swap is not None:
            face = _relit(face, shot.source, shot.target)
        x, y = grid()
        height, wide, _ = person.mouth
        radius = np.sqrt(((x - shot.motion.yaw[shot.index]) / (wide + 21)) ** 2 + ((y - height - 3) / 32) ** 2)
        return _paste(frame, _resampled(face, shrink), np.clip((1 - radius) * 5, 0, 1))

    return forge


FAMILIES: dict[str, Callable[[np.random.Generator, float], Forgery]] = {
    "Deepfakes": deepfakes,
    "Face2Face": face2face,
    "FaceSwap": faceswap,
    "NeuralTextures": neuraltextures,
}


def _paste(shot: Shot, face: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Warp a face and its mask into the frame, exposed as the camera exposed it, and blend."""
    layer = np.empty((*mask.shape, 4), np.uint8)
    layer[..., :3], layer[..., 3] = np.clip(face, 0, 255), 255 * mask
    placed = warp(layer, shot.motion, shot.index, shot.scene.size)
    pasted, at = shot.frame.copy(), covered(placed)
    frame, part = shot.frame[at], placed[at].astype(np.float32)
    pasted[at] = np.clip(frame + (part[..., :3] * shot.scene.gain[at] - frame) * (part[..., 3:] / 255), 0, 255)
    return pasted


def _below(height: float, soft: float = 6.0) -> np.ndarray:
    return np.clip((grid()[1] - height) / soft + 0.5, 0, 1)


def _resampled(face: np.ndarray, share: float) -> np.ndarray:
    """Lose detail: fewer pixels, then as many as before."""
    height, width = face.shape[:2]
    small = cv2.resize(face, (round(width * share), round(height * share)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)


def _relit(face: np.ndarray, source: Identity, target: Identity) -> np.ndarray:
    """Match the mean colour of the source's inner face to the target's, as colour transfer does."""
    inner = (oval(target.half * 0.6) > 0.5).astype(np.uint8)
    has, wanted = (np.array(cv2.mean(person.head[..., :3], inner)[:3]) for person in (source, target))
    return face * (wanted / np.maximum(has, 1)).astype(np.float32)


def _bent(face: np.ndarray, half: np.ndarray, amount: float) -> np.ndarray:
    """Push the face sideways near its border, as a mesh does that does not quite fit."""
    x, y = grid()
    ring = np.exp(-(((np.sqrt((x / half[0]) ** 2 + (y / half[1]) ** 2) - 0.75) / 0.18) ** 2))
    columns, rows = (x + CENTRE[0] + amount * ring).astype(np.float32), (y + CENTRE[1]).astype(np.float32)
    return cv2.remap(face, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
