"""Media files as a dataset describes them, and the inputs that networks ask for."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from dfd.core.errors import DfdError

REAL, FAKE = 0, 1
SPLITS = ("train", "val", "test")

Stream = Literal["video", "audio", "both"]
STREAMS: tuple[str, ...] = get_args(Stream)


class Segment(NamedTuple):
    """A forged stretch of a file, in seconds, and the stream that was forged."""

    start: float
    end: float
    stream: Stream = "both"


@dataclass(frozen=True)
class Record:
    """One video or image of a dataset, as its official files describe it.

    `group` names whoever must not stand on both sides of a split (source video, person); `donor` is the person whose
    face a fake shows, where that is another one than its group.
    `original` is the id of the real record that a fake was made from, where the dataset says so.
    `assets` maps what preprocessing made (crops, landmarks, masks, audio, features) to paths relative to the
    manifest's folder; `attributes` are what reports are broken down by (compression, gender, light, ...).
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
    segments: tuple[Segment, ...] = ()
    assets: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    donor: str | None = None


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class InputSpec:
    """Pictures: what an `image` or a `clip` network sees; sampling, resizing and batching follow it.

    An `image` network sees (N, 3, size, size); a `clip` network (N, frames, 3, size, size) of frames
    `stride` apart, `clips` of them per video. Pixels are RGB in [0, 1]; the network itself applies
    `mean` and `std`.
    """

    kind: Literal["image", "clip"] = "image"
    size: int = 224
    frames: int = 1
    stride: int = 1
    clips: int = 1
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one view."""
        picture = (3, self.size, self.size)
        return picture if self.kind == "image" else (self.frames, *picture)


@dataclass(frozen=True)
class TalkInput:
    """A talking face: `frames` pictures at a steady rate, and the sound under these frames.

    A network sees pixels (N, frames, 3, size, size) and mono sound (N, samples), which begins `margin` frames before
    the pictures and ends as long after them; it compares `window` frames at a time. In training it sees `windows` views
    of a video at random; in evaluation one every `stride` frames, or one after the other where stride is 0.
    """

    size: int = 224
    frames: int = 5
    fps: float = 25.0
    sample_rate: int = 16_000
    windows: int = 1
    stride: int = 0
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    margin: int = 0
    window: int = 5
    kind: Literal["talk"] = field(default="talk", init=False)

    @property
    def samples(self) -> int:
        """How many samples of sound a view has."""
        return round((self.frames + 2 * self.margin) * self.sample_rate / self.fps)


class FeatureStream(NamedTuple):
    """One stream of features over time: its name, how many numbers a step has, and steps per second."""

    name: str
    width: int
    rate: float


@dataclass(frozen=True)
class SequenceInput:
    """Features over time: named streams, resampled in seconds onto one grid of `length` steps, `rate` a second.

    A network sees each stream as (N, width, length), and which steps lie within the video, (N, length).
    """

    streams: tuple[FeatureStream, ...]
    length: int
    rate: float
    kind: Literal["sequence"] = field(default="sequence", init=False)

    @property
    def seconds(self) -> float:
        """How much time the grid covers."""
        return self.length / self.rate


@dataclass(frozen=True)
class PairInput:
    """A degraded picture and the clean one under it: (N, 3, size, size) each; `crops` random ones per picture."""

    size: int = 128
    crops: int = 1
    kind: Literal["pair"] = field(default="pair", init=False)


Input = InputSpec | TalkInput | SequenceInput | PairInput
INPUTS: dict[str, type[InputSpec] | type[TalkInput] | type[SequenceInput] | type[PairInput]] = {
    "image": InputSpec,
    "clip": InputSpec,
    "talk": TalkInput,
    "sequence": SequenceInput,
    "pair": PairInput,
}


def input_to_dict(input: Input) -> dict[str, Any]:
    """Return an input as plain values, for a checkpoint's card."""
    return {key: _lists(value) for key, value in asdict(input).items()}


def input_from_dict(values: Mapping[str, Any]) -> Input:
    """Return the input that a card describes."""
    kind = values.get("kind")
    if kind not in INPUTS:
        raise DfdError(f"a network of kind {kind!r} is not known here ({', '.join(INPUTS)}): update dfd")
    arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    if "streams" in arguments:
        arguments["streams"] = tuple(FeatureStream(*stream) for stream in arguments["streams"])
    if INPUTS[kind] is not InputSpec:
        del arguments["kind"]
    return INPUTS[kind](**arguments)


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True)
class Failure:
    """One item that could not be used, and why: nothing is skipped in silence."""

    video: str
    stage: str
    reason: str
    detail: str = ""
