"""Files made to hurt whoever decodes them: each is refused with a code, in bounds, without network."""

import socket
import struct
import subprocess
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from dfd.inference.sandbox import Limits, OverLimit, Sandbox
from dfd.serving.confine import confine
from dfd.serving.probing import Facts, Probe
from dfd.serving.settings import Bounds
from tests.conftest import write_video

BOUNDS = Bounds(duration=20, frames=200, pixels=2_000_000, streams=4, seconds=20, memory=2**30)


@pytest.fixture(scope="module")
def probe():
    with Sandbox(Probe(BOUNDS), Facts, 1, Limits(BOUNDS.seconds, BOUNDS.memory)) as sandbox:
        yield sandbox


def kind_of(probe, path: Path) -> str:
    try:
        return probe(path)[0].kind
    except OverLimit as error:
        return error.reason


def grey(path: Path, frames: int, width: int = 64, height: int = 64, fps: int = 25) -> Path:
    return write_video(path, [np.full((height, width, 3), 99, np.uint8)] * frames, fps)


def test_what_is_a_video_or_a_picture(probe, tmp_path, clip):
    facts = probe(clip)[0]
    assert (facts.kind, facts.frames, facts.sound) == ("", 25, False)
    assert facts.duration == pytest.approx(1.0)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 9, 3), np.uint8))
    assert probe(tmp_path / "a.png")[0][:4] == ("png", 9, 8, 1)


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile secret.mp4\n",
        "#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n",
        '<?xml version="1.0"?><MPD><BaseURL>http://127.0.0.1:9/</BaseURL></MPD>',
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
        "<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "#!/bin/sh\ntouch /nowhere\n",
        "",
    ],
)
def test_texts_that_name_other_files(probe, tmp_path, text):
    grey(tmp_path / "secret.mp4", 3)
    path = tmp_path / "attack.mp4"
    path.write_text(text)
    assert kind_of(probe, path) in ("not_a_video", "decode_error")


def test_a_picture_of_many_pixels(probe, tmp_path):
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 60000, 60000) + bytes(9)
    (tmp_path / "a.png").write_bytes(header)
    assert kind_of(probe, tmp_path / "a.png") == "too_large"


def test_a_video_of_many_pixels(probe, tmp_path):
    assert kind_of(probe, grey(tmp_path / "a.mp4", 2, 2048, 1024)) == "too_many_pixels"


def test_a_video_of_many_frames(probe, tmp_path):
    assert kind_of(probe, grey(tmp_path / "a.mp4", 201, fps=100)) == "too_long"


def test_a_video_that_lasts_long(probe, tmp_path):
    assert kind_of(probe, grey(tmp_path / "a.mp4", 30, fps=1)) == "too_long"


def test_a_container_of_many_streams(probe, tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        streams = [container.add_stream("mpeg4", rate=25) for _ in range(5)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for stream in streams:
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    assert kind_of(probe, tmp_path / "a.mkv") == "too_many_streams"


def test_sound_alone_noise_and_a_file_cut_short(probe, tmp_path, clip):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 16000
        container.mux(stream.encode(samples))
        container.mux(stream.encode())
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(100_000))
    (tmp_path / "short.mp4").write_bytes(clip.read_bytes()[:200])
    for name in ("sound", "noise", "short"):
        assert kind_of(probe, tmp_path / f"{name}.mp4") in ("not_a_video", "decode_error")


def test_every_single_byte_may_be_wrong(probe, tmp_path, clip):
    """Whatever a broken header does, it is one file's answer and no server's end."""
    data, random = clip.read_bytes(), np.random.default_rng(1)
    for number in range(30):
        broken = bytearray(data)
        for at in random.integers(0, len(data), 20):
            broken[at] = random.integers(256)
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(bytes(broken))
        kind_of(probe, path)  # must return
    assert probe(clip)[0].kind == ""


class Escape:
    """Tries what a decoder that was taken over would try."""

    def prepare(self) -> None:
        assert confine()

    def __call__(self, path: Path) -> list[Facts]:
        held = []
        for name, attempt in {
            "socket": lambda: socket.socket(),
            "program": lambda: subprocess.run(["true"], check=True),
            "pair": lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
        }.items():
            try:
                attempt()
            except PermissionError:
                held.append(name)
            except OSError as error:
                held.append(f"{name} {error}")
        return [Facts(reason=",".join(held))]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux")
def test_a_decoder_has_no_network_and_starts_no_program(tmp_path):
    with Sandbox(Escape(), Facts, 1, Limits(30, 2**30)) as sandbox:
        assert sandbox(tmp_path)[0].reason == "socket,program,pair"
