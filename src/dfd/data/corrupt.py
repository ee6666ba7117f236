"""What happens to media before a detector sees them: the field's seven perturbations, and what the web does.

Everything works on full frames (H, W, 3) RGB uint8, before faces are cut out, since block counts, blur and codecs
depend on the frame's size. Levels run from 1 to 5. What is random is redrawn per frame from a generator that only
the video, the kind and the level decide.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np

from dfd.core.errors import DfdError
from dfd.data.video import open_video

VERSION = 2  # raise it when the pixels change
LEVELS = (1, 2, 3, 4, 5)

Frame = np.ndarray
OnFrame = Callable[[Frame, float, np.random.Generator], Frame]

GREY = 128
BLOCK = 8

STRENGTHS: Mapping[str, Sequence[float]] = {
    # DeeperForensics-1.0 (Jiang et al., CVPR 2020)
    "saturation": (0.4, 0.3, 0.2, 0.1, 0.0),  # factor of Cb and Cr about grey
    "contrast": (0.85, 0.725, 0.6, 0.475, 0.35),  # factor of all values: it darkens
    "blockwise": (16, 32, 48, 64, 80),  # grey blocks per 256 pixels of the shorter side
    "noise": (0.001, 0.002, 0.005, 0.01, 0.05),  # variance, in YCbCr of [0, 1]
    "blur": (7, 9, 13, 17, 21),  # size of a Gaussian kernel of sigma size / 6
    "pixelation": (2, 3, 4, 5, 6),  # times smaller and back
    "h264": (30, 32, 35, 38, 40),  # constant rate factor
    # the web
    "h265": (28, 32, 36, 40, 44),
    "jpeg": (90, 70, 50, 35, 20),  # quality
    "webp": (90, 70, 50, 30, 10),
    "resize": (0.8, 0.65, 0.5, 0.4, 0.3),  # down and up again, twice, with two filters
    "screenshot": (0.95, 0.85, 0.75, 0.65, 0.55),  # of the size on a screen, with its gamma, noise and JPEG
    "platform": (1080, 720, 540, 360, 240),  # shorter side of what a platform serves, H.264 at its usual rate
    # talking faces
    "frame_rate": (24, 20, 15, 12, 10),  # pictures a second that are left
    "sound_noise": (20, 15, 10, 5, 0),  # decibels between voice and noise
    "sound_rate": (12000, 8000, 6000, 4000, 3000),  # samples a second through which the sound went
    "sound_offset": (0.04, 0.08, 0.12, 0.2, 0.32),  # seconds by which the sound is late
}
TALKING = ("frame_rate", "sound_noise", "sound_rate", "sound_offset")
PLATFORM_CRF = (23, 26, 28, 30, 33)
CODECS = {"h264": "libx264", "h265": "libx265", "platform": "libx264"}


def strength(kind: str, level: int) -> float:
    """Return a kind's parameter at a level."""
    if kind not in STRENGTHS:
        raise DfdError(f"no corruption {kind!r}: there are {', '.join(STRENGTHS)}")
    if level not in LEVELS:
        raise DfdError(f"corruption level {level}: levels are 1 to 5")
    return STRENGTHS[kind][level - 1]


def corrupt(frames: Mapping[int, Frame], kind: str, level: int, video: str) -> dict[int, Frame]:
    """Corrupt single frames of a video, by their index; for kinds that are no codecs."""
    change, value = ON_FRAMES[kind], strength(kind, level)
    seed = seed_of(f"{video}/{kind}/{level}")
    return {i: change(frame, value, np.random.default_rng((seed, i))) for i, frame in frames.items()}


def seed_of(text: str) -> int:
    """Return the seed of what is random about something with this name."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def transcode(source: Path, target: Path, kind: str, level: int, last: int | None = None) -> None:
    """Write a video once more as a codec or a platform would, upright, up to and including frame `last`.

    Frames keep their numbers: in place of one that cannot be decoded the next one is shown.
    """
    value, options = strength(kind, level), {"preset": "medium", "threads": "1"}
    crf = PLATFORM_CRF[level - 1] if kind == "platform" else int(value)
    options |= {"crf": str(crf)} | ({"x265-params": "log-level=none:pools=1"} if kind == "h265" else {})
    with open_video(source) as video, av.open(str(target), "w", format="mp4") as out:
        stream = cast(av.VideoStream, out.add_stream(_encoder(kind), rate=video.rate, options=options))
        size = (video.info.width, video.info.height)
        stream.width, stream.height = _served(size, int(value)) if kind == "platform" else _even(size)
        stream.pix_fmt = "yuv420p"
        written = 0
        for picture in video.pictures(range(video.info.frames if last is None else last + 1)):
            frame = picture.coded()
            stream.codec_context.colorspace = frame.colorspace  # of the first; later ones change nothing any more
            frame = frame.reformat(
                stream.width, stream.height, "yuv420p", interpolation="BICUBIC", dst_color_range="MPEG"
            )
            frame.pict_type = av.video.frame.PictureType.NONE  # not the source's key frames
            for index in range(written, picture.index + 1):
                frame.pts, frame.time_base = index, 1 / video.rate
                out.mux(stream.encode(frame))
            written = picture.index + 1
        out.mux(stream.encode())


def is_codec(kind: str) -> bool:
    """Whether a kind needs the whole video and not single frames."""
    return kind in CODECS


def _encoder(kind: str) -> str:
    if CODECS[kind] not in av.codecs_available:
        raise DfdError(f"corruption {kind} needs the encoder {CODECS[kind]}, which this build of PyAV lacks")
    return CODECS[kind]


def _even(size: tuple[int, int]) -> tuple[int, int]:
    """Round to what 4:2:0 can hold."""
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def _served(size: tuple[int, int], short: int) -> tuple[int, int]:
    scale = min(1.0, short / min(size))
    return _even((round(size[0] * scale), round(size[1] * scale)))


def _saturation(frame: Frame, factor: float, random: np.random.Generator) -> Frame:
    planes = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)
    planes[..., 1:] = np.round(GREY + (planes[..., 1:].astype(np.float32) - GREY) * factor)
    return cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB)


def _contrast(frame: Frame, factor: float, random: np.random.Generator) -> Frame:
    return np.round(frame * np.float32(factor)).astype(np.uint8)


def _blockwise(frame: Frame, count: float, random: np.random.Generator) -> Frame:
    height, width = frame.shape[:2]
    # the original draws none on a frame whose shorter side is below 256; one share is the least here
    blocks = max(1, min(height, width) // 256) * int(count)
    out = frame.copy()
    for y, x in zip(random.integers(0, height - BLOCK + 1, blocks), random.integers(0, width - BLOCK + 1, blocks)):
        out[y : y + BLOCK, x : x + BLOCK] = GREY
    return out


def _noise(frame: Frame, variance: float, random: np.random.Generator) -> Frame:
    planes = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    planes += random.standard_normal(planes.shape, np.float32) * np.float32(255 * np.sqrt(variance))
    return cv2.cvtColor(np.clip(np.round(planes), 0, 255).astype(np.uint8), cv2.COLOR_YCrCb2RGB)


def _blur(frame: Frame, size: float, random: np.random.Generator) -> Frame:
    return cv2.GaussianBlur(frame, (int(size), int(size)), size / 6)


def _pixelation(frame: Frame, times: float, random: np.random.Generator) -> Frame:
    height, width = frame.shape[:2]
    small = cv2.resize(frame, (max(1, int(width / times)), max(1, int(height / times))), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)


def _picture(frame: Frame, quality: float, random: np.random.Generator, form: str = ".jpg") -> Frame:
    flag = cv2.IMWRITE_JPEG_QUALITY if form == ".jpg" else cv2.IMWRITE_WEBP_QUALITY
    encoded = cv2.imencode(form, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [flag, int(quality)])[1]
    return cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)  # type: ignore[arg-type]


def _resize(frame: Frame, share: float, random: np.random.Generator) -> Frame:
    height, width = frame.shape[:2]
    for down, up in ((cv2.INTER_AREA, cv2.INTER_CUBIC), (cv2.INTER_LINEAR, cv2.INTER_LINEAR)):
        small = cv2.resize(frame, (max(1, round(width * share)), max(1, round(height * share))), interpolation=down)
        frame = cv2.resize(small, (width, height), interpolation=up)
    return frame


def _screenshot(frame: Frame, share: float, random: np.random.Generator) -> Frame:
    """Shown smaller on a screen of another gamma, caught with a little noise, saved as JPEG, brought back to size."""
    height, width = frame.shape[:2]
    shown = cv2.resize(frame, (max(1, round(width * share)), max(1, round(height * share))))
    gamma = 1 + 0.3 * (1 - share)
    values = 255 * (shown.astype(np.float32) / 255) ** np.float32(gamma)
    values += random.standard_normal(values.shape, np.float32)
    caught = _picture(np.clip(np.round(values), 0, 255).astype(np.uint8), 50 + 45 * share, random)
    return cv2.resize(caught, (width, height), interpolation=cv2.INTER_LINEAR)


ON_FRAMES: Mapping[str, OnFrame] = {
    "saturation": _saturation,
    "contrast": _contrast,
    "blockwise": _blockwise,
    "noise": _noise,
    "blur": _blur,
    "pixelation": _pixelation,
    "jpeg": _picture,
    "webp": partial(_picture, form=".webp"),
    "resize": _resize,
    "screenshot": _screenshot,
}
