"""Decode videos with PyAV: only the frames asked for become pictures; what is no video is refused with a reason."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from dfd.core.errors import DfdError

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
# containers that hold media themselves: a playlist could name any file or address
FORMATS = {"mov", "mp4", "avi", "matroska", "webm", "mpeg", "mpegts", "mpegvideo", "m4v", "flv", "asf", "ogg"}
LARGEST_SIDE = 8192


@dataclass(frozen=True)
class VideoInfo:
    """What a video's container says; `frames` is counted if the container does not know."""

    frames: int
    fps: float
    width: int
    height: int


def probe(path: Path) -> VideoInfo:
    """Read a video's size, rate and number of frames."""
    with _open(path) as (container, stream):
        fps = float(stream.average_rate or stream.guessed_rate or 25)
        frames = stream.frames or sum(1 for packet in container.demux(stream) if packet.pts is not None)
        return VideoInfo(frames, fps, stream.codec_context.width, stream.codec_context.height)


def read_frames(path: Path, indices: Sequence[int]) -> Iterator[tuple[int, float, np.ndarray]]:
    """Yield (index, seconds, RGB uint8) of the wanted frames in order; indices count frames as they are shown."""
    wanted = set(indices)
    if not wanted:
        return
    last = max(wanted)
    with _open(path) as (container, stream):
        for index, frame in enumerate(container.decode(stream)):
            if index in wanted:
                yield index, float(frame.time or 0.0), _upright(frame)
            if index >= last:
                return


def read_image(path: Path) -> np.ndarray:
    """Read an image file as RGB uint8 (H, W, 3)."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DfdError(f"{path} is missing or is not an image that can be read")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


@contextmanager
def _open(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    if not path.is_file():
        raise DfdError(f"no video at {path}")
    if path.stat().st_size == 0:
        raise DfdError(f"{path} is empty (0 bytes): download it again")
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not FORMATS & set(container.format.name.split(",")):
                raise DfdError(f"{path} is no video but {container.format.long_name}")
            if not container.streams.video:
                raise DfdError(f"{path} holds no video stream")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # work is spread over videos, not within one
            if max(stream.codec_context.width, stream.codec_context.height) > LARGEST_SIDE:
                size = f"{stream.codec_context.width}x{stream.codec_context.height}"
                raise DfdError(f"{path} has frames of {size}: more than {LARGEST_SIDE} a side is refused")
            yield container, stream
    except (av.error.FFmpegError, OSError) as error:
        raise DfdError(f"{path} cannot be decoded ({error.strerror or error}): it is damaged or not a video") from error


def _upright(frame: av.VideoFrame) -> np.ndarray:
    image = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
