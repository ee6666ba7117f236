"""Picking frames, tracks, interpolation, cutting: pure functions, and MTCNN once for real."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dfd.core.errors import DfdError
from dfd.data.align import TEMPLATE, template
from dfd.preprocess.crop import (
    CropOptions,
    Cutting,
    NoFace,
    crop_image,
    crop_video,
    cut,
    drive,
    look_frames,
    pick_frames,
    square,
)
from dfd.preprocess.faces import NONE, Detections, MtcnnDetector
from dfd.preprocess.tracks import interpolate, iou, link, main_tracks, unsettled
from tests.conftest import draw_head, write_video


class Fixed:
    """A detector that answers from a list."""

    def __init__(self, *answers):
        self.answers = answers

    def detect(self, images):
        return [self.answers[i % len(self.answers)] for i in range(len(images))]


def face(x, y, side=40.0, confidence=0.99):
    return Detections(np.array([[x, y, x + side, y + side]]), np.array([confidence]), np.full((1, 5, 2), x))


def both(*faces):
    return Detections(*(np.concatenate(parts) for parts in zip(*(one[:3] for one in faces), strict=True)))


def test_frames_are_bursts_at_the_official_starts():
    times = np.arange(300) / 25
    frames = pick_frames(times, CropOptions())
    assert frames[::4].tolist() == [0, 42, 84, 126, 169, 211, 253, 296]
    assert pick_frames(times, CropOptions(groups=0)).tolist() == list(range(300))
    assert pick_frames(times, CropOptions(groups=0, every=10)).tolist() == list(range(0, 300, 10))
    assert pick_frames(times[:3], CropOptions()).tolist() == [0, 1, 2]


def test_bursts_are_spread_over_time_not_over_frame_numbers():
    times = np.concatenate([np.arange(100) / 100, 1 + np.arange(100) / 10])  # eleven seconds, the first one dense
    starts = pick_frames(times, CropOptions(groups=3, length=1))
    assert times[starts] == pytest.approx([0, 5.4, 10.9])


def test_the_detector_looks_at_kept_frames_only():
    times = np.arange(300) / 25
    keep = pick_frames(times, CropOptions())
    assert len(look_frames(times, keep, CropOptions())) == 8
    every = look_frames(times, np.arange(300), CropOptions(groups=0))
    assert np.diff(times[every]).max() <= 0.2001
    assert {0, 299} <= set(every.tolist())
    assert look_frames(times, keep[:1], CropOptions()).tolist() == [0]


@given(st.integers(1, 400), st.integers(1, 20), st.integers(1, 10), st.floats(1, 120))
def test_picked_frames_are_distinct_and_inside(count, groups, length, fps):
    frames = pick_frames(np.arange(count) / fps, CropOptions(groups=groups, length=length))
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
    first, second = main_tracks(tracks, (300, 200), 5)
    assert first.boxes[0].tolist() == [200, 50, 260, 110]
    assert second.boxes[0].tolist() == [10, 10, 40, 40]
    assert link({0: face(0, 0, confidence=0.5)}, 0.9) == []
    assert main_tracks([], (300, 200)) == []


def test_many_looks_at_one_moment_count_for_that_moment():
    """Looks crowd where a face comes and goes; somebody seen all the time is the main one nevertheless."""
    often = {t: face(200, 0, 50) for t in (100, 101, 102, 103)}
    seen = {0: face(0, 0), 100: both(often[100], face(0, 0)), 101: often[101], 102: often[102], 103: often[103]}
    seen |= {200: face(0, 0), 300: face(0, 0)}
    tracks = link(seen, 0.9)
    assert main_tracks(tracks, (300, 200), looks=sorted(seen))[0].frames == [0, 100, 200, 300]


def test_the_most_central_face_can_be_the_main_one():
    tracks = link({0: both(face(0, 0, 50), face(80, 80, 40))}, 0.9)
    assert main_tracks(tracks, (200, 200))[0].boxes[0].tolist() == [0, 0, 50, 50]
    assert main_tracks(tracks, (200, 200), main="central")[0].boxes[0].tolist() == [80, 80, 120, 120]


def test_people_keep_their_id_when_sizes_change_places():
    """The winner's rank by area would swap the two; a track follows the place."""
    seen = {t: both(face(10, 10, 30 + t), face(200, 50, 60 - t)) for t in range(0, 50, 5)}
    left, right = sorted(link(seen, 0.9), key=lambda track: track.boxes[0][0])
    assert all(box[0] == 10 for box in left.boxes)
    assert all(box[0] == 200 for box in right.boxes)


def test_boxes_are_interpolated_between_two_looks_that_found_the_face():
    (track,) = link({0: face(0, 0), 10: face(10, 10)}, 0.9)
    values = interpolate(track, np.array([0, 5, 10, 14, 30]), reach=5)
    assert values["box"][1].tolist() == [5, 5, 45, 45]
    assert values["valid"].tolist() == [True, True, True, False, False]  # nothing is held beyond the last look
    assert values["detected"].tolist() == [True, False, True, False, False]
    assert values["confidence"].tolist() == [0.99, 0.99, 0.99, 0, 0]
    far = interpolate(track, np.array([0, 2, 5]), reach=4)
    assert far["valid"].tolist() == [True, True, False]


def test_a_look_that_missed_ends_validity_and_so_does_a_cut():
    (track,) = link({0: face(0, 0), 10: face(10, 10), 20: face(12, 10)}, 0.9)
    frames = np.arange(0, 21, 5)
    missed = interpolate(track, frames, 9, looks=[0, 4, 10, 20])
    assert missed["valid"].tolist() == [True, False, True, True, True]
    cut = interpolate(track, frames, 9, cuts=np.array([13]))
    assert cut["valid"].tolist() == [True, True, True, False, True]


def test_there_is_a_look_between_two_that_disagree():
    kept = np.arange(0, 41)
    (track,) = link({0: face(0, 0), 10: face(2, 0), 20: face(30, 0)}, 0.9)
    assert unsettled([track], [0, 10, 20, 40], kept) == [15, 30]  # moved by more than half a box; gone
    assert unsettled([track], [0, 10, 20], kept[:21], np.array([5])) == [4, 5, 15]
    assert unsettled([track], [0, 10], kept[:21]) == [20]
    assert unsettled([track], kept.tolist(), kept) == []


def test_a_known_face_goes_on_at_a_lower_confidence():
    seen = {0: face(0, 0, confidence=0.95), 5: face(1, 0, confidence=0.75), 10: face(90, 0, confidence=0.75)}
    (track,) = link(seen, 0.9)
    assert track.frames == [0, 5]


def test_people_who_cross_are_told_apart_by_appearance():
    def looks(x, person):
        return face(x, 0)._replace(appearance=np.eye(2)[[person]])

    def two(a, b):
        return Detections(*(np.concatenate(parts) for parts in zip(a, b, strict=True)))

    seen = {t: two(looks(2 * t, 0), looks(100 - 2 * t, 1)) for t in range(0, 51, 10)}
    for track in link(seen, 0.9):
        assert len({tuple(one) for one in track.appearances}) == 1
        assert track.frames == list(seen)


def test_square_is_centred_and_larger_by_the_margin():
    assert square(np.array([[0.0, 0, 100, 50]]), 0.2)[0].tolist() == [-10, -35, 110, 85]


@pytest.mark.parametrize("corner", [(-20, -20), (50, 50), (80, 10)])
def test_a_crop_at_the_border_keeps_its_place(corner):
    image = np.add.outer(np.arange(100), np.arange(100)).astype(np.uint8)[..., None].repeat(3, 2)
    x, y = corner
    crop = cut(image, np.array([x, y, x + 40, y + 40], float), 256)
    inside = [np.pad(np.arange(100), 20, mode="symmetric")[o + 20 : o + 60] for o in (y, x)]  # mirrored at the edge
    assert np.array_equal(crop, image[inside[0]][:, inside[1]])
    assert cut(image, np.array([0, 0, 80, 80], float), 32).shape == (32, 32, 3)


def test_a_video_is_cut_where_the_face_is(head_video):
    options = CropOptions(groups=3, length=2, detections=4, margin=0.0)
    crops = crop_video(head_video, options, Fixed(face(100, 60)))
    assert crops.table["frame"].tolist() == [0, 1, 14, 15, 28, 29]
    assert crops.table["valid"].all()
    assert {image.shape for image in crops.images.values()} == {(40, 40, 3)}
    like = crop_video(head_video, options, Fixed(NONE), crops.table)  # a fake takes the boxes of its original
    assert all(np.array_equal(like.images[row], crops.images[row]) for row in crops.images)


def test_a_fake_of_another_length_keeps_the_frames_of_its_original(tmp_path):
    pictures = [draw_head(i % 20) for i in range(60)]
    options = CropOptions(groups=4, length=2, detections=2)
    original = crop_video(write_video(tmp_path / "long.mp4", pictures), options, Fixed(face(100, 60)))
    assert original.table["frame"].tolist() == [0, 1, 19, 20, 38, 39, 58, 59]
    for count, kept in ((59, 7), (58, 6), (38, 4), (20, 3)):
        path = write_video(tmp_path / f"{count}.mp4", pictures[:count])
        fake = crop_video(path, options, Fixed(NONE), original.table)
        assert fake.table["frame"].tolist() == original.table["frame"][:kept].tolist()
    late = dict(original.table, valid=original.table["frame"] > 10)  # no face in the first burst
    fake = crop_video(tmp_path / "58.mp4", options, Fixed(NONE), late)
    assert fake.table["frame"].tolist() == [19, 20, 38, 39]


def test_a_fake_of_another_size_has_boxes_of_its_size(head_video, tmp_path):
    options = CropOptions(groups=2, length=1, detections=2)
    original = crop_video(head_video, options, Fixed(face(100, 60)))
    half = [cv2.resize(draw_head(i), (160, 128), interpolation=cv2.INTER_AREA) for i in range(30)]
    small = write_video(tmp_path / "half.mp4", half)
    fake = crop_video(small, options, Fixed(NONE), original.table, (320, 256))
    for name in ("x0", "y1", "cx0", "cy1", "lx4", "ly0"):
        assert fake.table[name].tolist() == (original.table[name] / 2).tolist()
    assert np.array_equal(fake.table["confidence"], original.table["confidence"])
    assert fake.images[0].shape == (26, 26, 3)
    assert original.images[0].shape == (52, 52, 3)
    assert (
        np.abs(cv2.resize(original.images[0], (26, 26), interpolation=cv2.INTER_AREA) - 1.0 * fake.images[0]).mean() < 8
    )


def test_a_fake_of_another_shape_is_looked_at(head_video, tmp_path):
    options = CropOptions(groups=2, length=1, detections=2)
    original = crop_video(head_video, options, Fixed(face(100, 60)))
    work = Cutting(head_video, options, original.table, original_size=(320, 180))
    drive(work.look(), Fixed(face(30, 20)))
    assert work.facts["found_anew"]
    assert work.table["x0"].tolist() == [30, 30]
    picture = tmp_path / "square.png"
    cv2.imwrite(str(picture), draw_head()[:200, :200])
    work = Cutting(picture, options, original.table, original_size=(320, 256))
    drive(work.look(), Fixed(face(30, 20)))
    assert work.facts["found_anew"]
    rounded = Cutting(head_video, options, original.table, original_size=(640, 511))
    drive(rounded.look(), Fixed(NONE))
    assert "found_anew" not in rounded.facts


def test_no_face_is_an_error_of_its_own(head_video):
    with pytest.raises(NoFace, match="on 8 frame"):
        crop_video(head_video, CropOptions(), Fixed(NONE))
    with pytest.raises(NoFace, match="of this picture"):
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
    assert len(MtcnnDetector().detect([np.zeros((8, 8, 3), np.uint8)])[0].boxes) == 0
    large, tiny = MtcnnDetector().detect([cv2.resize(head, (1280, 1024)), cv2.resize(head, (160, 128))])
    assert iou(large.boxes[0] / 4, first.boxes[0]) > 0.6
    assert iou(tiny.boxes[0] * 2, first.boxes[0]) > 0.6


def test_the_faces_of_a_picture_do_not_depend_on_its_company():
    head = draw_head()
    pictures = [cv2.resize(head, (480, 384)), cv2.copyMakeBorder(head, 200, 200, 340, 340, cv2.BORDER_CONSTANT)]
    detector = MtcnnDetector()
    together = detector.detect(pictures)
    for faces, picture in zip(together, pictures, strict=True):
        (alone,) = detector.detect([picture])
        assert len(alone.boxes)
        assert np.array_equal(faces.boxes, alone.boxes)
        assert np.array_equal(faces.confidences, alone.confidences)


def test_the_cascade_agrees_with_the_package_it_takes_its_weights_from(head_video):
    """The same boxes, landmarks and confidences as facenet-pytorch's own loop, but for how patches are resampled."""
    from facenet_pytorch import MTCNN

    from dfd.data.video import read_frames
    from dfd.preprocess.mtcnn import Cascade

    images = [image for _, _, image in read_frames(head_video, [3, 17])]
    found = Cascade()(images, 20)
    boxes, confidences, landmarks = MTCNN(keep_all=True, min_face_size=20).detect(np.stack(images), landmarks=True)
    for i in range(2):
        rows = np.flatnonzero(found.image == i)
        assert len(rows) == len(boxes[i])
        assert iou(found.box[rows[0]], boxes[i][0].astype(float)) > 0.85
        assert found.confidence[rows[0]] == pytest.approx(confidences[i][0], abs=0.05)
        assert np.abs(found.landmarks[rows[0]] - landmarks[i][0]).max() < 8  # of a face 110 wide


@pytest.mark.parametrize(
    ("ours", "theirs", "size"), [("proposal", "PNet", 40), ("refinement", "RNet", 24), ("output", "ONet", 48)]
)
def test_its_networks_are_those_of_the_package(ours, theirs, size):
    from facenet_pytorch.models import mtcnn

    from dfd.preprocess import mtcnn_networks

    pixels = torch.rand(5, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found, expected = getattr(mtcnn_networks, ours)()(pixels), getattr(mtcnn, theirs)()(pixels)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_frames_that_do_not_fit_into_memory_are_decoded_again(head_video):
    options, fixed = CropOptions(groups=0), Fixed(face(100, 60))
    whole, thrifty = Cutting(head_video, options), Cutting(head_video, options, held=10**6)
    for work in (whole, thrifty):
        drive(work.look(), fixed)
    assert thrifty._pictures is None
    first, second = dict(whole.stream()), dict(thrifty.stream())
    assert list(first) == list(second) == list(range(30))
    assert all(np.array_equal(first[row], second[row]) for row in first)


def test_two_actors_are_two_tracks_with_crops_of_their_own(head_video):
    crops = crop_video(
        head_video, CropOptions(groups=2, length=2, max_tracks=2), Fixed(both(face(10, 60), face(200, 60, 30)))
    )
    assert crops.table["track"].tolist() == [0] * 4 + [1] * 4
    assert crops.table["frame"].tolist() == [0, 1, 28, 29] * 2
    assert [crops.images[row].shape[0] for row in (0, 4)] == [52, 39]


def test_view_options_do_not_change_what_is_stored():
    assert CropOptions(view_margin=0.1, align=True).hash == CropOptions().hash
    with pytest.raises(DfdError, match=r"stored crops reach only 0\.3"):
        CropOptions(view_margin=0.5)


def test_the_preset_shows_faces_where_deepfakebench_shows_them():
    """Its template: ArcFace's points, a margin of (scale - 1) / 2 on each side, scale 1.3, 256 pixels."""
    scale, size = 1.3, 256
    margin = size * (scale - 1) / 2
    theirs = (TEMPLATE * size / 112 + margin) * size / (size + 2 * margin)
    np.testing.assert_allclose(template(size, 0.3), theirs)
    preset = OmegaConf.load(Path(__file__).parents[2] / "configs" / "crops" / "deepfakebench.yaml")
    assert CropOptions(**preset).view_margin == pytest.approx(scale - 1)
