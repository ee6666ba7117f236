"""What a file is before it is decoded: its format, size, length and sound, or the reason why it is refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dfd.core.errors import DfdError
from dfd.data.headers import BadVideo, check_file, check_picture, picture_header
from dfd.data.video import open_container, open_video
from dfd.serving.confine import confine
from dfd.serving.settings import Bounds

HEAD = 2**16  # bytes that tell a picture from a video


class Facts(NamedTuple):
    """What a probed file is; `duration` in seconds, `fps` the mean rate; a picture has one frame and no duration."""

    format: str = ""
    width: int = 0
    height: int = 0
    frames: int = 0
    fps: float = 0.0
    duration: float = 0.0
    sound: bool = False
    reason: str = ""
    kind: str = ""


class Probe:
    """Looks at a file within bounds; in a process without network, where `prepare` is called."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def prepare(self) -> None:
        """Give up the network."""
        confine()

    def __call__(self, path: Path) -> Sequence[Facts]:
        """Return what the file is."""
        try:
            return [self._facts(path)]
        except DfdError as error:
            return [Facts(reason=str(error), kind=getattr(error, "reason", "unreadable"))]

    def _facts(self, path: Path) -> Facts:
        check_file(path)
        with path.open("rb") as file:
            head = file.read(HEAD)
        if picture_header(head) is not None or head.startswith(b"\xff\xd8\xff"):
            return self._picture(path)
        return self._video(path)

    def _picture(self, path: Path) -> Facts:
        found = check_picture(path, path.read_bytes())
        self._check_pixels(found.width, found.height)
        return Facts(found.format.lower(), found.width, found.height, 1)

    def _video(self, path: Path) -> Facts:
        with open_container(path) as container:
            streams, sound = len(container.streams), bool(container.streams.audio)
            format = container.format.name.split(",")[0]
        if streams > self.bounds.streams:
            raise BadVideo(f"it holds {streams} streams: over {self.bounds.streams} are refused", "too_many_streams")
        with open_video(path) as video:
            info, span = video.info, float(video.times[-1] - video.times[0])
        duration = span + (1 / info.fps if info.fps > 0 else 0.0)
        self._check_pixels(info.width, info.height)
        if info.frames > self.bounds.frames or duration > self.bounds.duration:
            raise BadVideo(
                f"it has {info.frames} frames in {duration:.0f} s: at most {self.bounds.frames} frames and "
                f"{self.bounds.duration:.0f} s are looked at, cut it into parts",
                "too_long",
            )
        return Facts(format, info.width, info.height, info.frames, info.fps, duration, sound)

    def _check_pixels(self, width: int, height: int) -> None:
        if width * height > self.bounds.pixels:
            raise BadVideo(
                f"its pictures have {width}x{height} pixels: over {self.bounds.pixels / 1e6:.0f} million are refused",
                "too_many_pixels",
            )
