"""One video or image to its face crops.

The work on a video is a generator: it hands out small pictures and is sent the faces in them, so that whoever runs it
can look for the faces of several videos at once. A file is decoded once, and its wanted frames are held until the
main face is known; where they would not fit into memory, it is decoded a second time instead.
"""

import hashlib
import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from dfd.core.errors import DfdError
from dfd.data.align import square
from dfd.data.crops import CROP_BOX, FACE_BOX, LANDMARKS, Crops, Table
from dfd.data.video import IMAGE_SUFFIXES, BadVideo, Picture, Video, open_video, read_image
from dfd.preprocess.faces import Detections, FaceDetector, detection_scale
from dfd.preprocess.tracks import Main, Track, interpolate, link, main_tracks

VERSION = 3  # of what this file does with a video: raise it when the crops change
BATCH = 16  # pictures that wait to be looked at
HELD = 256 * 2**20  # bytes of decoded frames that wait to be cut
PLACES = (*FACE_BOX, *CROP_BOX, *LANDMARKS)  # columns in pixels of the frame
READING = ("view_margin", "align")  # options that change what is shown of a crop, but not what is stored

Looking = Generator[list[np.ndarray], list[Detections], Any]


class NoFace(DfdError):
    """No face was found with enough confidence."""

    reason = "no_face"


@dataclass(frozen=True)
class CropOptions:
    """How faces are cut, and what a network is shown of them.

    Kept are `groups` bursts of `length` consecutive frames, spread evenly over the video's time; with groups=0 it is
    every `every`-th frame. The detector looks once a burst, or every `look_every` seconds if there are none; between
    looks boxes are interpolated, up to `max_gap` seconds from one. A crop is the square of (1 + margin) times the
    longer side of the box, at its native resolution but at most `size`. The `max_tracks` largest (or most central)
    faces are kept. `view_margin` (at most `margin`) and `align` (eyes level, by five points) are applied when a crop
    is read, and can be changed later.
    """

    size: int = 256
    margin: float = 0.3
    groups: int = 8
    length: int = 4
    every: int = 1
    detections: int = 8
    look_every: float = 0.2
    min_confidence: float = 0.9
    min_frames: int = 1
    max_gap: float = 1.0
    max_tracks: int = 1
    main: Main = "largest"
    image_format: Literal["webp", "png", "jpg"] = "webp"
    jpeg_quality: int = 95
    view_margin: float | None = None
    align: bool = False

    def __post_init__(self) -> None:
        if self.view_margin is not None and self.view_margin > self.margin:
            raise DfdError(f"crops.view_margin={self.view_margin}: the stored crops reach only {self.margin} far")

    @property
    def hash(self) -> str:
        """Eight hex digits over everything that changes the stored crops."""
        return _digest({key: value for key, value in asdict(self).items() if key not in READING})

    @property
    def looks_hash(self) -> str:
        """Eight hex digits over what decides which frames the detector looks at."""
        return _digest({key: getattr(self, key) for key in ("groups", "length", "every", "detections", "look_every")})


def pick_frames(times: np.ndarray, options: CropOptions) -> np.ndarray:
    """Return the frames to keep of a video whose frames are shown at `times`: bursts evenly spread, or every n-th."""
    count = len(times)
    if options.groups == 0:
        return np.arange(0, count, options.every)
    if count <= options.length:
        return np.arange(count)
    last = times[count - options.length]
    spread = np.linspace(times[0], last, options.groups) + 1e-6
    starts = np.searchsorted(times[: count - options.length + 1], spread, side="right") - 1
    return np.unique(starts[:, None] + np.arange(options.length))


def look_frames(times: np.ndarray, keep: np.ndarray, options: CropOptions) -> np.ndarray:
    """Return the frames that the detector looks at: some of those that are kept, the first and the last among them."""
    if options.groups:
        wanted = max(1, min(options.detections, len(keep)))
    else:
        span = float(times[keep[-1]] - times[keep[0]])
        wanted = min(len(keep), int(span / options.look_every) + 2)
    return keep[np.unique(np.linspace(0, len(keep) - 1, wanted).round().astype(int))]


def cut(image: np.ndarray | Picture, box: np.ndarray, size: int) -> np.ndarray:
    """Cut a square box out of an image; what lies outside repeats the border; shrink it to `size`, never enlarge it."""
    x0, y0 = (int(value) for value in np.floor(box[:2]))
    side = max(1, round(float(box[2] - box[0])))
    width, height = image.size if isinstance(image, Picture) else image.shape[1::-1]
    left, top = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
    right, bottom = min(max(x0 + side, left + 1), width), min(max(y0 + side, top + 1), height)
    crop = image.region(left, top, right, bottom) if isinstance(image, Picture) else image[top:bottom, left:right]
    if (left, top, right, bottom) != (x0, y0, x0 + side, y0 + side):
        rows, columns = (
            np.arange(o, o + side).clip(a, b - 1) - a for o, a, b in ((y0, top, bottom), (x0, left, right))
        )
        crop = crop[rows[:, None], columns]
    if side > size:
        return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(crop)


class Cutting:
    """The work on one file, as a generator of what it wants looked at; afterwards `table`, `facts` and `images`."""

    def __init__(
        self,
        path: Path,
        options: CropOptions,
        original: Table | None = None,
        held: int = HELD,
        original_size: tuple[int, int] | None = None,
    ) -> None:
        self.path, self.options, self.original, self.room = path, options, original, held
        self.original_size = original_size  # width and height; None: as this file
        self.detections: dict[int, Detections] | None = None
        self.table: dict[str, np.ndarray] = {}
        self.facts: dict[str, Any] = {}
        self._pictures: dict[int, Picture | np.ndarray] | None = {}

    def look(self) -> Looking:
        """Decode, ask for faces where they are not known yet, and lay out the table."""
        if self.path.suffix.lower() in IMAGE_SUFFIXES:
            yield from self._look_at_image(read_image(self.path))
            self.facts["bytes"] = self.path.stat().st_size
            return
        with open_video(self.path) as video:
            self.facts = {**asdict(video.info), "bytes": self.path.stat().st_size}
            keep = pick_frames(video.times, self.options)
            if video.info.frames < self.options.min_frames:
                least = self.options.min_frames
                raise BadVideo(f"{self.path} has {video.info.frames} frames; wanted are {least}", "too_short")
            boxes = self._boxes(video.info.width, video.info.height)
            if boxes is None:
                yield from self._find(video, keep)
            else:
                self._follow(video, boxes)

    def images(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (row, crop) of every valid row; a frame that turns out not to be decodable loses its validity."""
        boxes, size = np.stack([self.table[name] for name in CROP_BOX], 1), self.options.size
        valid = self.table["valid"]
        missing = set(np.flatnonzero(valid).tolist())
        rows_of: dict[int, list[int]] = {}
        for row in sorted(missing):
            rows_of.setdefault(int(self.table["frame"][row]), []).append(row)
        for frame, picture in self._again(sorted(rows_of)):
            for row in rows_of[frame]:
                missing.discard(row)
                yield row, cut(picture, boxes[row], size)
        valid[sorted(missing)] = False
        if not valid.any():
            raise NoFace(f"no frame with a face of {self.path} can be decoded")

    def _look_at_image(self, image: np.ndarray) -> Looking:
        height, width = image.shape[:2]
        self.facts = {"frames": 1, "fps": 25.0, "width": width, "height": height}
        self._pictures = {0: image}
        boxes = self._boxes(width, height)
        if boxes is None:
            self.detections = self.detections or {0: (yield [image])[0]}
            self._lay_out(np.zeros(1, int), np.zeros(1), (width, height), 0)
        else:
            self.table = {name: column[:1].copy() for name, column in boxes.items()}

    def _boxes(self, width: int, height: int) -> Table | None:
        """Return the original's table in pixels of this file; none where faces have to be found here."""
        if self.original is None or self.original_size in (None, (width, height)):
            return self.original
        across, down = self.original_size  # type: ignore[misc]
        if abs(width * down - height * across) > across + down:  # more than rounding a side to whole pixels makes
            self.facts["found_anew"] = True
            return None
        scales = {name: height / down if "y" in name else width / across for name in PLACES}
        return {name: column * scales[name] if name in scales else column for name, column in self.original.items()}

    def _find(self, video: Video, keep: np.ndarray) -> Looking:
        look = [] if self.detections is not None else look_frames(video.times, keep, self.options).tolist()
        asked = set(look)
        found: dict[int, Detections] = dict(self.detections or {})
        waiting: dict[int, np.ndarray] = {}
        scale = detection_scale(video.info.width, video.info.height)
        for picture in video.pictures(keep):
            self._hold(picture)
            if picture.index in asked:
                waiting[picture.index] = picture.shrunk(scale)
            if len(waiting) == BATCH:
                found |= _sized(waiting, (yield list(waiting.values())), scale)
                waiting = {}
        if waiting:
            found |= _sized(waiting, (yield list(waiting.values())), scale)
        if not found:
            raise BadVideo(f"{self.path} holds no frame that can be decoded")
        self.detections = found
        size = (video.info.width, video.info.height)
        self._lay_out(keep, video.times[keep], size, self.options.max_gap * video.info.fps)

    def _follow(self, video: Video, original: Table) -> None:
        """Take the frames and boxes of the original, so that pixels correspond; what this file lacks is left out."""
        rows = np.flatnonzero((original["frame"] < video.info.frames) & original["valid"])
        if not len(rows):
            raise BadVideo(f"{self.path} shares no frame with its original", "too_short")
        self.table = {name: column[rows].copy() for name, column in original.items()}
        for picture in video.pictures(self.table["frame"]):
            self._hold(picture)

    def _lay_out(self, keep: np.ndarray, times: np.ndarray, size: tuple[int, int], reach: float) -> None:
        assert self.detections is not None
        tracks = link(self.detections, self.options.min_confidence)
        if not tracks:
            looks, least = len(self.detections), self.options.min_confidence
            raise NoFace(f"no face with confidence {least} on {looks} frame(s) of {self.path}")
        tracks = main_tracks(tracks, size, self.options.max_tracks, self.options.main)
        self.table = _table(tracks, keep, times, reach, self.options.margin)

    def _hold(self, picture: Picture) -> None:
        if self._pictures is None:
            return
        self.room -= picture.nbytes
        self._pictures[picture.index] = picture
        if self.room < 0:
            self._pictures = None

    def _again(self, frames: list[int]) -> Iterable[tuple[int, Picture | np.ndarray]]:
        if self._pictures is not None:
            yield from ((frame, self._pictures.pop(frame)) for frame in frames if frame in self._pictures)
            return
        with open_video(self.path) as video:
            yield from ((picture.index, picture) for picture in video.pictures(frames))


def crop_video(
    path: Path,
    options: CropOptions,
    detector: FaceDetector,
    original: Table | None = None,
    original_size: tuple[int, int] | None = None,
) -> Crops:
    """Cut the main faces out of a video or image file.

    With `original`, the table of the video that a fake was made from, its frames and boxes are used and nothing is
    detected, so that the pixels of the two correspond; frames that the fake lacks are left out. A fake that is larger
    or smaller than `original_size` (width, height) has larger or smaller boxes; one of another shape is looked at.
    """
    work = Cutting(path, options, original, original_size=original_size)
    drive(work.look(), detector)
    images = dict(work.images())
    return Crops(work.table, images)


def crop_image(image: np.ndarray, options: CropOptions, detector: FaceDetector) -> Crops:
    """Cut the main face out of a single picture."""
    work = Cutting(Path("this picture"), options)
    drive(work._look_at_image(image), detector)
    return Crops(work.table, dict(work.images()))


def drive(work: Looking, detector: FaceDetector) -> None:
    """Run a generator of pictures by itself, to its end."""
    answer = None
    try:
        while True:
            answer = detector.detect(work.send(answer))  # type: ignore[arg-type]
    except StopIteration:
        return


def _sized(images: Mapping[int, np.ndarray], found: list[Detections], scale: float) -> dict[int, Detections]:
    return {frame: faces.scaled(1 / scale) for frame, faces in zip(images, found, strict=True)}


def _table(tracks: list[Track], frames: np.ndarray, times: np.ndarray, reach: float, margin: float) -> dict:
    parts = []
    for number, track in enumerate(tracks):
        faces = interpolate(track, frames, reach)
        columns = {"frame": frames, "t": times, "valid": faces["valid"], "track": np.full(len(frames), number)}
        columns["confidence"] = faces["confidence"]
        columns |= dict(zip(FACE_BOX, faces["box"].T, strict=True))
        columns |= dict(zip(CROP_BOX, square(faces["box"], margin).T, strict=True))
        parts.append(columns | dict(zip(LANDMARKS, faces["landmarks"].reshape(-1, 10).T, strict=True)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps({"version": VERSION, **values}).encode()).hexdigest()[:8]
