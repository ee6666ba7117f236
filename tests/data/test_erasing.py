"""The DFDC winner's erasing, resize, sampler and schedule."""

import math

import cv2
import numpy as np
import pytest

from dfd.data.align import show, shown_points
from dfd.data.augment import Augment
from dfd.data.crops import CROP_BOX, FACE_BOX, LANDMARKS
from dfd.data.erasing import FaceErasing, SampledResize, block, half_face, letterbox, part
from dfd.data.sampler import TrainSampler
from dfd.training.schedules import dfdc_poly

FACE = np.array([[40.0, 45.0], [80.0, 45.0], [60.0, 65.0], [45.0, 90.0], [75.0, 90.0]])
DRAWS = 10_000


def rates(transform, landmarks):
    transform.set_random_seed(0)
    drawn = [transform.draw(landmarks) for _ in range(DRAWS)]
    return {name: sum(name in draw for draw in drawn) / DRAWS for name in
            ("eyes", "mouth", "nose", "nothing", "part", "half_face", "block")}  # fmt: skip


def test_rates_are_the_winners():
    found = rates(FaceErasing(), True)
    wanted = {"part": 0.7, "eyes": 0.35, "mouth": 0.175, "nose": 0.0875, "nothing": 0.0875, "half_face": 0.06,
              "block": 0.024}  # fmt: skip
    for name, rate in wanted.items():
        assert found[name] == pytest.approx(rate, abs=4 * math.sqrt(rate * (1 - rate) / DRAWS)), name
    assert rates(FaceErasing(), False)["block"] == pytest.approx(0.08, abs=0.012)
    only = rates(FaceErasing(chain="parts_only"), True)
    assert only["part"] == pytest.approx(0.7, abs=0.02)
    assert only["half_face"] == only["block"] == 0


@pytest.mark.parametrize(("which", "inside", "outside"), [("eyes", (60, 45), (60, 90)), ("mouth", (60, 90), (60, 45)),
                                                          ("nose", (60, 55), (60, 90))])  # fmt: skip
def test_a_part_is_erased_and_the_rest_is_not(which, inside, outside):
    mask = part(which, 120, 120, FACE)
    assert mask[inside[1], inside[0]]
    assert not mask[outside[1], outside[0]]
    assert 0.005 < mask.mean() < 0.25
    assert not part("nothing", 120, 120, FACE).any()


def test_large_faces_are_erased_in_proportion():
    """Distances of 16-bit integers overflow beyond 182 pixels."""
    small, large = part("eyes", 120, 120, FACE).mean(), part("eyes", 1200, 1200, FACE * 10).mean()
    assert large == pytest.approx(small, rel=0.25)


def test_tiny_faces_are_not_erased_as_a_whole():
    """Nought times dilated means "until nothing changes" to scipy."""
    assert part("eyes", 12, 12, FACE / 40).mean() < 0.2


def test_halves():
    for which, (rows, columns) in enumerate([((0, 67), (0, 120)), ((68, 120), (0, 120)), ((0, 120), (0, 60)),
                                             ((0, 120), (60, 120))]):  # fmt: skip
        mask = half_face(which, 120, 120, FACE)
        assert mask.any()
        assert mask.sum() == mask[rows[0] : rows[1] + 1, columns[0] : columns[1]].sum()
    for height, width in ((40, 80), (41, 21)):
        masks = [block(which, height, width) for which in range(6)]
        assert all(0.4 < mask.mean() < 0.6 for mask in masks)
        assert (masks[0] ^ masks[1]).all()


def test_erasing_in_a_chain_erases_every_frame_at_its_own_face():
    images = np.full((2, 120, 120, 3), 200, np.uint8)
    points = np.stack([FACE, FACE + [20, 10]])
    erase = Augment(stored={"erase": FaceErasing(part_p=1.0)})
    done = next(d for d in (erase.before(images, seed, points) for seed in range(20)) if (d == 0).any())
    first, second = (~image.any(2) for image in done)
    assert first[:-10, :-20].sum() == second[10:, 20:].sum() > 0
    assert (first[:-10, :-20] == second[10:, 20:]).all()
    assert (erase.before(images, 3, points) == erase.before(images, 3, points)).all()
    none = Augment(stored={"erase": FaceErasing(half_face_p=0.0, block_p=0.0)})
    assert all((none.before(images, seed) == images).all() for seed in range(10))  # landmarks unknown


def test_landmarks_go_where_the_picture_goes():
    image = np.zeros((100, 100, 3), np.uint8)
    points = np.array([[30, 40], [70, 42], [50, 60], [36, 80], [66, 82]], float)
    for x, y in points.astype(int):
        image[y - 2 : y + 3, x - 2 : x + 3] = 255
    offset, zoom = np.array([200.0, 300.0]), 2.0  # of the crop in its frame
    table = dict(zip(CROP_BOX, np.array([[200], [300], [400], [500]], float), strict=True))
    table |= dict(zip(FACE_BOX, np.array([[230], [330], [370], [470]], float), strict=True))
    table |= dict(zip(LANDMARKS, ((points * zoom) + offset).reshape(10, 1), strict=True))
    for how in ({}, {"margin": 0.2}, {"align": True}):
        shown = show(image, table, 0, 80, **how)
        for x, y in shown_points(image, table, 0, 80, **how).round().astype(int):
            assert shown[y, x].max() > 200, how
    blank = {name: np.zeros(1) for name in table}
    assert np.isnan(shown_points(image, blank, 0, 80)).all()


def test_letterbox_keeps_proportions():
    image = np.full((50, 100, 3), 255, np.uint8)
    boxed = letterbox(image, 80)
    assert boxed.shape == (80, 80, 3)
    assert (boxed[20:60] == 255).all()
    assert not boxed[:19].any()
    assert not boxed[61:].any()
    assert letterbox(image[:50, :50], 50) is not None


def test_the_way_to_resize_is_really_drawn():
    images = np.random.default_rng(0).integers(0, 255, (1, 100, 100, 3), np.uint8)
    resize = Augment(stored={"resize": SampledResize(p=1.0)})
    shrunk = {resize.before(images, seed, size=64).tobytes() for seed in range(30)}
    grown = {resize.before(images, seed, size=160).tobytes() for seed in range(30)}
    assert len(shrunk) == len(grown) == 2  # area or linear, cubic or linear


def test_undersampling_shows_all_reals_and_as_many_fakes_anew():
    labels = [0] * 5 + [1] * 40
    sampler = TrainSampler(labels, 1, "undersample", seed=3)
    epochs = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        epochs.append([visit.video for visit in sampler])
    for videos in epochs:
        assert len(videos) == len(sampler) == 10
        assert sorted(v for v in videos if v < 5) == [0, 1, 2, 3, 4]
        assert len({v for v in videos if v >= 5}) == 5  # without replacement
    assert epochs[0] == epochs[2]
    assert {v for v in epochs[0] if v >= 5} != {v for v in epochs[1] if v >= 5}
    shares = [[v.video for v in TrainSampler(labels, 1, "undersample", 3, rank, 2)] for rank in (0, 1)]
    assert sorted(shares[0] + shares[1]) == sorted(epochs[0])


@pytest.mark.parametrize(("step", "rate"), [(0, 0.0099999), (1, 0.0099999), (50_000, 0.0053829), (99_999, 8.4704e-5)])
def test_the_winners_schedule(step, rate):
    assert 0.01 * dfdc_poly(100_000)(step) == pytest.approx(rate, rel=1e-4)
    assert dfdc_poly(100, None)(99) > 0


def test_the_nose_line_ends_in_whole_pixels_as_in_the_original():
    """The original halves whole coordinates and cuts the rest off: 30 and 71 meet at 50, 40 and 43 at 41."""
    points = np.array([[30, 40], [71, 43], [50, 62], [36, 80], [66, 82]], float)
    (x1, y1), (x2, y2) = points[:2].astype(int)
    line = cv2.line(np.zeros((120, 120), np.uint8), (50, 62), (int((x1 + x2) / 2), int((y1 + y2) / 2)), 1, 2)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    expected = cv2.dilate(line, cross, iterations=int(np.hypot(x2 - x1, y2 - y1) // 4))
    assert np.array_equal(part("nose", 120, 120, points), expected.astype(bool))
