"""Augmentation on the device: one draw for what belongs together, the same for the same seed."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torchvision.transforms import v2

from dfd.core.build import build
from dfd.core.records import InputSpec
from dfd.data.augment import Augment
from dfd.data.datamodule import FaceDataModule
from dfd.data.jpeg import jpeg
from dfd.data.ondevice import Downscale, OnDevice
from tests.conftest import draw_head

CONFIG = Path(__file__).parents[2] / "configs/augment/strong_on_device.yaml"
PIXELS = torch.rand(4, 2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
DRAW = torch.tensor([5, 5, 8, 9])


@pytest.fixture(scope="module")
def strong():
    return build(OmegaConf.to_container(OmegaConf.load(CONFIG))).on_device


def test_rows_of_one_draw_are_changed_alike_and_none_depends_on_its_neighbours(strong):
    pixels = PIXELS[:1].expand(3, -1, -1, -1, -1)
    alike = different = 0
    for seed in range(40):
        first, second, other = strong(pixels, torch.tensor([seed, seed, seed + 100]))
        assert first.shape == PIXELS[0].shape
        assert 0 <= min(first.min(), other.min()) <= max(first.max(), other.max()) <= 1
        alike += torch.equal(first, second)  # but for noise, which every row has its own of
        different += not torch.equal(first, other)
    assert alike > 25
    assert different > 25
    assert torch.equal(strong(PIXELS, DRAW)[2:3], strong(PIXELS[2:3], DRAW[2:3]))


def test_downscaling_keeps_the_size_and_loses_detail():
    torch.manual_seed(0)
    small = Downscale((0.5, 0.5))(PIXELS)
    assert small.shape == PIXELS.shape
    assert small.std() < 0.8 * PIXELS.std()
    assert (small.mean() - PIXELS.mean()).abs() < 0.01


@pytest.mark.parametrize("kind", ["image", "clip"])
def test_every_view_brings_its_draw(noise, kind):
    spec = InputSpec(kind, 16, 2, 1, 3) if kind == "clip" else InputSpec(kind, 16)
    data = FaceDataModule(noise, spec, Augment(), batch_size=4, visits=2, workers=0)
    (draw, video), *_ = [(batch["draw"], batch["video"]) for batch in data.train_dataloader()]
    assert draw.dtype == torch.int64
    assert len(set(draw.tolist())) == 4  # of four visits
    if kind == "clip":
        assert all(len(set(draw[video == each].tolist())) == 1 for each in set(video.tolist()))
    assert not next(iter(data.val_dataloader()))["draw"].any()


@pytest.mark.parametrize("quality", [10, 49, 75, 100])
def test_jpeg_is_what_an_encoder_and_a_decoder_do(quality):
    """But for rounding: much nearer to the decoded file than that is to the picture."""
    picture = draw_head(height=117, width=90)
    _, file = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    theirs = cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1].astype(int)
    rgb = torch.from_numpy(picture[..., ::-1].copy()).permute(2, 0, 1)
    ours = jpeg(rgb[None, None].float() / 255, quality)[0, 0].mul(255).round().int().permute(1, 2, 0).numpy()
    off = np.abs(ours - theirs)
    assert off.mean() < 1
    assert off.mean() < 0.5 * np.abs(picture[..., ::-1] - theirs).mean()
    assert np.percentile(off, 99) < 20


def test_a_flip_flips_every_frame():
    flipped = OnDevice({"flip": v2.RandomHorizontalFlip(1.0), "none": None})(PIXELS, DRAW)
    assert np.array_equal(flipped.numpy(), PIXELS.numpy()[..., ::-1])
