"""Our suppression of overlapping boxes is torchvision's, group by group."""

import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms

from dfd.preprocess.mtcnn import nms


@pytest.mark.parametrize("overlap", [0.3, 0.5, 0.7])
def test_it_keeps_what_torchvision_keeps_in_its_order(overlap):
    generator = np.random.default_rng(0)
    corner, side = generator.uniform(0, 40, (300, 2)), generator.uniform(25, 40, (300, 2))
    boxes, score = np.hstack([corner, corner + side]), generator.uniform(0, 1, 300)
    group = generator.integers(0, 3, 300)
    tensors = (torch.from_numpy(boxes).float(), torch.from_numpy(score).float(), torch.from_numpy(group))
    kept = nms(boxes, score, group, overlap)
    assert kept.tolist() == batched_nms(*tensors, overlap).tolist()
    assert 10 < len(kept) < 290


def test_nothing_in_nothing_out():
    assert len(nms(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), 0.5)) == 0
