"""Only wanted frames are decoded, numbers are never shifted, and what is no video is refused with a reason."""

import cv2
import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.data.video import probe, read_frames, read_image


def test_probe(head_video):
    info = probe(head_video)
    assert (info.frames, info.fps, info.width, info.height) == (30, 25.0, 320, 256)


def test_frames_are_those_asked_for(head_video):
    every = {index: image for index, _, image in read_frames(head_video, range(30))}
    assert list(every) == list(range(30))
    some = [(index, t, image) for index, t, image in read_frames(head_video, [29, 3, 7])]
    assert [index for index, _, _ in some] == [3, 7, 29]
    assert [t for _, t, _ in some] == pytest.approx([3 / 25, 7 / 25, 29 / 25])
    assert all(np.array_equal(image, every[index]) for index, _, image in some)
    assert list(read_frames(head_video, [])) == []


def test_a_truncated_video_gives_what_can_be_decoded_or_an_error(head_video, tmp_path):
    path = tmp_path / "short.mp4"
    path.write_bytes(head_video.read_bytes()[:4000])
    with pytest.raises(DfdError, match=r"short\.mp4 cannot be decoded"):
        probe(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n", "cannot be decoded|is no video"),
        (b"hello" * 100, "cannot be decoded|is no video"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, content, message):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(DfdError, match=message):
        probe(path)


def test_a_picture_is_no_video_and_a_missing_file_is_named(tmp_path):
    with pytest.raises(DfdError, match="no video at"):
        probe(tmp_path / "none.mp4")
    with pytest.raises(DfdError, match="not an image"):
        read_image(tmp_path / "none.png")


def test_images_are_rgb(tmp_path):
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    cv2.imwrite(str(tmp_path / "red.png"), red[..., ::-1])
    assert np.array_equal(read_image(tmp_path / "red.png"), red)
