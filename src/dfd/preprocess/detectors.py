"""Which face detector: MTCNN, whose weights come with the package, or another by a file of the user's.

A file is known by its hash: it is part of the crops' identity, and a network that was trained on one detector's faces
is shown that one's again.
"""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from dfd.core.digest import sha256 as sha256_of
from dfd.core.errors import DfdError, did_you_mean
from dfd.preprocess.faces import NONE, Detections, FaceDetector, MtcnnDetector

Kind = Literal["mtcnn", "facenet", "yunet", "scrfd", "retinaface"]
BY_FILE = ("yunet", "scrfd", "retinaface")
ELSEWHERE = "DFD_DETECTOR_WEIGHTS"  # an environment variable: where the file lies on this machine
LICENCES = {
    "mtcnn": "MIT",
    "facenet": "MIT",
    "yunet": "MIT",
    "scrfd": "non-commercial research",
    "retinaface": "MIT (code); trained on WIDER FACE, whose terms are non-commercial research",
}


def check(kind: str, weights: str | None, sha256: str | None) -> str | None:
    """Return the hash of a detector's file, None where it has none; refuse what cannot be."""
    known = get_args(Kind)
    if kind not in known:
        raise DfdError(f"crops.detector={kind}{did_you_mean(str(kind), known)}: take one of {', '.join(known)}")
    if not all(value is None or isinstance(value, str) for value in (weights, sha256)):
        raise DfdError(f"crops.detector_weights={weights}, detector_sha256={sha256}: neither can be anything but text")
    if kind not in BY_FILE:
        if weights:
            raise DfdError(f"crops.detector_weights={weights}: {kind} brings its own weights")
        return None
    if sha256:
        return sha256
    if not weights:
        raise DfdError(f"crops.detector={kind} needs its ONNX file: crops.detector_weights=/path/to/{kind}.onnx")
    if not Path(weights).expanduser().is_file():
        raise DfdError(f"crops.detector_weights={weights}: no such file")
    return _hash(Path(weights).expanduser())


@functools.cache
def detector_for(kind: str, weights: str | None, sha256: str | None, device: str = "cpu") -> FaceDetector:
    """Return this process's detector of a kind."""
    if kind == "mtcnn":
        return MtcnnDetector(device)
    if kind == "facenet":
        return FacenetDetector(device)
    from dfd.preprocess.onnx_faces import ONNX

    return ONNX[kind](found(kind, weights, sha256), device)


class FacenetDetector:
    """facenet-pytorch's own MTCNN, at full size: one picture at a time."""

    def __init__(self, device: str = "cpu") -> None:
        try:
            from facenet_pytorch import MTCNN
        except ImportError as error:
            raise DfdError("crops.detector=facenet: pip install --no-deps facenet-pytorch") from error
        self.network = MTCNN(keep_all=True, device=device)

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Return the faces of each RGB image."""
        answers = [self.network.detect(image, landmarks=True) for image in images]
        return [NONE if boxes is None else Detections(*(np.asarray(x, float) for x in (boxes, *others)))
                for boxes, *others in answers]  # fmt: skip


def found(kind: str, weights: str | None, sha256: str | None) -> Path:
    """Return where a detector's file lies on this machine: where it lay, or where the environment says."""
    named = [Path(place).expanduser() for place in (os.environ.get(ELSEWHERE), weights) if place]
    path = next((place for place in named if place.is_file()), None)
    if path is None:
        raise DfdError(
            f"the faces were cut by {kind} with the weights {str(sha256)[:12]}, which are not at {weights}: set "
            f"{ELSEWHERE}=/path/to/the/file.onnx"
        )
    if sha256 and _hash(path) != sha256:
        raise DfdError(
            f"{path} is another {kind} (sha256 {_hash(path)[:12]}) than the one that cut the faces ({sha256[:12]})"
        )
    return path


_hash = functools.cache(sha256_of)
