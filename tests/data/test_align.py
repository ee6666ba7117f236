"""Crops resized as other code does."""

import numpy as np
import pytest
from PIL import Image

from dfd.data.align import fit, fit_as_tall


@pytest.mark.parametrize("shape", [(150, 150), (112, 112), (90, 90), (150, 200), (201, 130)])
def test_the_test_time_resize_of_tall(shape):
    """GroupScale is torchvision's Resize of a Pillow image: the shorter side to 112, bilinear; then the centre crop."""
    transforms = pytest.importorskip("torchvision.transforms")
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    scale = transforms.Resize(112, transforms.InterpolationMode.BILINEAR)
    expected = np.asarray(transforms.CenterCrop(112)(scale(Image.fromarray(picture))))
    ours = fit_as_tall(picture, 112)
    assert ours.shape == (112, 112, 3)
    if shape[0] == shape[1]:
        assert np.array_equal(ours, expected)
    else:  # stored crops are square; of others the longer side may differ by a pixel
        assert np.abs(ours.astype(float) - expected).mean() < 45


def test_ours_and_theirs_differ_by_a_fraction_of_a_grey_level():
    smooth = np.random.default_rng(1).normal(0, 1, (300, 300, 3)).cumsum(0).cumsum(1)
    smooth = np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))
    off = np.abs(fit(smooth, 112).astype(float) - fit_as_tall(smooth, 112)).mean()
    assert 0 < off < 1
