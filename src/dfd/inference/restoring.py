"""Restore pictures and videos with a restorer: native size, in tiles, times kept, sound copied as it is.

Restoring is never done without being asked for: it changes the very traces that detectors look for. `auto` restores
where faces are visibly blurred, and both answers are shown.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import torch

from dfd.core.errors import DfdError
from dfd.data.degrade import sharpness
from dfd.data.video import open_container, open_video
from dfd.inference.engine import Engine
from dfd.inference.sandbox import OverLimit
from dfd.inference.verdict import FileResult
from dfd.inference.views import FileViews
from dfd.metrics.images import flicker
from dfd.models.base import Restorer
from dfd.models.checkpoint import NETWORKS, load_network
from dfd.models.devices import find_device

TOGETHER = 16  # pictures of one pass
BLURRED = 0.02  # sharpness below which faces count as blurred
LONGEST_TICK = 2**16  # of an MP4's track
CRF = "16"  # visually lossless: what is seen is the restorer's work and not the encoder's


@dataclass(frozen=True)
class Restored:
    """What was done to a video: frames, and how much more they flicker than the source does, in values of [0, 1]."""

    frames: int
    flicker: float
    sound: bool


class Restoring:
    """A restorer at work.

    Args:
        network: what restores.
        device: where.
        tile: side of the pictures that it sees at once; None: whole ones.
        overlap: pixels that tiles share with their neighbours, of which the outer half is thrown away.
    """

    def __init__(self, network: Restorer, device: str = "auto", tile: int | None = 512, overlap: int = 64) -> None:
        if tile is not None and tile <= overlap:
            raise DfdError(f"tile={tile} must be larger than overlap={overlap}")
        self.device = find_device(device)
        self.network, self.tile, self.overlap = network.eval().to(self.device), tile, overlap

    @classmethod
    def load(cls, run: str | Path, device: str = "auto") -> "Restoring":
        """Load a run of a restorer."""
        network: Any = load_network(Path(run), NETWORKS).network
        if not isinstance(network, Restorer):
            raise DfdError(f"{run} is not a restorer but {type(network).__name__}: train one with model=deblur")
        return cls(network, device)

    @torch.no_grad()
    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Restore pictures (N, H, W, 3) uint8 of one size."""
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2)
        restored = torch.empty_like(pixels)
        for inner, outer in self._tiles(*pictures.shape[1:3]):
            seen = pixels[..., outer[0], outer[1]].to(self.device).float().div_(255)
            answer = self.network(seen).clamp(0, 1).mul(255).round().byte().cpu()
            top, left = inner[0].start - outer[0].start, inner[1].start - outer[1].start
            height, width = inner[0].stop - inner[0].start, inner[1].stop - inner[1].start
            restored[..., inner[0], inner[1]] = answer[..., top : top + height, left : left + width]
        return restored.permute(0, 2, 3, 1).numpy()

    def video(self, source: Path, target: Path) -> Restored:
        """Restore a video frame by frame: each is shown when its source is, the sound's packets are copied."""
        steps: list[float] = []
        frames, before = 0, None
        with (
            open_video(source) as video,
            open_container(source) as original,
            av.open(str(target), "w", format="mp4") as out,
        ):
            stream: Any = out.add_stream("libx264", rate=video.rate, options={"crf": CRF, "threads": "1"})
            base = Fraction(1, min(LONGEST_TICK, 90_000))
            stream.width, stream.height = video.info.width // 2 * 2, video.info.height // 2 * 2
            stream.pix_fmt = "yuv420p"
            stream.time_base = stream.codec_context.time_base = base
            sounds, sound = bool(original.streams.audio), _copied_sound(original, out)
            for picture in video.pictures(range(video.info.frames)):
                seen = picture.rgb()
                restored = self(seen[None])[0]
                if before is not None:
                    steps.append(flicker(np.stack([before[1], restored]) / 255, np.stack([before[0], seen]) / 255))
                before = (seen, restored)
                frame = av.VideoFrame.from_ndarray(restored[: stream.height, : stream.width], format="rgb24")
                frame.pts, frame.time_base = round(picture.t / base), base
                out.mux(stream.encode(frame))
                frames += 1
            out.mux(stream.encode())
            for packet in sound:
                out.mux(packet)
        return Restored(frames, float(np.mean(steps)) if steps else 0.0, sounds)

    def _tiles(self, height: int, width: int) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
        """Yield (what is kept, what is seen) of every tile."""
        for rows in _spans(height, self.tile, self.overlap):
            for columns in _spans(width, self.tile, self.overlap):
                yield (rows[0], columns[0]), (rows[1], columns[1])


class Second(NamedTuple):
    """What a restored file looks like to a run: how sharp its faces were, and the result where they were restored."""

    sharpness: float | None
    result: FileResult | None


def judge_restored(engine: Engine, path: Path, views: Sequence[FileViews], restoring: Restoring, deblur: str) -> Second:
    """Judge a file once more by its restored faces, where that is wanted; the first answer stays the answer."""
    pixels = views[0].pixels
    faces = [] if views[0].reason else list(pixels.reshape(-1, *pixels.shape[-3:]).transpose(0, 2, 3, 1))
    do, measured = wanted(deblur, faces)
    if not do:
        return Second(measured, None)
    return Second(measured, engine.decide(path, [seen._replace(pixels=_restored(seen, restoring)) for seen in views]))


def _restored(seen: FileViews, restoring: Restoring) -> np.ndarray:
    flat = seen.pixels.reshape(-1, *seen.pixels.shape[-3:]).transpose(0, 2, 3, 1)
    parts = [restoring(np.ascontiguousarray(flat[at : at + TOGETHER])) for at in range(0, len(flat), TOGETHER)]
    return np.ascontiguousarray(np.concatenate(parts).transpose(0, 3, 1, 2)).reshape(seen.pixels.shape)


class TwiceEngine(Engine):
    """An engine that also judges restored faces, and keeps what came out in `second`."""

    def __init__(self, engine: Engine, restoring: Restoring, deblur: str) -> None:
        super().__init__(engine.members, engine.judging, engine.batch_size, engine.abstainer, engine.explain)
        self.restoring, self.deblur = restoring, deblur
        self.second: dict[Path, Second] = {}
        self._once = engine

    def decide(self, path: Path, views: Iterable[FileViews]) -> FileResult:
        """Judge a file as it is, and restored."""
        try:
            seen = list(views)  # looked at twice
        except OverLimit as error:
            seen = [FileViews.failed(str(error), error.reason)]
        self.second[path] = judge_restored(self._once, path, seen, self.restoring, self.deblur)
        return super().decide(path, seen)


def wanted(deblur: str, faces: list[np.ndarray]) -> tuple[bool, float | None]:
    """Return whether faces (H, W, 3) are to be restored, and how sharp they are."""
    if deblur == "false" or not faces:
        return False, None
    measured = sharpness(faces)
    return deblur == "true" or measured < BLURRED, measured


def _spans(length: int, tile: int | None, overlap: int) -> Iterator[tuple[slice, slice]]:
    """Cut a side into parts that are kept, each with some of its surroundings."""
    if tile is None or length <= tile:
        yield slice(0, length), slice(0, length)
        return
    step, margin = tile - overlap, overlap // 2
    for start in range(0, length, step):
        stop = min(length, start + step)
        yield slice(start, stop), slice(max(0, start - margin), min(length, stop + margin))


def _copied_sound(original: Any, out: Any) -> Iterator[Any]:
    """Add the sound's stream as it is, and return what yields its packets."""
    if not original.streams.audio:
        return iter(())
    source = original.streams.audio[0]
    stream = out.add_stream_from_template(source)
    return _packets(original, source, stream)


def _packets(original: Any, source: Any, stream: Any) -> Iterator[Any]:
    for packet in original.demux(source):
        if packet.dts is not None:
            packet.stream = stream
            yield packet
