"""What is known of one media file, and what a network asks to be shown."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

REAL, FAKE = 0, 1
SPLITS = ("train", "val", "test")

Kind = Literal["image", "clip", "av_clip", "av_features", "pair"]


@dataclass(frozen=True)
class Record:
    """One video or image of a dataset, as its official files describe it.

    `group` names whoever must not stand on both sides of a split (source video, person).
    `original` is the id of the real record that a fake was made from, where the dataset says so.
    `segments` are forged (start, end) times in seconds; `assets` maps what preprocessing made
    (crops, landmarks, masks, audio, features) to paths relative to the manifest's folder; `attributes` are what reports
    are broken down by (compression, gender, light, ...).
    """

    id: str
    dataset: str
    split: str
    label: int
    path: str
    group: str
    method: str = "real"
    original: str | None = None
    fps: float | None = None
    frames: int | None = None
    segments: tuple[tuple[float, float], ...] = ()
    assets: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class InputSpec:
    """What a network wants to see; sampling, resizing and batching follow it.

    An `image` network sees (N, 3, size, size); a `clip` network (N, frames, 3, size, size) of frames
    `stride` apart, `clips` of them per video. Pixels are RGB in [0, 1]; the network itself applies
    `mean` and `std`.
    """

    kind: Kind = "image"
    size: int = 224
    frames: int = 1
    stride: int = 1
    clips: int = 1
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Failure:
    """One item that could not be used, and why: nothing is skipped in silence."""

    video: str
    stage: str
    reason: str
    detail: str = ""
