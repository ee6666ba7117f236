"""Picking frames, tracks, interpolation, cutting: pure functions, and MTCNN once for real."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfd.preprocess.crop import CropOptions, NoFace, crop_image, crop_video, cut, pick_frames, square
from dfd.preprocess.faces import NONE, Detections, MtcnnDetector
from dfd.preprocess.tracks import interpolate, iou, link, main_track


class Fixed:
    """A detector that answers from a list."""

    def __init__(self, *answers):
        self.answers = answers

    def detect(self, images):
        return [self.answers[i % len(self.answers)] for i in range(len(images))]


def face(x, y, side=40.0, confidence=0.99):
    return Detections(np.array([[x, y, x + side, y + side]]), np.array([confidence]), np.full((1, 5, 2), x))


def both(*faces):
    return Detections(*(np.concatenate(parts) for parts in zip(*faces, strict=True)))


def test_frames_are_bursts_at_the_official_starts():
    frames = pick_frames(300, 8, 4)
    assert frames[::4].tolist() == [0, 42, 84, 126, 169, 211, 253, 296]
    assert pick_frames(300, 0, 4).tolist() == list(range(300))
    assert pick_frames(3, 8, 4).tolist() == [0, 1, 2]


@given(st.integers(1, 400), st.integers(1, 20), st.integers(1, 10))
def test_picked_frames_are_distinct_and_inside(count, groups, length):
    frames = pick_frames(count, groups, length)
    assert (np.diff(frames) > 0).all()
    assert frames[0] == 0
    assert frames[-1] == count - 1 or groups == 1


def test_iou_by_hand():
    a = np.array([0.0, 0, 10, 10])
    assert iou(a, a) == 1
    assert iou(a, a + 5) == pytest.approx(25 / 175)
    assert iou(a, a + 20) == 0


def test_two_people_stay_two_tracks_and_the_larger_is_the_main_one():
    seen = {t: both(face(10 + t / 4, 10, 30), face(200 - t, 50, 60)) for t in range(0, 40, 10)}
    seen[20] = face(180, 50, 60)
    tracks = link(seen, 0.9)
    assert sorted(track.frames for track in tracks) == [[0, 10, 20, 30], [0, 10, 30]]
    assert main_track(tracks).boxes[0].tolist() == [200, 50, 260, 110]
    assert link({0: face(0, 0, confidence=0.5)}, 0.9) == []
    assert main_track([]) is None


def test_boxes_are_interpolated_and_far_frames_are_not_valid():
    (track,) = link({0: face(0, 0), 10: face(10, 10)}, 0.9)
    values = interpolate(track, np.array([0, 5, 10, 14, 30]), reach=5)
    assert values["box"][1].tolist() == [5, 5, 45, 45]
    assert values["box"][3].tolist() == values["box"][2].tolist()
    assert values["valid"].tolist() == [True, True, True, True, False]


def test_square_is_centred_and_larger_by_the_margin():
    assert square(np.array([[0.0, 0, 100, 50]]), 0.2)[0].tolist() == [-10, -35, 110, 85]


@pytest.mark.parametrize("corner", [(-20, -20), (50, 50), (90, 10)])
def test_a_crop_at_the_border_keeps_its_place(corner):
    image = np.add.outer(np.arange(100), np.arange(100)).astype(np.uint8)[..., None].repeat(3, 2)
    x, y = corner
    crop = cut(image, np.array([x, y, x + 40, y + 40], float), 256)
    rows, columns = (np.clip(np.arange(o, o + 40), 0, 99) for o in (y, x))
    assert np.array_equal(crop, image[rows][:, columns])
    assert cut(image, np.array([0, 0, 80, 80], float), 32).shape == (32, 32, 3)


def test_a_video_is_cut_where_the_face_is(head_video):
    options = CropOptions(groups=3, length=2, detections=4, margin=0.0)
    crops = crop_video(head_video, options, Fixed(face(100, 60)))
    assert crops.table["frame"].tolist() == [0, 1, 14, 15, 28, 29]
    assert crops.table["valid"].all()
    assert {image.shape for image in crops.images.values()} == {(40, 40, 3)}
    like = crop_video(head_video, options, Fixed(NONE), crops.table)  # a fake takes the boxes of its original
    assert all(np.array_equal(like.images[row], crops.images[row]) for row in crops.images)


def test_no_face_is_an_error_of_its_own(head_video):
    with pytest.raises(NoFace, match="on 8 frames"):
        crop_video(head_video, CropOptions(), Fixed(NONE))
    with pytest.raises(NoFace, match="in this picture"):
        crop_image(np.zeros((50, 50, 3), np.uint8), CropOptions(), Fixed(NONE))


def test_options_have_a_hash_of_their_own():
    assert CropOptions().hash == CropOptions().hash != CropOptions(margin=0.4).hash


def test_mtcnn_finds_a_drawn_head_in_a_batch_and_nothing_in_grey(head_video):
    from dfd.data.video import read_frames

    head = next(image for _, _, image in read_frames(head_video, [10]))
    grey = np.full_like(head, 127)
    first, second, third = MtcnnDetector().detect([head, grey, head])
    assert first.confidences.max() > 0.9
    assert len(second.boxes) == 0
    np.testing.assert_allclose(first.boxes, third.boxes, atol=0.1)
    left, right = first.landmarks[0, 0], first.landmarks[0, 1]
    assert first.boxes[0][0] < left[0] < right[0] < first.boxes[0][2]
    assert MtcnnDetector().detect([np.zeros((8, 8, 3), np.uint8)]) == [NONE]
    large = MtcnnDetector(long_side=160).detect([head])[0]
    assert iou(large.boxes[0], first.boxes[0]) > 0.6
