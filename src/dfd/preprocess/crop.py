"""One video or image to its face crops.

The work on a video is a generator: it yields small pictures and is sent the faces in them, so that whoever runs it can
detect the faces of several videos in one batch:

    decode, hold the kept frames, find scene cuts
      -> look: yield the pictures of some frames, receive their faces
      -> link them into tracks; look again between looks that disagree, until none do
      -> lay out the table of frames and boxes
      -> cut the crops out of the held frames

A file is decoded once. Where its kept frames would not fit into memory, it is decoded a second time instead.
"""

import hashlib
import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from dfd.core.errors import DfdError
from dfd.data.align import square
from dfd.data.crops import CROP_BOX, FACE_BOX, LANDMARKS, Crops, Table
from dfd.data.kinds import is_image
from dfd.data.video import BadVideo, Picture, Video, open_video, read_image
from dfd.preprocess.appearance import describe
from dfd.preprocess.detectors import BY_FILE, LICENCES, check, detector_for, found
from dfd.preprocess.faces import Detections, FaceDetector, detection_scale
from dfd.preprocess.scenes import correlation, find_cuts, part, thumbnail
from dfd.preprocess.tracks import NO_CUTS, Main, Track, interpolate, link, main_tracks, unsettled

VERSION = 4  # of what this file does with a video: raise it when the crops change
LOOKS_VERSION = 2  # of what is kept of the detector's looks
BATCH = 16  # pictures that wait to be looked at
LOST = 0.6  # correlation of a face with itself on the nearest look, below which there is another look
HELD = 256 * 2**20  # bytes of decoded frames that wait to be cut
PLACES = (*FACE_BOX, *CROP_BOX, *LANDMARKS)  # columns in pixels of the frame
DETECTOR = ("detector", "detector_weights", "detector_sha256")
READING = ("view_margin", "align")  # options that change what is shown of a crop, but not what is stored

Looking = Generator[list[np.ndarray], list[Detections], Any]


class NoFace(DfdError):
    """No face was found with enough confidence."""

    reason = "no_face"


@dataclass(frozen=True)
class CropOptions:
    """How faces are cut, and what a network is shown of them.

    Args:
        size: largest side of a stored crop; a crop has its native resolution and is never enlarged.
        margin: what a crop shows beyond the longer side of the face's box, as a share of it.
        groups: bursts of consecutive frames, spread evenly over the video's time; 0: every `every`-th frame.
        length: frames of a burst.
        every: step between kept frames, with groups=0.
        detections: frames that the detector looks at first, with bursts: one a burst by default.
        look_every: seconds between its first looks, with groups=0. Where two looks disagree, it looks between them.
        min_confidence: at which a face begins a track; a known face goes on at 0.7.
        min_frames: of a video; a shorter one is a failure.
        max_gap: seconds from the nearest look, beyond which an interpolated box is not valid.
        max_tracks: people that are kept of a video.
        main: whether the largest or the most central person is the main one.
        image_format: of stored crops; webp is lossless.
        jpeg_quality: for image_format=jpg.
        view_margin: margin that a network is shown, at most `margin`; applied when a crop is read.
        align: whether the five points of a face are turned level; applied when a crop is read.
        detector: of faces: mtcnn, facenet (the same from facenet-pytorch), yunet, scrfd, retinaface.
        detector_weights: ONNX file of the last three.
        detector_sha256: its hash, found from the file.
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
    detector: str = "mtcnn"
    detector_weights: str | None = None
    detector_sha256: str | None = None

    def __post_init__(self) -> None:
        sha256 = check(self.detector, self.detector_weights, self.detector_sha256)
        object.__setattr__(self, "detector_sha256", sha256)
        if self.view_margin is not None and self.view_margin > self.margin:
            raise DfdError(f"crops.view_margin={self.view_margin}: the stored crops reach only {self.margin} far")

    @property
    def hash(self) -> str:
        """Eight hex digits over everything that changes the stored crops."""
        left_out = (*READING, *DETECTOR)
        return _digest(
            {key: value for key, value in asdict(self).items() if key not in left_out} | self._other_detector
        )

    @property
    def looks_hash(self) -> str:
        """Eight hex digits over what decides which frames the detector looks at."""
        names = ("groups", "length", "every", "detections", "look_every")
        return _digest({"looks": LOOKS_VERSION} | {key: getattr(self, key) for key in names} | self._other_detector)

    @property
    def _other_detector(self) -> dict[str, Any]:
        """What names a detector other than the usual one; where its file lies does not count."""
        names = {"detector": self.detector, "detector_sha256": self.detector_sha256}
        return {} if self.detector == "mtcnn" else names

    def look_for_weights(self) -> None:
        """Raise where the detector's file is not on this machine, or is another one."""
        if self.detector in BY_FILE:
            found(self.detector, self.detector_weights, self.detector_sha256)

    def face_detector(self, device: str = "cpu") -> FaceDetector:
        """Return this process's detector."""
        return detector_for(self.detector, self.detector_weights, self.detector_sha256, device)


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
    """Cut a square box out of an image and shrink it to `size`, never enlarge it; beyond its edge it is mirrored."""
    x0, y0 = (int(value) for value in np.floor(box[:2]))
    side = max(1, round(float(box[2] - box[0])))
    width, height = image.size if isinstance(image, Picture) else image.shape[1::-1]
    columns, rows = _mirrored(x0, side, width), _mirrored(y0, side, height)
    (left, right), (top, bottom) = ((int(at.min()), int(at.max()) + 1) for at in (columns, rows))
    crop = image.region(left, top, right, bottom) if isinstance(image, Picture) else image[top:bottom, left:right]
    if crop.shape[:2] != (side, side) or x0 < 0 or y0 < 0:
        crop = crop[(rows - top)[:, None], columns - left]
    if side > size:
        return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(crop)


class Cutting:
    """The work on one file, as a generator of what it wants looked at; afterwards `table`, `facts` and `stream`."""

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
        self.detections: dict[int, Detections] | None = None  # by frame, in pixels of the video
        self.table: dict[str, np.ndarray] = {}
        self.facts: dict[str, Any] = {}
        self._pictures: dict[int, Picture | np.ndarray] | None = {}

    def look(self) -> Looking:
        """Decode, ask for faces where they are not known yet, and lay out the table."""
        if is_image(self.path):
            yield from self._look_at_image(read_image(self.path))
            self.facts |= {"bytes": self.path.stat().st_size, **self._detector_facts()}
            return
        with open_video(self.path) as video:
            self.facts = {**asdict(video.info), "bytes": self.path.stat().st_size, **self._detector_facts()}
            keep = pick_frames(video.times, self.options)
            if video.info.frames < self.options.min_frames:
                least = self.options.min_frames
                raise BadVideo(f"{self.path} has {video.info.frames} frames; wanted are {least}", "too_short")
            boxes = self._boxes(video.info.width, video.info.height)
            if boxes is None:
                yield from self._find(video, keep)
            else:
                self._follow(video, boxes)

    def _detector_facts(self) -> dict[str, Any]:
        if self.options.detector == "mtcnn":
            return {}
        return {
            "detector": self.options.detector,
            "detector_sha256": self.options.detector_sha256,
            "detector_licence": LICENCES[self.options.detector],
        }

    def stream(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (row, crop) of every valid row; a frame that turns out not to be decodable loses its validity.

        A second call decodes the file again.
        """
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
            self.detections = self.detections or {0: describe(image, (yield [image])[0])}
            self._lay_out(np.zeros(1, int), np.zeros(1), (width, height), 0)
        else:
            self.table = {name: column[:1].copy() for name, column in boxes.items()}

    def _boxes(self, width: int, height: int) -> Table | None:
        """Return the original's table in pixels of this file; none where faces have to be found here."""
        if self.original is None or self.original_size in (None, (width, height)):
            return self.original
        across, down = self.original_size
        if abs(width * down - height * across) > across + down:  # more than rounding a side to whole pixels makes
            self.facts["found_anew"] = True
            return None
        scales = {name: height / down if "y" in name else width / across for name in PLACES}
        return {name: column * scales[name] if name in scales else column for name, column in self.original.items()}

    def _find(self, video: Video, keep: np.ndarray) -> Looking:
        first = set() if self.detections is not None else set(look_frames(video.times, keep, self.options).tolist())
        self.detections = dict(self.detections or {})
        self._scale = detection_scale(video.info.width, video.info.height)
        thumbnails: dict[int, np.ndarray] = {}
        waiting: list[Picture] = []
        for picture in video.pictures(keep):
            self._hold(picture)
            thumbnails[picture.index] = thumbnail(picture.grey())
            if picture.index in first:
                waiting.append(picture)
            if len(waiting) == BATCH:
                yield from self._look_at(waiting)
                waiting = []
        yield from self._look_at(waiting)
        if not thumbnails:
            raise BadVideo(f"{self.path} holds no frame that can be decoded")
        kept, size = np.array(list(thumbnails)), (video.info.width, video.info.height)
        cuts = find_cuts(kept.tolist(), list(thumbnails.values()))
        yield from self._settle(video, kept, size, cuts)
        self.facts |= {"looks": len(self.detections), "cuts": len(cuts)}
        self._lay_out(keep, video.times[keep], size, self.options.max_gap * video.info.fps, cuts)
        self.table["valid"] &= np.isin(self.table["frame"], kept)  # of the others there is no picture

    def _settle(self, video: Video, kept: np.ndarray, size: tuple[int, int], cuts: np.ndarray) -> Looking:
        """Look between looks that disagree about the main people, until none do."""
        assert self.detections is not None
        while True:
            tracks = self._main_tracks(size, cuts)
            wanted = unsettled(tracks, sorted(self.detections), kept, cuts) if tracks else []
            wanted = wanted or self._lost(tracks, kept, video.info.fps, cuts)
            if not wanted:
                return
            held, before = self._pictures, len(self.detections)
            pictures = video.pictures(wanted) if held is None else iter([held[frame] for frame in wanted])
            while batch := list(islice(pictures, BATCH)):
                yield from self._look_at(batch)
            if len(self.detections) == before:  # frames that were decoded once, but not alone
                return

    def _lost(self, tracks: Sequence[Track], kept: np.ndarray, fps: float, cuts: np.ndarray) -> list[int]:
        """Return frames on which an interpolated box holds another picture than on the look nearest to it.

        Looks that agree about somebody who moves to and fro between them are found out by this.
        """
        looks = np.array(sorted(self.detections or ()))
        held = {frame: p.grey() for frame, p in (self._pictures or {}).items() if isinstance(p, Picture)}
        if not held or next(iter(held.values())).shape[1] != self.facts["width"]:
            return []
        lost = set()
        for track in tracks:
            faces = interpolate(track, kept, self.options.max_gap * fps, looks, cuts)
            seen = dict(zip(track.frames, track.boxes, strict=True))
            for row in np.flatnonzero(faces["valid"] & ~faces["detected"]):
                frame = int(kept[row])
                nearest = min(seen, key=lambda look: abs(look - frame))
                now = part(held[frame], faces["box"][row])
                then = part(held[nearest], seen[nearest])
                if now is not None and then is not None and correlation(now, then) < LOST:
                    lost.add(frame)
        return sorted(lost)

    def _look_at(self, pictures: Sequence[Any]) -> Looking:
        """Have the faces of some pictures detected, and describe what they look like."""
        assert self.detections is not None
        if not pictures:
            return
        images = [picture.shrunk(self._scale) for picture in pictures]
        found = yield images
        for picture, image, faces in zip(pictures, images, found, strict=True):
            self.detections[picture.index] = describe(image, faces).scaled(1 / self._scale)

    def _follow(self, video: Video, original: Table) -> None:
        """Take the frames and boxes of the original, so that pixels correspond; what this file lacks is left out."""
        rows = np.flatnonzero((original["frame"] < video.info.frames) & original["valid"])
        if not len(rows):
            raise BadVideo(f"{self.path} shares no frame with its original", "too_short")
        self.table = {name: column[rows].copy() for name, column in original.items()}
        for picture in video.pictures(self.table["frame"]):
            self._hold(picture)

    def _main_tracks(self, size: tuple[int, int], cuts: np.ndarray) -> list[Track]:
        assert self.detections is not None
        tracks = link(self.detections, self.options.min_confidence, cuts)
        return main_tracks(tracks, size, self.options.max_tracks, self.options.main, sorted(self.detections))

    def _lay_out(
        self, keep: np.ndarray, times: np.ndarray, size: tuple[int, int], reach: float, cuts: np.ndarray = NO_CUTS
    ) -> None:
        assert self.detections is not None
        tracks = self._main_tracks(size, cuts)
        if not tracks:
            looks, least = len(self.detections), self.options.min_confidence
            raise NoFace(f"no face with confidence {least} on {looks} frame(s) of {self.path}")
        faces = [interpolate(track, keep, reach, sorted(self.detections), cuts) for track in tracks]
        self.table = _table(faces, keep, times, self.options.margin)

    def _hold(self, picture: Picture) -> None:
        if self._pictures is None:
            return
        self.room -= picture.nbytes
        self._pictures[picture.index] = picture
        if self.room < 0:
            self._pictures = None

    def _again(self, frames: list[int]) -> Iterable[tuple[int, Picture | np.ndarray]]:
        held, self._pictures = self._pictures, None
        if held is not None:
            yield from ((frame, held.pop(frame)) for frame in frames if frame in held)
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
    images = dict(work.stream())
    return Crops(work.table, images)


def crop_image(image: np.ndarray, options: CropOptions, detector: FaceDetector) -> Crops:
    """Cut the main face out of a single picture."""
    work = Cutting(Path("this picture"), options)
    drive(work._look_at_image(image), detector)
    return Crops(work.table, dict(work.stream()))


def drive(work: Looking, detector: FaceDetector) -> None:
    """Run a generator of pictures by itself, to its end."""
    answer = None
    try:
        while True:
            answer = detector.detect(work.send(answer))  # type: ignore[arg-type]
    except StopIteration:
        return


def _mirrored(start: int, side: int, size: int) -> np.ndarray:
    """Return the `side` indices from `start` on, those outside of 0 to size - 1 mirrored at the edge."""
    at = np.arange(start, start + side) % (2 * size)
    return np.where(at < size, at, 2 * size - 1 - at)


def _table(people: Sequence[Table], frames: np.ndarray, times: np.ndarray, margin: float) -> dict:
    parts = []
    for number, faces in enumerate(people):
        columns = {"frame": frames, "t": times, "track": np.full(len(frames), number)}
        columns |= {name: faces[name] for name in ("valid", "confidence", "detected")}
        columns |= dict(zip(FACE_BOX, faces["box"].T, strict=True))
        columns |= dict(zip(CROP_BOX, square(faces["box"], margin).T, strict=True))
        parts.append(columns | dict(zip(LANDMARKS, faces["landmarks"].reshape(-1, 10).T, strict=True)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps({"version": VERSION, **values}).encode()).hexdigest()[:8]
