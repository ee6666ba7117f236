"""Every hostile file gets an answer or a reason, quickly and in little memory, and never reaches the network."""

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfd.core.errors import DfdError
from dfd.data.headers import BadVideo, check_container, picture_header
from dfd.data.images import read_rgb
from dfd.data.kinds import IMAGE_SUFFIXES
from dfd.data.video import open_video, read_image
from dfd.inference.sandbox import Limits, OverLimit, Sandbox
from tests.hostile.media import endless_video, good_video, hostile_media, mov, named
from tests.runs import outcome

SECONDS, MEMORY = 20.0, 2**30


class Seen(NamedTuple):
    """What a decoder made of a file, and what that cost."""

    shape: np.ndarray
    peak: int = 0


def look(path: Path) -> list[Seen]:
    """Decode as `predict` does, without looking for faces; by both of the readers of pictures."""
    if path.suffix in IMAGE_SUFFIXES:
        both = read_image(path), read_rgb(path)
        return [Seen(np.array(image.shape)) for image in both]
    with open_video(path) as video:
        wanted = np.unique(np.linspace(0, video.info.frames - 1, 4).astype(int))
        shapes = [np.array(picture.rgb().shape) for picture in video.pictures(wanted)]
    return [Seen(shape, video.info.frames) for shape in shapes]


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(look, Seen, workers=2, limits=Limits(SECONDS, MEMORY)) as sandbox:
        yield sandbox


@pytest.mark.slow
def test_every_file_gets_an_answer_or_a_reason(tmp_path, sandbox):
    files = hostile_media(tmp_path)
    assert len(files) >= 60
    started = time.monotonic()
    outcomes = {path.name: outcome(answers) for path, answers in sandbox.in_order(files)}
    reasons = {name: one.reason for name, one in outcomes.items() if isinstance(one, OverLimit)}
    assert time.monotonic() - started < len(files) * SECONDS
    for name, found in outcomes.items():
        if isinstance(found, OverLimit):
            assert name in str(found)
            assert "\n" not in str(found)
            assert "Traceback" not in str(found)
    costly = {name for name, reason in reasons.items() if reason in ("too_slow", "out_of_memory", "decoder_died")}
    assert all(name.startswith("flipped") for name in costly), "these are to be refused before a decoder sees them"
    expected = {"bomb.png": "too_large", "bomb.webp": "too_large", "inner.webp": "too_large", "bomb.jpg": "too_large",
                "second.jpg": "too_large", "samples.mov": "too_long", "fragments.mp4": "too_long",
                "pipe.png": "not_a_file", "pipe.mp4": "not_a_file", "socket.mp4": "not_a_file",
                "folder.mp4": "not_a_file",
                "device.png": "not_a_file", "null.mp4": "not_a_file", "loop.mp4": "missing_file",
                "dangling.png": "missing_file", "concat.mp4": "not_a_video", "playlist_bom.mkv": "not_a_video",
                "tags.jpg": "not_an_image", "depth.jpg": "not_an_image", "sound_only.mp4": "not_a_video"}  # fmt: skip
    assert {name: reasons.get(name) for name in expected} == expected


def test_a_file_of_any_name_is_read(tmp_path, sandbox):
    files = named(tmp_path)
    assert all(not isinstance(outcome(answers), OverLimit) for _, answers in sandbox.in_order(files))


def test_a_video_whose_name_is_not_utf8_is_read(tmp_path, sandbox):
    path = tmp_path / os.fsdecode(b"vid\xe9o.mp4")
    path.write_bytes(good_video())
    assert sandbox(path)[0].peak == 12


def test_a_folder_named_like_a_protocol_is_a_folder(tmp_path, monkeypatch):
    """`http://127.0.0.1:<port>/x.mp4` is also a relative path; nothing may be fetched from it."""
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def listen() -> None:
            while True:
                try:
                    one, _ = server.accept()
                except OSError:
                    return
                connections.append(one)
                one.close()

        threading.Thread(target=listen, daemon=True).start()
        folder = tmp_path / "http:" / f"127.0.0.1:{port}"
        folder.mkdir(parents=True)
        (folder / "x.mp4").write_bytes(good_video())
        monkeypatch.chdir(tmp_path)
        for name in (f"http://127.0.0.1:{port}/x.mp4", f"http:/127.0.0.1:{port}/x.mp4"):
            with open_video(Path(name)) as video:
                assert video.info.frames == 12
    assert not connections


@pytest.mark.parametrize("protocol", ["concat", "pipe", "data", "subfile", "crypto+file", "tcp"])
def test_other_protocols_are_names_of_files(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    name = f"{protocol}:a|b.mp4"
    (tmp_path / name).write_bytes(good_video())
    with open_video(Path(name)) as video:
        assert video.info.frames == 12


@pytest.mark.slow
def test_an_endless_video_ends_at_the_limit(tmp_path, sandbox):
    path = tmp_path / "endless.mp4"
    endless_video(path)
    assert path.stat().st_size < 20 * 2**20
    started = time.monotonic()
    with pytest.raises(OverLimit) as caught:
        sandbox(path)
    assert caught.value.reason in ("too_slow", "out_of_memory")
    assert time.monotonic() - started < 5 * SECONDS


EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))  # `make fuzz` takes more
QUIET = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
HEADS = st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF????WEBP", b"BM", b""])


@QUIET
@given(HEADS, st.binary(max_size=300))
def test_any_bytes_have_a_picture_header_or_none(head, rest):
    found = picture_header(head + rest)
    assert found is None or (found.width >= 0 and found.height >= 0)


BOXES = st.sampled_from([b"moov", b"trak", b"stts", b"stsz", b"trun", b"mdia", b"minf", b"stbl", b"hdlr"])


@QUIET
@given(st.lists(st.tuples(BOXES, st.integers(0, 2**32 - 1), st.binary(max_size=40)), max_size=12))
def test_any_boxes_are_walked_or_refused(tmp_path, boxes):
    path = tmp_path / "any.mp4"
    path.write_bytes(
        b"\0\0\0\x10ftypisom\0\0\0\0" + b"".join(n.to_bytes(4, "big") + kind + rest for kind, n, rest in boxes)
    )
    with suppress(BadVideo):  # anything else fails the test
        check_container(path)


@QUIET
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.sampled_from([b"vide", b"soun", b"text"]))
def test_declared_samples_are_bounded(tmp_path, samples, duration, handler):
    path = tmp_path / "any.mov"
    path.write_bytes(mov(samples, duration=duration, handler=handler))
    try:
        check_container(path)
    except DfdError:
        return
    assert samples <= 5_000_000 or (handler == b"soun" and duration == 1)
