"""Losses, parameter groups and schedules against what they stand for."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dfd.core.errors import DfdError
from dfd.core.records import Record
from dfd.training.consistency import drift
from dfd.training.losses import classification_loss, mean_by_video
from dfd.training.optim import parameter_groups
from dfd.training.schedules import constant, tall_official, warmup_cosine, warmup_poly
from dfd.training.scoring import Rows, prediction_table


def test_two_logits_and_one_logit_agree():
    torch.manual_seed(0)
    margin, label = torch.randn(16, 1), torch.randint(0, 2, (16,))
    pair = torch.cat([torch.zeros_like(margin), margin], 1)
    for options in ({}, {"label_smoothing": 0.1}, {"class_weights": [1.0, 3.0]}):
        one, two = classification_loss(margin, label, **options), classification_loss(pair, label, **options)
        torch.testing.assert_close(one, two)
    torch.testing.assert_close(classification_loss(pair, label), F.cross_entropy(pair, label))


def test_a_loss_that_does_not_fit_the_network_is_named():
    with pytest.raises(DfdError, match=r"loss=bce needs 1 logit\(s\), the network gives 2"):
        classification_loss(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long), "bce")


def test_mean_by_video_and_the_row_of_its_first_view():
    values, video = torch.tensor([[1.0], [5.0], [3.0], [7.0]]), torch.tensor([4, 2, 4, 2])
    means, first = mean_by_video(values, video)
    assert means.ravel().tolist() == [6.0, 2.0]
    assert first.tolist() == [1, 0]


def test_norms_biases_and_excepted_parameters_have_no_decay():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.norm = nn.Linear(3, 4), nn.LayerNorm(4)
            self.position = nn.Parameter(torch.zeros(1, 2, 4))
            self.frozen = nn.Linear(4, 4).requires_grad_(False)

        def no_weight_decay(self):
            return {"position"}

    net = nn.Sequential(Net())
    decayed, plain = parameter_groups(net, 0.05)
    assert [p is net[0].linear.weight for p in decayed["params"]] == [True]
    assert decayed["weight_decay"] == 0.05
    assert len(plain["params"]) == 4
    assert plain["weight_decay"] == 0.0


def test_schedules():
    cosine = warmup_cosine(100, warmup=0.1, floor=0.01)
    values = [cosine(step) for step in range(101)]
    assert values[0] < 0.1
    assert values[10] == pytest.approx(1.0)
    assert values[55] == pytest.approx(0.505)
    assert values[100] == pytest.approx(0.01)
    assert (np.diff(values[10:]) < 0).all()
    poly = warmup_poly(100, power=2)
    assert [poly(0), poly(50), poly(100)] == pytest.approx([1, 0.25, 0])
    assert [constant(10)(s) for s in (0, 9)] == [1, 1]


def test_rows_become_a_table_of_the_records_they_point_to():
    records = [Record("a", "toy", "test", 0, "", "g"), Record("b", "toy", "test", 1, "", "h", "Swap")]
    rows = Rows(np.array([1, 0]), np.array([0.5, 0.0]), np.array([1, 0]), np.array([0.9, 0.2]), np.array([2.2, -1.4]))
    table = prediction_table(rows, records)
    assert table.to_dict("list") == {
        "video": ["a", "b"], "dataset": ["toy", "toy"], "method": ["real", "Swap"], "group": ["g", "h"],
        "label": [0, 1], "t": [0.0, 0.5], "score": [0.2, 0.9], "raw": [-1.4, 2.2],
        "order": [0, 1],
    }  # fmt: skip


def test_the_rate_that_talls_code_really_used():
    factor = tall_official(60 * 900)
    rates = {epoch: 1.5e-5 * factor(epoch * 900 + 450) for epoch in range(60)}
    assert rates[0] == rates[1] == pytest.approx(1.5e-8)
    assert rates[2] == pytest.approx(1.51e-6, rel=5e-3)
    assert rates[10] == pytest.approx(1.35e-5, rel=5e-3)
    assert max(rates, key=rates.get) == 11
    assert rates[11] == pytest.approx(1.40e-5, rel=5e-3)
    assert rates[30] == pytest.approx(7.96e-6, rel=5e-3)
    assert rates[59] == pytest.approx(1.91e-7, rel=5e-3)
    assert factor(900) == factor(1799)  # constant within an epoch


def test_drift_is_the_turn_from_frame_to_frame():
    still = torch.randn(2, 1, 3, 5).expand(2, 4, 3, 5)
    assert drift(still).item() == pytest.approx(0, abs=1e-6)
    flipping = still * torch.tensor([1.0, -1.0, 1.0, -1.0]).view(1, 4, 1, 1)
    assert drift(flipping).item() == pytest.approx(2)
    assert drift(still[:0]).item() == 0
