"""What a file is, by content; what can be read is read, all else is counted and named."""

import logging
import shutil

import av
import numpy as np
import pytest
from PIL import Image, features

from dfd.data.datasets.layout import media
from dfd.data.headers import BadVideo
from dfd.data.kinds import is_image, kind_of, kind_of_bytes, sort_files
from dfd.data.video import probe, read_image

PICTURE = np.random.default_rng(0).integers(0, 255, (24, 40, 3), np.uint8)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp", "tiff", "avif"])
def test_pictures_are_known_and_read_whatever_they_are_called(ending, tmp_path):
    if ending == "avif" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    path = tmp_path / "picture.dat"
    with path.open("wb") as file:
        Image.fromarray(PICTURE).save(file, {"jpg": "JPEG"}.get(ending, ending.upper()))
    assert is_image(path)
    assert read_image(path).shape == PICTURE.shape


def test_videos_are_known_and_read_whatever_they_are_called(head_video, tmp_path):
    for name in ("clip.jpg", "clip", "clip.3gp"):
        path = shutil.copy(head_video, tmp_path / name)
        assert kind_of(path) == "video"
        assert not is_image(path)
        assert probe(path).frames == 30


def test_an_animated_gif_is_a_video(tmp_path):
    path = tmp_path / "a.gif"
    frames = [Image.fromarray(np.roll(PICTURE, shift, 1)) for shift in range(4)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40)
    assert kind_of(path) == "video"
    assert probe(path).frames == 4


def test_kinds_by_first_bytes():
    assert kind_of_bytes(b"\0\0\0\x20ftypM4A \0\0") == "sound"
    assert kind_of_bytes(b"\0\0\0\x20ftypheic\0\0") == "image"
    assert kind_of_bytes(b"RIFF\0\0\0\0WAVE") == "sound"
    assert kind_of_bytes(b"G" + b"\0" * 187 + b"G") == "video"
    assert kind_of_bytes(b"path,label\n") == "other"
    assert kind_of_bytes(b"") == "other"


def test_heic_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    path = tmp_path / "photo.heic"
    ispe = b"\0\0\0\x14ispe" + b"\0" * 4 + (40).to_bytes(4, "big") + (24).to_bytes(4, "big")
    path.write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 4 + b"mif1heic" + ispe)
    with pytest.raises(BadVideo, match="pip install pillow-heif") as error:
        read_image(path)
    assert error.value.reason == "no_decoder"


def test_what_is_left_out_of_a_folder_is_counted_and_named(head_video, tmp_path, caplog):
    shutil.copy(head_video, tmp_path / "a.mp4")
    shutil.copy(head_video, tmp_path / "renamed.bin")
    (tmp_path / "broken.mp4").write_bytes(b"nothing of the kind")
    (tmp_path / "notes.txt").write_text("hello")
    with av.open(str(tmp_path / "voice.m4a"), "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = 16000
        container.mux([*stream.encode(frame), *stream.encode()])
    found = sort_files(tmp_path)
    assert [path.name for path in found.media] == ["a.mp4", "broken.mp4", "renamed.bin"]
    assert [path.name for path in found.others] == ["notes.txt", "voice.m4a"]
    with caplog.at_level(logging.WARNING):
        assert media(tmp_path) == found.media
    assert "2 files are neither videos nor images" in caplog.text
    assert "1 x .m4a" in caplog.text
