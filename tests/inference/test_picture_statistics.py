"""How pictures look: shapes, clips, batches; what a picture was made by moves it, and what it shows does not."""

import numpy as np
import torch

from dfd.core.bank import FeatureBank, Head
from dfd.inference.picture_statistics import statistics
from dfd.metrics.ranking import roc_auc
from dfd.posthoc.zoo import fit, score

NO_HEAD = Head(np.zeros((0, 0)), np.zeros(0))


def textures(count, seed, smooth=2, size=48):
    """Random smooth pictures in [0, 1], (count, 3, size, size)."""
    noise = torch.rand(count, 3, size + 4 * smooth, size + 4 * smooth, generator=torch.Generator().manual_seed(seed))
    kernel = torch.ones(3, 1, 2 * smooth + 1, 2 * smooth + 1) / (2 * smooth + 1) ** 2
    for _ in range(2):
        noise = torch.nn.functional.conv2d(noise, kernel, groups=3)
    return (0.5 + 3 * (noise - 0.5)).clamp(0, 1)


def bank(pixels):
    """A bank that holds statistics of pictures alone."""
    rows, names = np.zeros(len(pixels)), np.array(["a"] * len(pixels))
    extra = {"pictures": statistics(pixels).numpy()}
    return FeatureBank(rows[:, None], rows[:, None], rows.astype(int), names, names, names, rows, extra)


def test_a_row_depends_on_its_own_picture_and_a_clip_is_the_mean_of_its_frames():
    pictures = textures(6, 0)
    whole = statistics(pictures)
    assert whole.isfinite().all()
    torch.testing.assert_close(torch.cat([statistics(one[None]) for one in pictures]), whole, rtol=1e-4, atol=1e-4)
    clips = statistics(pictures.unflatten(0, (2, 3)))
    torch.testing.assert_close(clips, whole.unflatten(0, (2, 3)).mean(1), rtol=1e-4, atol=1e-4)


def test_flat_and_grey_pictures_have_finite_statistics():
    assert statistics(torch.zeros(2, 3, 16, 24)).isfinite().all()
    assert statistics(torch.ones(2, 3, 24, 16)).isfinite().all()


def test_pictures_made_otherwise_are_far_and_others_of_the_same_kind_are_near():
    fitted = fit("pictures", bank(textures(200, 0)), NO_HEAD)
    same, other = score(fitted, bank(textures(60, 1))), score(fitted, bank(textures(60, 2, smooth=3)))
    assert roc_auc(np.repeat([0, 1], 60), np.concatenate([same, other])) > 0.99
    again = score(fitted, bank(textures(60, 3)))
    assert abs(roc_auc(np.repeat([0, 1], 60), np.concatenate([same, again])) - 0.5) < 0.15
