"""Drawn heads: identities, how they move, and their faces on a small canvas that is then warped into a picture."""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

WIDTH, HEIGHT = 180, 230  # of the canvas of one head, about as large as it appears in a video
CENTRE = np.array([90.0, 122.0])

SKINS = np.array(
    [[241, 206, 183], [228, 184, 152], [205, 158, 122], [172, 122, 88], [132, 90, 66], [98, 66, 50]], float
)
HAIRS = np.array([[38, 30, 27], [72, 48, 33], [120, 82, 50], [178, 142, 92], [128, 128, 128], [112, 52, 30]], float)


@dataclass(frozen=True)
class Identity:
    """What stays the same about a person: proportions, colours, and a skin that is theirs alone."""

    half: np.ndarray  # half width and half height of the face
    eye: np.ndarray  # distance of an eye from the middle, its height, half width, half height
    brow: np.ndarray  # height above the eye, thickness, slope
    mouth: np.ndarray  # height, half width, fullness of the lips
    skin: np.ndarray
    lips: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    head: np.ndarray  # (H, W, 4) uint8: skin, shading, nose, hair, beard; no eyes, brows or mouth
    pores: np.ndarray  # (H, W, 1) int16: the finest texture, laid over everything that is drawn on the face
    glasses: float  # thickness of the frame, or 0


@dataclass(frozen=True)
class Motion:
    """Where a head is and what its face does, frame by frame: arrays (T,)."""

    x: np.ndarray
    y: np.ndarray
    roll: np.ndarray
    scale: np.ndarray
    yaw: np.ndarray
    blink: np.ndarray
    mouth: np.ndarray
    brow: np.ndarray
    gaze: np.ndarray
    spread: np.ndarray | None = None  # of the corners of a mouth that says something, -1 (rounded) to 1 (wide)

    def __len__(self) -> int:
        return len(self.x)


def draw_identity(random: np.random.Generator) -> Identity:
    """Make a person up."""
    skin = _tint(random, SKINS, 8)
    hair = _tint(random, HAIRS, 10)
    half = np.array([random.uniform(50, 57), random.uniform(66, 75)])
    pores = _noise(random, 0.9, random.uniform(4, 7)) + _noise(random, 2.5, random.uniform(1.5, 3.5))
    return Identity(
        half=half,
        eye=np.array(
            [random.uniform(20, 24), random.uniform(-16, -10), random.uniform(9, 12), random.uniform(4.5, 6.5)]
        ),
        brow=np.array([random.uniform(12, 16), random.uniform(2, 5), random.uniform(-2, 3)]),
        mouth=np.array([random.uniform(33, 39), random.uniform(15, 21), random.uniform(3.0, 5.5)]),
        skin=skin,
        lips=np.clip(skin * [0.82, 0.6, 0.62] + random.normal(0, 8, 3), 20, 230),
        hair=hair,
        iris=np.array([[70, 45, 30], [60, 90, 120], [70, 100, 70]][random.integers(3)], float),
        head=_head(random, half, skin, hair),
        pores=pores[..., None].astype(np.int16),
        glasses=float(random.uniform(1, 2.5)) if random.random() < 0.25 else 0.0,
    )


def draw_motion(random: np.random.Generator, frames: int, size: tuple[int, int], fps: float = 25) -> Motion:
    """Make up how a head moves, blinks and talks in a picture of `size` (width, height)."""
    t = np.arange(frames) / fps

    def wander(amplitude: float, slowest: float = 0.2, fastest: float = 0.9) -> np.ndarray:
        waves = [random.uniform(slowest, fastest, 2), random.uniform(0, 2 * np.pi, 2)]
        return amplitude * (
            np.sin(2 * np.pi * waves[0][0] * t + waves[1][0]) + 0.4 * np.sin(6 * waves[0][1] * t + waves[1][1])
        )

    blink = np.zeros(frames)
    for moment in np.arange(random.uniform(0.2, 1.5), t[-1] + 1, random.uniform(1.2, 2.5)):
        blink = np.maximum(blink, np.clip(1 - np.abs(t - moment) / 0.12, 0, 1))
    talk = np.clip(np.abs(np.sin(2 * np.pi * random.uniform(1.5, 3.5) * t)) * (0.55 + wander(0.5, 0.3, 0.8)), 0, 1)
    return Motion(
        x=size[0] / 2 + random.uniform(-28, 28) + wander(random.uniform(2, 9)),
        y=size[1] * 0.5 + random.uniform(-6, 8) + wander(random.uniform(1, 4)),
        roll=random.uniform(-5, 5) + wander(random.uniform(1, 5)),
        scale=random.uniform(0.88, 1.1) + wander(random.uniform(0.005, 0.025)),
        yaw=random.uniform(-4, 4) + wander(random.uniform(1, 4)),
        blink=blink,
        mouth=talk,
        brow=wander(1.5),
        gaze=wander(2.0),
    )


def draw_face(person: Identity, motion: Motion, i: int) -> np.ndarray:
    """Return the canvas (H, W, 4) uint8 of a person at one moment of a motion."""
    canvas = person.head.copy()
    image = np.ascontiguousarray(canvas[..., :3])
    middle = CENTRE + [motion.yaw[i], 0]
    for side in (-1, 1):
        _draw_eye(image, person, middle, side, float(motion.blink[i]), float(motion.gaze[i]))
        _draw_brow(image, person, middle, side, float(motion.brow[i]))
    spread = 0.0 if motion.spread is None else float(motion.spread[i])
    _draw_mouth(image, person, middle, float(motion.mouth[i]), spread)
    if person.glasses:
        _draw_glasses(image, person, middle)
    canvas[..., :3] = np.clip(image + person.pores, 0, 255).astype(np.uint8)
    return canvas


def placement(motion: Motion, i: int) -> np.ndarray:
    """Return the affine map (2, 3) from the canvas into the picture."""
    angle, scale = np.deg2rad(motion.roll[i]), motion.scale[i]
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.hstack([turn, (np.array([motion.x[i], motion.y[i]]) - turn @ CENTRE)[:, None]])


@functools.cache
def grid() -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of every pixel of the canvas, from the centre of the face."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return x - CENTRE[0], y - CENTRE[1]


def oval(half: np.ndarray, soft: float = 1.5) -> np.ndarray:
    """Return the coverage (H, W) in [0, 1] of a face's oval, narrower at the chin, with a border `soft` pixels wide."""
    return _oval(float(half[0]), float(half[1]), soft)


@functools.lru_cache(maxsize=64)
def _oval(a: float, b: float, soft: float) -> np.ndarray:
    x, y = grid()
    width = a * (1 - 0.22 * np.clip(y / b, 0, 1) ** 2)
    radius = np.sqrt((x / width) ** 2 + (y / b) ** 2)
    return np.clip((1 - radius) * min(a, b) / soft + 0.5, 0, 1)


def _head(random: np.random.Generator, half: np.ndarray, skin: np.ndarray, hair: np.ndarray) -> np.ndarray:
    x, y = grid()
    shade = _shading(random, half)
    skin_map = skin * (1 + 0.02 * _noise(random, 18, 1.0)[..., None]) * shade[..., None]
    skin_map[..., 0] += 9 * np.exp(-(((np.abs(x) - 28) / 13) ** 2) - ((y - 15) / 12) ** 2) * random.uniform(0, 1.5)
    freckles = (_noise(random, 1.3, 1.0) > random.uniform(2.2, 3.5)) * random.uniform(10, 35)
    skin_map -= cv2.GaussianBlur(freckles.astype(np.float32), (0, 0), 0.8)[..., None]
    if random.random() < 0.3:
        beard = (
            np.clip((y - 18) / 12, 0, 1) * oval(half - 3, 10) * (0.5 + 0.5 * np.clip(_noise(random, 1.0, 1.0), -1, 1))
        )
        skin_map += (hair - skin_map) * (random.uniform(0.3, 0.8) * beard)[..., None]
    strands = cv2.GaussianBlur(random.normal(0, 26, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 0.7, sigmaY=5)
    hair_map = hair * (0.75 + 0.3 * shade[..., None]) + strands[..., None]
    line = -half[1] * random.uniform(0.5, 0.68) + 0.006 * random.uniform(-1, 1.5) * x**2
    fringe = np.clip((line - y) / 4 + 0.02 * strands, 0, 1)
    sides = np.clip((np.abs(x) - half[0] * random.uniform(0.86, 1.02)) / 3, 0, 1) * (y < random.uniform(-25, 60))
    hairy = np.maximum(fringe, sides)
    behind = oval(half + [random.uniform(3, 10), 10], 1.5) * np.clip((random.uniform(-10, 60) - y) / 4, 0, 1)
    face, neck = oval(half), np.clip((27 - np.abs(x)) / 2, 0, 1) * (y > 30)
    hairy = np.maximum(hairy * face, (1 - face) * (y < 60) * (behind > 0))
    under = np.where(face[..., None] > 0.5, skin_map, skin * 0.6)
    colour = under + (hair_map - under) * hairy[..., None]
    alpha = np.maximum(np.maximum(face, neck), behind)
    return np.dstack([np.clip(colour, 0, 255), 255 * alpha]).astype(np.uint8)


def _shading(random: np.random.Generator, half: np.ndarray) -> np.ndarray:
    """Light on an ellipsoid with a nose, eye sockets and a chin."""
    x, y = grid()
    light = np.array([random.uniform(-0.7, 0.7), random.uniform(-0.6, 0.1), 1.0])
    light /= np.linalg.norm(light)
    nx, ny = x / (half[0] * 1.12), y / (half[1] * 1.12)
    nz = np.sqrt(np.clip(1 - nx**2 - ny**2, 0.02, 1))
    nose_width, nose_end = random.uniform(6, 9), random.uniform(14, 20)
    ridge = np.exp(-((x / nose_width) ** 2)) * (y > -14) * (y < nose_end)
    nx = nx + 0.8 * ridge * x / nose_width
    shade = random.uniform(0.45, 0.6) + 0.55 * np.clip(nx * light[0] + ny * light[1] + nz * light[2], 0, 1)
    sockets = np.exp(-(((np.abs(x) - 22) / 14) ** 2) - ((y + 12) / 9) ** 2)
    under_nose = np.exp(-((x / (nose_width * 1.3)) ** 2) - ((y - nose_end - 1) / 3) ** 2)
    nostrils = np.exp(-(((np.abs(x) - nose_width * 0.55) / 2.4) ** 2) - ((y - nose_end + 1) / 1.8) ** 2)
    chin = np.exp(-((x / 16) ** 2) - ((y - half[1] * 0.72) / 4) ** 2)
    shade = shade - 0.12 * sockets - 0.16 * under_nose - 0.4 * nostrils - 0.06 * chin
    return cv2.GaussianBlur(shade.astype(np.float32), (0, 0), 1.2)


def _tint(random: np.random.Generator, palette: np.ndarray, spread: float) -> np.ndarray:
    """Return a colour near one of a palette: lighter or darker, hardly of another hue."""
    return np.clip(palette[random.integers(len(palette))] + random.normal(0, spread) + random.normal(0, 2, 3), 12, 250)


def _noise(random: np.random.Generator, sigma: float, amplitude: float) -> np.ndarray:
    """Return smooth noise (H, W) of a given grain and standard deviation."""
    noise = cv2.GaussianBlur(random.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), sigma)
    return noise * (amplitude / max(1e-6, float(noise.std())))


def _at(point: np.ndarray) -> tuple[int, int]:
    """A point with four binary digits after the comma, as OpenCV draws it."""
    return int(point[0] * 16), int(point[1] * 16)


def _ellipse(image: np.ndarray, centre: np.ndarray, half: tuple[float, float], colour: np.ndarray) -> None:
    axes = int(max(0.3, half[0]) * 16), int(max(0.3, half[1]) * 16)
    cv2.ellipse(image, _at(centre), axes, 0, 0, 360, tuple(map(float, colour)), -1, cv2.LINE_AA, 4)


def _draw_eye(image: np.ndarray, person: Identity, middle: np.ndarray, side: int, blink: float, gaze: float) -> None:
    distance, height, wide, high = person.eye
    centre, skin = middle + [side * distance, height], person.skin
    _ellipse(image, centre + [0, -1], (wide + 2.5, high + 2.5), skin * 0.74)
    opening = high * (1 - 0.9 * blink)
    _ellipse(image, centre, (wide, opening), np.array([228, 224, 220]))
    if blink < 0.7:
        pupil = centre + [np.clip(gaze, -3, 3), 0]
        radius = min(high * 0.95, opening)
        _ellipse(image, pupil, (high * 0.9, radius), person.iris)
        _ellipse(image, pupil, (high * 0.45, min(high * 0.45, radius)), np.array([15, 12, 12]))
        _ellipse(image, pupil + [1.5, -1.5], (1.0, 1.0), np.array([250, 250, 250]))
    lid = [centre + [wide * np.cos(a), -opening * np.sin(a)] for a in np.linspace(0, np.pi, 9)]
    cv2.polylines(image, [np.array([_at(p) for p in lid])], False, (48, 34, 30), 2, cv2.LINE_AA, 4)


def _draw_brow(image: np.ndarray, person: Identity, middle: np.ndarray, side: int, lift: float) -> None:
    distance, height, wide, _ = person.eye
    above, thick, slope = person.brow
    inner = middle + [side * (distance - wide), height - above - lift]
    outer = middle + [side * (distance + wide + 3), height - above - lift + slope]
    arch = (inner + outer) / 2 - [0, 4]
    points = np.array([_at(p) for p in (inner, arch, outer)])
    cv2.polylines(image, [points], False, tuple(map(float, person.hair * 0.8)), max(1, round(thick)), cv2.LINE_AA, 4)


def _draw_mouth(image: np.ndarray, person: Identity, middle: np.ndarray, opening: float, spread: float = 0.0) -> None:
    height, wide, full = person.mouth
    wide = wide * (1 + 0.25 * spread)
    centre, gap = middle + [0, height], 7 * opening
    _ellipse(image, centre + [0, gap / 2], (wide, full + gap / 2 + 1), person.lips)
    _ellipse(image, centre + [0, gap / 2], (wide * 0.85, gap / 2 + 0.5), np.array([52, 22, 24]))
    if opening > 0.25:
        _ellipse(image, centre + [0, 0.5], (wide * 0.6, gap * 0.25), np.array([222, 216, 206]))
    _ellipse(image, centre + [0, gap + full * 0.8], (wide * 0.45, full * 0.25), np.clip(person.lips * 1.22, 0, 255))


def _draw_glasses(image: np.ndarray, person: Identity, middle: np.ndarray) -> None:
    distance, height, wide, _ = person.eye
    thick = max(1, round(person.glasses))
    for side in (-1, 1):
        centre = middle + [side * distance, height + 1]
        axes = int((wide + 6) * 16), int((wide + 2) * 16)
        cv2.ellipse(image, _at(centre), axes, 0, 0, 360, (30, 28, 32), thick, cv2.LINE_AA, 4)
        end = CENTRE + [side * person.half[0], height - 2]
        cv2.line(image, _at(centre + [side * (wide + 6), -2]), _at(end), (30, 28, 32), thick, cv2.LINE_AA, 4)
    left, right = (middle + [side * (distance - wide - 6), height] for side in (-1, 1))
    cv2.line(image, _at(left), _at(right), (30, 28, 32), thick, cv2.LINE_AA, 4)
