"""A media file to features over time, and to what is drawn of it: the half of a localiser that decodes.

It runs in worker processes with limits, so that a stranger's file can neither hang nor fill the machine.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from dfd.core.build import Allowed, build
from dfd.core.errors import DfdError
from dfd.data.audio import read_sound
from dfd.data.sample.mark import is_rendered
from dfd.data.video import BadVideo, open_video
from dfd.preprocess.features.base import Extractor
from dfd.preprocess.features.extract import extract

PICTURES, SIDE, LOUDNESS = 8, 96, 240  # of a timeline
SHOWN, HEARD = "pictures", "loudness"  # names of what is drawn


class FileFeatures(NamedTuple):
    """One stream of a file, (rows, dimension), or what is drawn of it; a file that cannot be read gives the reason.

    `t` are the seconds of pictures. `seconds` and `rendered` (whether the file is of our sample) are the whole file's.
    """

    stream: str
    rows: np.ndarray
    t: np.ndarray
    seconds: float = 0.0
    rendered: bool = False
    reason: str = ""
    kind: str = ""

    @classmethod
    def failed(cls, reason: str, kind: str) -> "FileFeatures":
        """Return no features, with the reason."""
        return cls("", np.empty(0), np.empty(0), reason=reason, kind=kind)


class FeatureReader:
    """Extracts the features that one run reads; picklable, since its networks are built where it runs.

    Args:
        trees: the extractors, as the run's card keeps them.
        dtype: in which it stored them.
        allow: what may be built.
    """

    def __init__(self, trees: Sequence[Mapping[str, Any]], dtype: str, allow: Allowed) -> None:
        self.trees, self.dtype, self.allow = tuple(trees), dtype, allow
        self._extractors: list[Extractor] | None = None

    @property
    def extractors(self) -> list[Extractor]:
        """The extractors, built when they are needed first."""
        if self._extractors is None:
            self._extractors = [build(tree, self.allow, "extractors") for tree in self.trees]
        return self._extractors

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_extractors": None}

    def prepare(self) -> None:
        """Load networks, so that a worker's limit of memory counts what files take."""
        assert self.extractors is not None

    def __call__(self, path: Path) -> list[FileFeatures]:
        """Return every stream of a file, and its pictures and loudness for a timeline."""
        try:
            found = extract(path, self.extractors, self.dtype)
        except DfdError as error:
            return [FileFeatures.failed(" ".join(str(error).split()), getattr(error, "reason", "unreadable"))]
        rendered, none = is_rendered(path), np.empty(0)
        streams = [FileFeatures(name, rows, none, found.seconds, rendered) for name, rows in found.rows.items()]
        times, pictures = pictures_of(path)
        return [
            *streams,
            FileFeatures(SHOWN, pictures, times, found.seconds, rendered),
            FileFeatures(HEARD, loudness_of(path), none, found.seconds, rendered),
        ]


def pictures_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the seconds of frames spread over a video, and their middles (N, S, S, 3) uint8; none without pictures."""
    times, squares = [], []
    try:
        with open_video(path) as video:
            stamps = np.asarray(video.times, float)
            chosen = np.unique(np.linspace(0, len(stamps) - 1, PICTURES + 2)[1:-1].astype(int))
            for picture in video.pictures(chosen):
                frame = picture.rgb()
                size = min(frame.shape[:2])
                top, left = ((length - size) // 2 for length in frame.shape[:2])
                squares.append(cv2.resize(frame[top : top + size, left : left + size], (SIDE, SIDE)))
                times.append(float(picture.t))
    except BadVideo:
        pass
    return np.array(times), np.array(squares, np.uint8).reshape(-1, SIDE, SIDE, 3)


def loudness_of(path: Path) -> np.ndarray:
    """Return how loud a file is at even steps, in [0, 1]; none without sound."""
    try:
        samples = np.abs(read_sound(path).samples)
    except BadVideo:
        return np.empty(0)
    if not len(samples):
        return np.empty(0)
    edges = np.linspace(0, len(samples), LOUDNESS + 1).astype(int)
    loud = np.array([samples[a:b].max(initial=0.0) for a, b in pairwise(edges)])
    return loud / max(float(loud.max()), 1e-6)
