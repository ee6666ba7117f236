"""PSNR, SSIM and edges against what is known of them."""

import numpy as np
import pytest

from dfd.metrics.images import BEST, edge_similarity, flicker, psnr, ssim

PICTURE = np.random.default_rng(0).random((40, 50, 3))


def test_equal_pictures():
    assert psnr(PICTURE, PICTURE) == BEST
    assert ssim(PICTURE, PICTURE) == pytest.approx(1)
    assert edge_similarity(PICTURE, PICTURE) == pytest.approx(1)


def test_psnr_of_a_known_error():
    assert psnr(np.full((8, 8, 3), 0.6), np.full((8, 8, 3), 0.5)) == pytest.approx(20)


def test_ssim_is_that_of_its_authors():
    from scipy.signal import convolve2d

    other = np.clip(PICTURE + np.random.default_rng(1).normal(0, 0.1, PICTURE.shape), 0, 1)
    x = np.arange(-5, 6)
    line = np.exp(-(x**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    a, b = (each @ [0.299, 0.587, 0.114] for each in (PICTURE, other))
    mean_a, mean_b, aa, bb, ab = (convolve2d(v, window, "valid") for v in (a, b, a * a, b * b, a * b))
    top = (2 * mean_a * mean_b + 1e-4) * (2 * (ab - mean_a * mean_b) + 9e-4)
    below = (mean_a**2 + mean_b**2 + 1e-4) * (aa - mean_a**2 + bb - mean_b**2 + 9e-4)
    assert ssim(PICTURE, other) == pytest.approx((top / below).mean(), abs=1e-9)


def test_blur_lowers_the_similarity_of_edges():
    from scipy.ndimage import gaussian_filter

    values = [edge_similarity(gaussian_filter(PICTURE, (s, s, 0)), PICTURE) for s in (0.5, 1, 2)]
    assert values == sorted(values, reverse=True)


def test_flicker_is_what_the_truth_does_not_do():
    clip = np.random.default_rng(0).random((4, 8, 8, 3))
    assert flicker(clip, clip) == 0
    assert flicker(clip + np.arange(4)[:, None, None, None] % 2, clip) == pytest.approx(1)
