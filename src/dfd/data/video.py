"""Decode videos with PyAV: only the frames asked for become pictures; what is not a video is refused with a reason.

The packets of a file are listed first, which decodes nothing: they say how many frames there are, when each is shown
(also at a variable rate) and where decoding can start. Frames are then known by their time stamp, so whole groups of
pictures are jumped over and frames that nobody needs are not decoded, without ever counting wrong.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from dfd.data.headers import (
    LARGEST_PICTURE,
    MOST_FRAMES,
    BadVideo,
    check_container,
    check_file,
    check_picture,
    picture_header,
)

# containers that hold media themselves: a playlist could name any file or address
FORMATS = {"mov", "mp4", "avi", "matroska", "webm", "mpeg", "mpegts", "mpegvideo", "m4v", "flv", "asf", "ogg", "gif"}
WHITELIST = "mov,avi,matroska,mpeg,mpegts,mpegvideo,m4v,flv,asf,ogg,gif"  # the same, as FFmpeg's option wants them
LARGEST_SIDE = 8192
LONGEST = 24 * 3600.0  # seconds
WORTH_A_JUMP = 8  # frames that need not be decoded
STEPS_BACK = 3  # starts of decoding to try before the beginning of the file
PLANAR = ("yuv420p", "yuvj420p")


@dataclass(frozen=True)
class VideoInfo:
    """What a video is, upright: `frames` are counted, `fps` is their mean rate."""

    frames: int
    fps: float
    width: int
    height: int


class Picture:
    """One decoded frame, upright; what is asked of it is converted to RGB, and no more than that."""

    def __init__(self, frame: av.VideoFrame, index: int, t: float, convert: VideoReformatter) -> None:
        self._frame, self._convert = frame, convert
        self.index, self.t = index, t
        self._turns = _turns(frame)
        self.size = (frame.height, frame.width) if self._turns % 2 else (frame.width, frame.height)

    @property
    def nbytes(self) -> int:
        """What holding on to this frame costs."""
        return sum(plane.buffer_size for plane in self._frame.planes)

    def rgb(self) -> np.ndarray:
        """Return the whole frame (H, W, 3) uint8."""
        return self._upright(self._convert.reformat(self._frame, format="rgb24").to_ndarray())

    def shrunk(self, scale: float) -> np.ndarray:
        """Return the whole frame resized by a factor, in one go with its conversion."""
        if scale == 1:
            return self.rgb()
        width, height = (max(1, round(side * scale)) for side in (self._frame.width, self._frame.height))
        kind = "AREA" if scale < 1 else "BICUBIC"
        small = self._convert.reformat(self._frame, width, height, "rgb24", interpolation=kind).to_ndarray()
        return self._upright(small)

    def grey(self) -> np.ndarray:
        """Return brightness (H, W) uint8, upright; in 64 x 64 pixels where that needs a conversion."""
        if self._frame.format.name in PLANAR:
            return np.rot90(_samples(self._frame.planes[0])[:, : self._frame.width], self._turns)
        return np.rot90(self._convert.reformat(self._frame, 64, 64, "gray").to_ndarray(), self._turns)

    def region(self, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        """Return a part of the frame; the same pixels as `rgb()[y0:y1, x0:x1]`, at the cost of that part."""
        if self._turns or self._frame.format.name not in PLANAR:
            return self.rgb()[y0:y1, x0:x1]
        left, top = x0 - x0 % 2, y0 - y0 % 2  # colour has a sample for every two pixels
        right, bottom = min(x1 + x1 % 2, self._frame.width // 2 * 2), min(y1 + y1 % 2, self._frame.height // 2 * 2)
        if right < x1 or bottom < y1:
            return self.rgb()[y0:y1, x0:x1]
        luma, *colour = (_samples(plane) for plane in self._frame.planes)
        parts = [luma[top:bottom, left:right], *(c[top // 2 : bottom // 2, left // 2 : right // 2] for c in colour)]
        flat = np.concatenate([part.ravel() for part in parts]).reshape(-1, right - left)
        cut = av.VideoFrame.from_ndarray(flat, format=self._frame.format.name)
        cut.colorspace, cut.color_range = self._frame.colorspace, self._frame.color_range
        image = self._convert.reformat(cut, format="rgb24").to_ndarray()
        return image[y0 - top : y1 - top, x0 - left : x1 - left]

    def coded(self) -> av.VideoFrame:
        """Return the whole frame for an encoder, in its own colours unless it has to be turned."""
        return av.VideoFrame.from_ndarray(self.rgb(), format="rgb24") if self._turns else self._frame

    def _upright(self, image: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.rot90(image, self._turns)) if self._turns else image


class Video:
    """An open file: what it is, when its frames are shown, and the frames."""

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream, path: Path) -> None:
        self._container, self._stream, self._path = container, stream, path
        packets = [(p.pts, p.is_keyframe) for p in islice(container.demux(stream), MOST_FRAMES + 2) if _counts(p)]
        if len(packets) > MOST_FRAMES:
            raise BadVideo(f"{path} has more than {MOST_FRAMES} frames: cut it into parts", "too_long")
        if not packets:
            raise BadVideo(f"{path} holds no frames")
        stamps = [pts for pts, _ in packets]
        # avi times frames in the order of decoding, mpeg (program streams) has wrong times after a jump
        counted = container.format.name in ("avi", "mpeg")
        self._exact = not counted and None not in stamps and len(set(stamps)) == len(stamps)
        self.rate = Fraction(stream.average_rate or stream.guessed_rate or 25)  # as the container says
        if self._exact:
            self._stamps = np.sort(np.array(stamps, np.int64))
            self._starts = np.sort(np.array([pts for pts, key in packets if key], np.int64))
            self.times = (self._stamps - (stream.start_time or 0)) * float(stream.time_base or 0)
        else:  # old containers do not say when a frame is shown: frames are counted as they come
            self.times = np.arange(len(packets)) / float(self.rate)
        span = float(self.times[-1] - self.times[0])
        if not 0 <= span <= LONGEST:
            raise BadVideo(
                f"{path} claims to last {span / 3600:.0f} hours: it is damaged, or has to be cut", "too_long"
            )
        fps = (len(packets) - 1) / span if len(packets) > 1 and span > 0 else float(self.rate)
        self.info = VideoInfo(len(packets), round(fps, 3), *self._size())

    def pictures(self, indices: Sequence[int] | np.ndarray) -> Iterator[Picture]:
        """Yield the wanted frames in order; one that cannot be decoded is left out."""
        wanted = sorted({int(index) for index in indices if index < self.info.frames})
        if wanted:
            convert = VideoReformatter()
            for index, frame in self._by_stamp(wanted) if self._exact else self._by_count(wanted):
                yield Picture(frame, index, float(self.times[index]), convert)

    def _size(self) -> tuple[int, int]:
        self._container.seek(0)
        context = self._stream.codec_context
        frame = next(self._decode(islice(self._container.demux(self._stream), 200)), None)
        if frame is None:
            raise BadVideo(f"{self._path} cannot be decoded: none of its first frames can")
        sides = (context.width, context.height)
        _refuse_large(self._path, *sides)  # a container's header need not tell the truth
        return (sides[1], sides[0]) if _turns(frame) % 2 else sides

    def _by_stamp(self, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        position = {int(self._stamps[index]): index for index in wanted}
        last = int(self._stamps[wanted[-1]])
        for group in self._groups(wanted):
            end = int(self._stamps[group[-1]])
            for stamp, frame in self._from(int(self._stamps[group[0]]), position):
                if stamp in position:
                    yield position.pop(stamp), frame
                if stamp is not None and (stamp >= end or stamp > last):
                    break

    def _from(self, stamp: int, needed: dict[int, int]) -> Iterator[tuple[int | None, av.VideoFrame]]:
        """Yield (stamp, frame) from a stamp on; where the container lands behind it, go back start by start."""
        before = int(np.searchsorted(self._starts, stamp, side="right"))
        for target in (stamp, *self._starts[max(0, before - STEPS_BACK) : max(0, before - 1)][::-1].tolist(), None):
            if target is None:
                self._container.seek(0)
            else:
                self._container.seek(target, stream=self._stream)
            frames = self._decode(self._container.demux(self._stream), needed)
            first = next(frames, None)
            if target is None or (first is not None and first.pts is not None and first.pts <= stamp):
                break
        if first is not None:
            yield first.pts, first
        yield from ((frame.pts, frame) for frame in frames)

    def _groups(self, wanted: list[int]) -> list[list[int]]:
        """Split the wanted frames where a jump to a later start saves decoding."""
        latest = np.searchsorted(self._starts, self._stamps[wanted], side="right") - 1
        starts = np.searchsorted(self._stamps, self._starts[np.maximum(latest, 0)])
        groups = [[wanted[0]]]
        for index, before, start in zip(wanted[1:], wanted, starts[1:].tolist()):
            if start > before + WORTH_A_JUMP:
                groups.append([])
            groups[-1].append(index)
        return groups

    def _by_count(self, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        self._container.seek(0)
        for index, frame in enumerate(self._decode(self._container.demux(self._stream))):
            if index in wanted:
                yield index, frame
            if index >= wanted[-1]:
                return

    def _decode(self, packets: Iterator[av.Packet], needed: dict[int, int] | None = None) -> Iterator[av.VideoFrame]:
        """Decode packets; of those that are not needed, the ones that no other frame builds on are skipped."""
        context = self._stream.codec_context
        context.skip_frame = "DEFAULT"
        for packet in packets:
            if needed is not None:
                context.skip_frame = "DEFAULT" if packet.pts is None or packet.pts in needed else "NONREF"
            try:
                yield from packet.decode()
            except av.error.InvalidDataError:
                continue  # a damaged packet costs its own frame, which is then a hole


@contextmanager
def open_container(path: Path, whitelist: str = WHITELIST) -> Iterator[av.container.InputContainer]:
    """Open a media file, and nothing but that file: no other protocol, no playlist, no frame beyond `LARGEST_SIDE`."""
    check_file(path)
    check_container(path)
    options = {"protocol_whitelist": "file", "format_whitelist": whitelist, "max_pixels": str(LARGEST_SIDE**2)}
    with ExitStack() as held:
        try:
            source: Any = f"file:{path.absolute()}"
            source.encode()
        except UnicodeEncodeError:  # a name of other bytes: FFmpeg is given the open file
            source = held.enter_context(path.open("rb"))
        try:
            yield held.enter_context(av.open(source, metadata_errors="replace", options=options))
        except MemoryError as error:
            raise BadVideo(f"{path} needs more memory than a file may take", "out_of_memory") from error
        except (av.error.FFmpegError, OSError) as error:
            raise BadVideo(
                f"{path} cannot be decoded ({error.strerror or error}): it is damaged or not a video"
            ) from error


@contextmanager
def open_video(path: Path) -> Iterator[Video]:
    """Open a file and list its frames, or refuse it."""
    with open_container(path) as container:
        yield Video(container, _stream(container, path), path)


def probe(path: Path) -> VideoInfo:
    """Return a video's size, rate and number of frames."""
    with open_video(path) as video:
        return video.info


def read_frames(path: Path, indices: Sequence[int]) -> Iterator[tuple[int, float, np.ndarray]]:
    """Yield (index, seconds, RGB uint8) of the wanted frames in order; indices count frames as they are shown."""
    if len(indices):
        with open_video(path) as video:
            for picture in video.pictures(indices):
                yield picture.index, picture.t, picture.rgb()


def read_image(path: Path) -> np.ndarray:
    """Read an image file as RGB uint8 (H, W, 3)."""
    data = read_picture_file(path)
    if picture_header(data).format == "HEIC":  # type: ignore[union-attr]
        return _heic(path, data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:  # more pixels than OpenCV takes
        reason = "out_of_memory" if "memory" in str(error.err).lower() else "decode_error"
        raise BadVideo(f"{path} cannot be read as an image ({error.err})", reason) from error
    if image is None:
        raise BadVideo(f"{path} is damaged: it cannot be read as an image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _heic(path: Path, data: bytes) -> np.ndarray:
    """Decode a HEIC picture, which needs a package of its own."""
    try:
        import pillow_heif
    except ImportError as error:
        raise BadVideo(
            f"{path} is a HEIC picture: pip install pillow-heif, or save it as JPEG", "no_decoder"
        ) from error
    try:
        return np.asarray(pillow_heif.open_heif(io.BytesIO(data)).to_pillow().convert("RGB"))
    except (ValueError, OSError, RuntimeError) as error:
        raise BadVideo(f"{path} is damaged: it cannot be read as an image ({error})") from error


def read_picture_file(path: Path) -> bytes:
    """Return the bytes of a picture whose header was looked at: of a known format, and not too large."""
    size = check_file(path)
    if size > LARGEST_PICTURE:
        raise BadVideo(
            f"{path} is a picture of {size / 2**20:.0f} MiB: more is refused than {LARGEST_PICTURE >> 20}", "too_large"
        )
    data = path.read_bytes()
    check_picture(path, data)
    return data


def _stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    if not FORMATS & set(container.format.name.split(",")):
        raise BadVideo(f"{path} is not a video but {container.format.long_name}", "not_a_video")
    if not container.streams.video:
        raise BadVideo(f"{path} holds no video stream", "not_a_video")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise BadVideo(f"{path} is coded in a way that this build of PyAV cannot decode: encode it again", "no_decoder")
    stream.codec_context.thread_count = 1  # work is spread over videos, not within one
    _refuse_large(path, stream.codec_context.width, stream.codec_context.height)
    return stream


def _refuse_large(path: Path, width: int, height: int) -> None:
    if max(width, height) > LARGEST_SIDE:
        size = f"{width}x{height}"
        raise BadVideo(f"{path} has frames of {size}: more than {LARGEST_SIDE} a side is refused", "too_large")


def _counts(packet: av.Packet) -> bool:
    """Whether a packet holds a frame that is shown: the last is empty, and an edit list may hide some."""
    return packet.size > 0 and not packet.is_discard


def _turns(frame: av.VideoFrame) -> int:
    return round(getattr(frame, "rotation", 0) / 90) % 4


def _samples(plane: av.video.plane.VideoPlane) -> np.ndarray:
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
