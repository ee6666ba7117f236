"""Alignment and uniformity of features."""

import math

import pytest
import torch

from dfd.training.alignment import alignment_and_uniformity


def test_five_vectors_of_a_quarter_circle():
    angles = torch.tensor([0.0, 0.0, 45.0, 90.0, 90.0]) * math.pi / 180
    features = 3 * torch.stack([angles.cos(), angles.sin()], 1)
    together, spread = alignment_and_uniformity(features, torch.tensor([0, 0, 0, 1, 1]))
    assert together.item() == pytest.approx(0.292893, abs=1e-6)
    assert spread.item() == pytest.approx(-1.104797, abs=1e-6)


@pytest.mark.parametrize("label", [[0], [1, 1], [0, 1]])
def test_few_features_give_finite_terms(label):
    features = torch.randn(len(label), 4, requires_grad=True)
    together, spread = alignment_and_uniformity(features, torch.tensor(label))
    (together + spread).backward()
    assert torch.isfinite(together)
    assert torch.isfinite(spread)
    assert torch.isfinite(features.grad).all()
