"""Corruptions: what each does, that levels grow, and that only video, kind and level decide."""

import av
import cv2
import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.data.corrupt import LEVELS, ON_FRAMES, STRENGTHS, corrupt, is_codec, strength, transcode
from dfd.data.video import probe, read_frames
from tests.conftest import turn_video, write_video


@pytest.fixture(scope="module")
def frame():
    """Soft shapes with a little texture, 320 x 288."""
    random = np.random.default_rng(0)
    image = cv2.GaussianBlur(random.integers(0, 256, (288, 320, 3), np.uint8), (0, 0), 4).astype(np.float32)
    image = (image - image.mean()) * 6 + 120 + random.normal(0, 3, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def damage(before, after):
    return float(np.abs(before.astype(float) - after).mean())


@pytest.mark.parametrize("kind", ON_FRAMES)
def test_damage_grows_with_the_level(kind, frame):
    done = [corrupt({3: frame}, kind, level, "v")[3] for level in LEVELS]
    assert all(image.shape == frame.shape and image.dtype == np.uint8 for image in done)
    losses = [damage(frame, image) for image in done]
    assert losses == sorted(losses), losses
    assert losses[0] > 0.2


@pytest.mark.parametrize("kind", ON_FRAMES)
def test_only_video_kind_and_level_decide(kind, frame):
    one = corrupt({3: frame, 4: frame}, kind, 2, "v")
    assert np.array_equal(one[3], corrupt({3: frame}, kind, 2, "v")[3])
    if kind in ("noise", "blockwise", "screenshot"):
        assert not np.array_equal(one[3], one[4])  # drawn anew per frame
        assert not np.array_equal(one[3], corrupt({3: frame}, kind, 2, "w")[3])


def test_the_seven_do_what_their_parameters_say(frame):
    grey = corrupt({0: frame}, "saturation", 5, "v")[0]
    assert np.ptp(grey.astype(int), axis=2).max() <= 2
    assert np.abs(corrupt({0: frame}, "contrast", 3, "v")[0] - 0.6 * frame).max() <= 0.5
    blocks = (corrupt({0: frame}, "blockwise", 1, "v")[0] != frame).any(2)
    assert 10 * 64 < blocks.sum() <= 16 * 64  # they may overlap
    flat = np.full((200, 200, 3), 128, np.uint8)
    luma = cv2.cvtColor(corrupt({0: flat}, "noise", 4, "v")[0], cv2.COLOR_RGB2YCrCb)[..., 0].astype(float)
    assert luma.std() / 255 == pytest.approx(0.1, rel=0.1)
    pixels = corrupt({0: frame}, "pixelation", 3, "v")[0]
    assert np.array_equal(pixels[0:4, 0:4], np.broadcast_to(pixels[0, 0], (4, 4, 3)))
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    spread = corrupt({0: point}, "blur", 1, "v")[0][..., 0] > 0
    assert spread.any(0).sum() == 7


def test_small_frames_are_not_spared_blocks():
    small = np.zeros((100, 100, 3), np.uint8)
    assert (corrupt({0: small}, "blockwise", 1, "v")[0] != 0).any()


@pytest.mark.parametrize("kind", [kind for kind in STRENGTHS if is_codec(kind)])
def test_codecs_keep_frames_in_place_and_lose_more_at_higher_levels(kind, head_video, tmp_path):
    clean = {index: image for index, _, image in read_frames(head_video, [0, 11, 20])}
    losses = []
    for level in (1, 5):
        transcode(head_video, tmp_path / f"{level}.mp4", kind, level, last=20)
        assert probe(tmp_path / f"{level}.mp4").frames == 21
        coded = {index: image for index, _, image in read_frames(tmp_path / f"{level}.mp4", [0, 11, 20])}
        size = clean[0].shape[1::-1]
        losses.append(np.mean([damage(clean[i], cv2.resize(coded[i], size)) for i in clean]))
    assert losses[0] < losses[1]
    # frame 11 is frame 11 and not its neighbour: the head moves a pixel a frame
    shifts = [damage(cv2.resize(coded[11], size), image) for image in clean.values()]
    assert int(np.argmin(shifts)) == 1
    transcode(head_video, tmp_path / "again.mp4", kind, 5, last=20)
    again = {index: image for index, _, image in read_frames(tmp_path / "again.mp4", [11])}
    assert np.array_equal(again[11], coded[11])


def test_a_turned_video_is_coded_upright(tmp_path):
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :48] = 220
    path = turn_video(write_video(tmp_path / "phone.mp4", [picture] * 4))
    ((_, _, upright),) = read_frames(path, [2])
    for kind in ("h264", "platform"):
        transcode(path, tmp_path / "coded.mp4", kind, 1)
        ((_, _, coded),) = read_frames(tmp_path / "coded.mp4", [2])
        assert coded.shape == upright.shape == (96, 64, 3)
        assert damage(upright, coded) < 10


def test_a_damaged_packet_costs_its_frame_and_moves_no_other(tmp_path):
    path, coded = tmp_path / "scratched.mkv", tmp_path / "coded.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for shade in range(20, 220, 10):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        third = list(container.demux(video=0))[3]
    data = path.read_bytes()
    path.write_bytes(data.replace(bytes(third), bytes(len(bytes(third)))))
    clean = {index: image for index, _, image in read_frames(path, range(20))}
    assert set(range(20)) - set(clean) == {3}
    transcode(path, coded, "h264", 1)
    after = {index: image for index, _, image in read_frames(coded, range(20))}
    assert len(after) == 20
    assert all(damage(clean[index], after[index]) < 4 for index in clean)


@pytest.mark.parametrize(("kind", "level", "message"), [("fog", 1, "no corruption 'fog'"), ("blur", 6, "1 to 5")])
def test_what_does_not_exist_is_said(kind, level, message):
    with pytest.raises(DfdError, match=message):
        strength(kind, level)
