"""Self-blended images: what stays, what changes, what is drawn, and the pairs that training sees."""

from collections import Counter

import numpy as np
import pytest

from dfd.core.records import InputSpec
from dfd.data import selfblend
from dfd.data.selfblend import hull_mask, landmark_hull, self_blend
from dfd.data.selfblend_module import SelfBlendDataModule
from tests.conftest import draw_head

FIVE = np.array([[55, 60], [80, 60], [68, 75], [57, 92], [78, 92]], float)


@pytest.fixture(scope="module")
def head():
    return draw_head()[40:200, 90:250]


def landmarks68(random):
    """A face of 68 points, laid out plainly: jaw, brows, nose, eyes, mouth."""
    jaw = np.stack([np.linspace(30, 130, 17), 90 + 50 * np.sin(np.linspace(0, np.pi, 17))], 1)
    brows = np.stack([np.linspace(40, 120, 10), np.full(10, 55)], 1)
    nose = np.concatenate([[[80, y] for y in (65, 72, 79, 86)], [[x, 92] for x in (70, 75, 80, 85, 90)]])
    eye = np.array([[-8, 0], [-4, -3], [4, -3], [8, 0], [4, 3], [-4, 3]])
    mouth = np.stack([80 + 20 * np.cos(np.linspace(0, 6, 20)), 112 + 8 * np.sin(np.linspace(0, 6, 20))], 1)
    points = np.concatenate([jaw, brows, nose, eye + (60, 68), eye + (100, 68), mouth])
    return points + random.normal(0, 0.5, (68, 2))


@pytest.mark.parametrize("points", [5, 68])
def test_outside_the_mask_nothing_differs(head, points):
    marks = FIVE if points == 5 else landmarks68(np.random.default_rng(0))
    for seed in range(8):
        real, fake, weight = self_blend(head[None], marks[None], np.random.default_rng(seed))
        assert real.shape == fake.shape == (1, *head.shape)
        assert real.dtype == fake.dtype == np.uint8
        assert (real[weight == 0] == fake[weight == 0]).all()
        assert 0 <= weight.min() <= weight.max() <= 1
        assert (weight > 0).any()


def test_a_seed_gives_the_same_blend(head):
    one, other = (self_blend(head[None], FIVE[None], np.random.default_rng(3)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert not np.array_equal(one[1], self_blend(head[None], FIVE[None], np.random.default_rng(4))[1])


def test_frames_of_a_clip_share_the_draw(head):
    _, fake, weight = self_blend(np.stack([head, head]), np.stack([FIVE, FIVE]), np.random.default_rng(1))
    assert np.array_equal(fake[0], fake[1])
    assert np.array_equal(weight[0], weight[1])


def test_half_of_the_blends_show_the_source_alone():
    assert Counter(selfblend.RATIOS)[1.0] == len(selfblend.RATIOS) / 2


@pytest.mark.parametrize("seed", range(6))
def test_hulls_of_landmarks_lie_on_the_face(seed):
    random = np.random.default_rng(seed)
    points = landmarks68(random)
    mask = hull_mask((160, 160), landmark_hull(points, random))
    ys, xs = np.nonzero(mask)
    assert 500 < mask.sum() < 160 * 160 / 2
    assert xs.min() >= points[:, 0].min() - 2
    assert ys.max() <= points[:, 1].max() + 2


@pytest.mark.parametrize("kind", ["image", "clip"])
def test_pairs_of_real_videos_alone(noise, kind):
    spec = InputSpec("image", 32) if kind == "image" else InputSpec("clip", 32, 2, 1, 2)
    options = {"batch_size": 2, "visits": 1, "workers": 0, "balance": "natural"}
    data = SelfBlendDataModule(noise, spec, **options)
    assert {record.label for record in data.records("train")} == {0}
    assert {record.label for record in data.records("val")} == {0, 1}
    batch = next(iter(data.train_dataloader()))
    views = 1 if kind == "image" else 2
    assert batch["label"].tolist() == ([0] * views + [1] * views) * 2
    assert batch["pixels"].shape[:2] == ((4, 3) if kind == "image" else (8, 2))
    assert len(batch["pixels"]) == len(batch["t"]) == len(batch["draw"]) == len(batch["video"])
    assert batch["draw"].tolist()[:views] == batch["draw"].tolist()[views : 2 * views]
    again = next(iter(SelfBlendDataModule(noise, spec, **options).train_dataloader()))
    assert (again["pixels"] == batch["pixels"]).all()
