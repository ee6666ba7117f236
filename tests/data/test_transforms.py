"""Transforms of our own: one draw for all frames, and the geometry of the originals."""

import numpy as np
import pytest

from dfd.data.augment import Augment
from dfd.data.transforms import Cutout, MultiScaleCrop, VideoCompression, anchors, recompressed


def ramp(frames: int = 4, side: int = 112) -> np.ndarray:
    column = np.arange(side, dtype=np.uint8)
    image = np.stack(np.broadcast_arrays(column[:, None], column[None, :], np.uint8(0)), -1)
    return np.repeat(image[None], frames, 0)


def test_cutout_is_one_square_for_all_frames_and_may_leave_the_picture():
    augment = Augment({"cutout": Cutout(16, fill=(1, 2, 255))})
    areas = []
    for seed in range(600):
        masked = (augment(ramp(), seed) == (1, 2, 255)).all(-1)
        assert (masked == masked[0]).all()
        rows, columns = np.flatnonzero(masked[0].any(1)), np.flatnonzero(masked[0].any(0))
        assert masked[0].sum() == len(rows) * len(columns)
        areas.append(masked[0].sum())
    assert max(areas) == 256
    assert np.mean(areas) == pytest.approx(238, abs=4)  # as measured on the original
    assert np.mean(np.array(areas) == 256) == pytest.approx(0.75, abs=0.06)


def test_multi_scale_crop_takes_a_fixed_place_and_mild_distortion():
    augment, sizes, places = Augment(stored={"crop": MultiScaleCrop()}), set(), set()
    for seed in range(800):
        cut = augment.before(ramp(), seed)
        assert (cut == cut[0]).all()
        height, width = cut.shape[1:3]
        sizes.add((height, width))
        places.add(((int(cut[0, 0, 0, 0])), int(cut[0, 0, 0, 1])))
        assert (int(cut[0, 0, 0, 0]), int(cut[0, 0, 0, 1])) in anchors(112 - height, 112 - width)
    sides = [112, 98, 84, 73]
    allowed = {(a, b) for i, a in enumerate(sides) for j, b in enumerate(sides) if abs(i - j) <= 1}
    assert sizes == allowed
    assert len(anchors(40, 40)) == len(set(anchors(40, 40))) == 13


def test_the_same_seed_gives_the_same_crop():
    augment = Augment({"cutout": Cutout()}, {"crop": MultiScaleCrop()})
    assert np.array_equal(augment.before(ramp(), 5), augment.before(ramp(), 5))
    assert np.array_equal(augment(ramp(), 5), augment(ramp(), 5))


@pytest.mark.parametrize("shape", [(4, 64, 64, 3), (1, 33, 47, 3)])
def test_h264_costs_detail_and_keeps_every_frame(shape):
    images = np.random.default_rng(0).integers(60, 190, shape, np.uint8)
    errors = [np.abs(recompressed(images, crf).astype(int) - images).mean() for crf in (10, 25, 45)]
    assert recompressed(images, 25).shape == shape
    assert errors[0] < errors[1] < errors[2]


def test_one_rate_factor_for_all_frames_of_a_call():
    augment = Augment({"h264": VideoCompression((20, 45), p=1.0)})
    images = np.random.default_rng(0).integers(60, 190, (4, 64, 64, 3), np.uint8)
    results = {augment(images, seed).tobytes() for seed in range(6)}
    assert len(results) > 2
    assert augment(images, 3).tobytes() == augment(images, 3).tobytes()


def candidates(side, size):
    """The crop sizes of TSN's code: one that misses the network's size by less than three pixels is taken for it."""
    return {size if abs(int(side * s) - size) < 3 and size <= side else int(side * s) for s in (1, 0.875, 0.75, 0.66)}


@pytest.mark.parametrize(("side", "size"), [(150, 112), (128, 112), (113, 112), (300, 224), (170, 112), (111, 112)])
def test_a_crop_of_nearly_the_networks_size_snaps_to_it(side, size):
    augment, sizes = Augment(stored={"crop": MultiScaleCrop()}), set()
    picture = np.zeros((1, side, side, 3), np.uint8)
    for seed in range(80):
        sizes |= set(augment.before(picture, seed, None, size).shape[1:3])
    assert sizes == candidates(side, size)
