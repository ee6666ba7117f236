"""How close pictures are to others: PSNR, SSIM, and how much of their edges they keep; RGB in [0, 1], (H, W, 3)."""

import numpy as np
from scipy.ndimage import gaussian_filter, sobel

LUMA = np.array([0.299, 0.587, 0.114])
BEST = 100.0  # dB, of pictures that are equal


def psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB."""
    error = float(np.mean((picture.astype(np.float64) - truth) ** 2))
    return BEST if error == 0 else min(BEST, -10 * np.log10(error))


def ssim(picture: np.ndarray, truth: np.ndarray, sigma: float = 1.5) -> float:
    """Return the structural similarity of luma (Wang et al., 2004): Gaussian windows of 11, borders left out."""
    a, b = picture.astype(np.float64) @ LUMA, truth.astype(np.float64) @ LUMA

    def mean(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, sigma, truncate=5 / sigma)[5:-5, 5:-5]

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    both = mean(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    return float(
        np.mean((2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)))
    )


def edge_similarity(picture: np.ndarray, truth: np.ndarray) -> float:
    """Return how alike gradients are (Xue et al., 2014), 1 where they are equal; blur and invented detail lower it."""
    slopes = []
    for each in (picture, truth):
        luma = each.astype(np.float64) @ LUMA
        slopes.append(np.hypot(sobel(luma, 0), sobel(luma, 1)) / 8)
    a, b = slopes
    steady = 0.0026
    return float(np.mean((2 * a * b + steady) / (a * a + b * b + steady)))


def flicker(frames: np.ndarray, truth: np.ndarray) -> float:
    """Return how much more neighbouring frames (T, H, W, 3) differ than those of the truth do; 0: not more."""
    steps, wanted = np.diff(frames.astype(np.float64), axis=0), np.diff(truth.astype(np.float64), axis=0)
    return float(np.abs(steps - wanted).mean()) if len(frames) > 1 else 0.0
