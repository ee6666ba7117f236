"""Only wanted frames are decoded, numbers are never shifted, and what is not a video is refused with a reason."""

import zlib
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.data.images import read_rgb
from dfd.data.video import BadVideo, open_video, probe, read_frames, read_image
from tests.conftest import turn_video, write_video


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
        (b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n", "is an HLS playlist"),
        (b"hello" * 100, "cannot be decoded|is not a video"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, content, message):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(DfdError, match=message):
        probe(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DfdError, match="no file at"):
        probe(tmp_path / "none.mp4")
    with pytest.raises(DfdError, match="no file at"):
        read_image(tmp_path / "none.png")


def test_a_video_without_a_decoder_is_refused(head_video, tmp_path):
    data = bytearray(head_video.read_bytes())
    name = data.index(b"avc1", data.index(b"stsd"))
    data[name : name + 4] = b"zzz1"
    path = tmp_path / "strange.mp4"
    path.write_bytes(bytes(data))
    with pytest.raises(BadVideo, match=r"strange\.mp4 is coded in a way that .* cannot decode") as caught:
        probe(path)
    assert caught.value.reason == "no_decoder"


@pytest.mark.parametrize("read", [read_image, read_rgb])
def test_a_picture_that_claims_to_be_huge_is_named(tmp_path, read):
    path = tmp_path / "huge.png"
    cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    data = bytearray(path.read_bytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(bytes(data))
    with pytest.raises(DfdError, match=r"huge\.png"):
        read(path)


def test_images_are_rgb(tmp_path):
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    cv2.imwrite(str(tmp_path / "red.png"), red[..., ::-1])
    assert np.array_equal(read_image(tmp_path / "red.png"), red)


def variable_rate(path, frames, stamps):
    """Write frames that are shown at the given hundredths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=100)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv420p"
        stream.options = {"bf": "3", "g": "12"}
        stream.codec_context.time_base = Fraction(1, 100)
        for image, stamp in zip(frames, stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def shades(count, side=64):
    return [np.full((side, side, 3), 5 * i + 20, np.uint8) for i in range(count)]


def test_a_variable_rate_is_respected(tmp_path):
    stamps = [0, 2, 4, 30, 31, 60, 100, 101, 102, 200]
    path = variable_rate(tmp_path / "vfr.mp4", shades(10), stamps)
    found = [(i, round(t * 100)) for i, t, _ in read_frames(path, range(10))]
    assert found == list(enumerate(stamps))
    assert probe(path).fps == pytest.approx(9 / 2)


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        *((suffix, "libx264", {"x264-params": "open-gop=1"}) for suffix in ("mp4", "mkv", "avi", "mov", "ts", "flv")),
        ("mp4", "libx265", {"x265-params": "log-level=none:keyint=10"}),  # open groups of pictures, as is usual
        ("mp4", "mpeg4", {}),
        ("mpg", "mpeg2video", {}),
    ],
)
def test_jumps_and_skipped_frames_change_no_pixel(tmp_path, suffix, codec, options):
    path = tmp_path / f"clip.{suffix}"
    random = np.random.default_rng(0)
    pictures = [np.clip(image + random.integers(0, 40, image.shape), 0, 255).astype(np.uint8) for image in shades(40)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt, stream.options = "yuv420p", {"bf": "4" if codec == "libx264" else "2", "g": "10", **options}
        for image in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        plain = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for wanted in ([0], [39], [3, 21, 22, 38], [14, 15], [9], [19, 20], [28, 29], range(40)):
        found = {index: image for index, _, image in read_frames(path, list(wanted))}
        assert list(found) == list(wanted)
        assert all(np.array_equal(plain[index], image) for index, image in found.items())


def test_a_rotated_video_is_upright(tmp_path):
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :48] = 220  # the left half is bright
    path = turn_video(write_video(tmp_path / "flat.mp4", [picture] * 5))
    assert (probe(path).width, probe(path).height) == (64, 96)
    (_, _, image), *_ = read_frames(path, [2])
    assert image.shape == (96, 64, 3)
    halves = image[:40].mean(), image[-40:].mean()
    assert abs(halves[0] - halves[1]) > 150
    with open_video(path) as video:
        (shown,) = video.pictures([2])
        assert np.array_equal(shown.region(5, 7, 31, 50), image[7:50, 5:31])


def test_a_part_of_a_frame_is_the_same_pixels(head_video):
    with open_video(head_video) as video:
        (picture,) = video.pictures([7])
        whole = picture.rgb()
        for x0, y0, x1, y1 in ((0, 0, 320, 256), (31, 17, 200, 201), (0, 0, 1, 1), (319, 255, 320, 256)):
            assert np.array_equal(picture.region(x0, y0, x1, y1), whole[y0:y1, x0:x1])
        assert picture.shrunk(0.5).shape == (128, 160, 3)


def test_a_damaged_middle_costs_its_frames_only(head_video, tmp_path):
    data = bytearray(head_video.read_bytes())
    start = data.index(b"mdat") + len(data) // 3
    data[start : start + 40] = b"\xff" * 40
    path = tmp_path / "scratched.mp4"
    path.write_bytes(bytes(data))
    found = [index for index, _, _ in read_frames(path, range(30))]
    assert found[:3] == [0, 1, 2]
    assert found == sorted(set(found))


def test_hostile_files_are_refused_quickly_with_a_reason(tmp_path, monkeypatch):
    playlist = tmp_path / "playlist.mp4"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n")
    concat = tmp_path / "concat.mp4"
    concat.write_text("ffconcat version 1.0\nfile /etc/hostname\n")
    for path in (playlist, concat):
        with pytest.raises(BadVideo) as caught:
            probe(path)
        assert caught.value.reason in ("not_a_video", "decode_error")
    monkeypatch.setattr("dfd.data.video.MOST_FRAMES", 20)  # hours of tiny frames, in small
    with pytest.raises(BadVideo, match="more than 20 frames") as caught:
        probe(write_video(tmp_path / "long.mp4", shades(25)))
    assert caught.value.reason == "too_long"
    monkeypatch.setattr("dfd.data.video.LARGEST_SIDE", 100)
    with pytest.raises(BadVideo, match="128x64") as caught:
        probe(write_video(tmp_path / "large.mp4", [np.zeros((64, 128, 3), np.uint8)]))
    assert caught.value.reason == "too_large"
