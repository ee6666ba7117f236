"""A media file to the views that runs want to see: decoded, faces found and cut once, shown as in evaluation."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from dfd.core.card import Card, Looking
from dfd.core.errors import DfdError
from dfd.core.records import InputSpec
from dfd.data.align import RESIZES, show
from dfd.data.audio import read_sound
from dfd.data.crops import Crops
from dfd.data.images import whole_frames
from dfd.data.kinds import is_image
from dfd.data.sample.mark import is_rendered
from dfd.data.talk import CropStream, NotTalking, file_talk_views
from dfd.data.video import read_image
from dfd.data.views import pick_views
from dfd.preprocess.crop import CropOptions, Cutting, crop_image, crop_video, drive

log = logging.getLogger("dfd")

# what decoders raise on files that they cannot read
DECODER_ERRORS = (ValueError, RuntimeError, AttributeError, OSError, cv2.error)


class FileViews(NamedTuple):
    """Views of one file: pixels (V, 3, S, S) or (V, T, 3, S, S) uint8, times and people (V,); or why none.

    Those of a talking face have sound (V, samples) and the number of frames that are the file's own, `length` (V,);
    a long file has many such parts. `rendered` is whether the file belongs to our rendered sample, `run` the number of
    the run that the views are for.
    """

    pixels: np.ndarray
    t: np.ndarray
    track: np.ndarray
    reason: str = ""
    kind: str = ""
    rendered: bool = False
    sound: np.ndarray | None = None
    length: np.ndarray | None = None
    run: int = 0

    @classmethod
    def failed(cls, reason: str, kind: str) -> "FileViews":
        """Return no views, with the reason."""
        return cls(np.empty(0, np.uint8), np.empty(0), np.empty(0, int), reason, kind)


@dataclass(frozen=True)
class ViewOptions:
    """How one run looks at a file.

    Args:
        input: what its network takes.
        crops: how faces are cut; None takes whole pictures.
        looking: how views are chosen and shown.
        faces: at most so many people of a video.
    """

    input: InputSpec
    crops: CropOptions | None
    looking: Looking = field(default_factory=Looking)
    faces: int = 1

    @classmethod
    def of(cls, card: Card, input: InputSpec, frames: int | None = None, faces: int = 1) -> "ViewOptions":
        """Return how a run looked in evaluation, with another number of frames or people if asked."""
        looking = card.looking if frames is None else replace(card.looking, frames=frames)
        if not card.crops:
            return cls(input, None, looking, faces)
        crops = CropOptions(**{**card.crops, "max_tracks": faces})
        crops.look_for_weights()
        if input.kind == "image" and frames is not None and 0 < crops.groups * crops.length < frames:
            crops = replace(crops, groups=-(-frames // crops.length))
        return cls(input, crops, looking, faces)

    @property
    def views(self) -> int:
        """Views of one person."""
        return (self.looking.frames or 1) if self.input.kind == "image" else self.input.clips


class ViewExtractor:
    """Cuts the faces of a file once for all runs that want them cut alike, and shows them to each as it wants."""

    def __init__(self, options: Sequence[ViewOptions]) -> None:
        self.options = tuple(options)

    def prepare(self) -> None:
        """Load the face detectors, so that a worker's limit of memory counts what files take."""
        for options in self.options:
            if options.crops is not None:
                options.crops.face_detector()

    def __call__(self, path: Path) -> Iterator[FileViews]:
        """Yield the views of a file for every run; a file that cannot be read says why."""
        known: dict[str, CropStream | FileViews] = {}
        rendered = is_rendered(path)
        for run, options in enumerate(self.options):
            for views in self._of_run(path, options, known):
                yield views._replace(rendered=rendered, run=run)

    def _of_run(
        self, path: Path, options: ViewOptions, known: dict[str, CropStream | FileViews]
    ) -> Iterator[FileViews]:
        key = f"{_kind(options)} {options.views if options.crops is None else options.crops.hash}"
        if key not in known:
            known[key] = self._read(path, options)
        crops = known[key]
        try:
            if isinstance(crops, FileViews):
                yield crops
            elif isinstance(crops, Crops):
                yield file_views(crops, options)
            else:
                yield from talk_views(path, crops, options)
        except (DfdError, *DECODER_ERRORS) as error:
            yield _failed(path, error)

    def _read(self, path: Path, options: ViewOptions) -> CropStream | FileViews:
        try:
            return self._crops(path, options)
        except (DfdError, *DECODER_ERRORS) as error:
            return _failed(path, error)

    def _crops(self, path: Path, options: ViewOptions) -> CropStream:
        if options.crops is None:
            return whole_frames(path, options.views)
        detector = options.crops.face_detector()
        if options.input.kind == "talk":
            work = Cutting(path, options.crops)
            drive(work.look(), detector)
            return work
        if is_image(path):
            return crop_image(read_image(path), options.crops, detector)
        return crop_video(path, options.crops, detector)


def _failed(path: Path, error: Exception) -> FileViews:
    if isinstance(error, DfdError):
        return FileViews.failed(str(error), getattr(error, "reason", "unreadable"))
    log.debug("%s", path, exc_info=error)
    what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return FileViews.failed(f"could not be read: {what}", "unexpected")


def _kind(options: ViewOptions) -> str:
    """Return how a run takes the crops of a file: whole pictures, faces, or a stream of faces."""
    return "whole" if options.crops is None else "stream" if options.input.kind == "talk" else "faces"


def talk_views(path: Path, crops: CropStream, options: ViewOptions) -> Iterator[FileViews]:
    """Yield what a run sees and hears of the person who speaks in one file."""
    sound = read_sound(path)
    if sound.silent:
        raise NotTalking(f"{path} is silent: there is no voice to compare the lips with", "silent")
    for seen, track in file_talk_views(crops, sound.samples, options.input, options.looking.showing):  # type: ignore[arg-type]
        tracks = np.full(len(seen["t"]), track)
        yield FileViews(seen["pixels"], seen["t"], tracks, sound=seen["sound"], length=seen["length"])


def file_views(crops: Crops, options: ViewOptions) -> FileViews:
    """Return what a run sees of the crops of one file: the main person's views first."""
    table, looking = crops.table, options.looking
    people = np.unique(table["track"][table["valid"]])
    chosen = []
    for track in people if len(people) else [0]:
        members = np.flatnonzero(table["track"] == track)
        chosen.append(pick_views(table, members, options.input, options.views, looking.sampling))
    rows = np.concatenate(chosen)
    size, showing, resize = options.input.size, looking.showing, RESIZES[looking.sampling]
    margin, align = (None, False) if options.crops is None else (showing.margin, showing.align)
    pictures = [show(crops.images[row], table, row, size, margin, align, resize) for row in rows.ravel()]
    shown = np.stack(pictures).transpose(0, 3, 1, 2)
    if options.input.kind == "clip":
        shown = shown.reshape(*rows.shape, *shown.shape[1:])
    first = rows[:, 0]
    return FileViews(np.ascontiguousarray(shown), table["t"][first], table["track"][first])
