"""Objectives over clips: each overfits one small batch."""

import functools
from types import SimpleNamespace

import pytest
import torch

from dfd.core.errors import DfdError
from dfd.models.meso import MesoInception4
from dfd.models.tall import Tall
from dfd.training.classification import Classification
from dfd.training.consistency import ConsistentClassification

ADAM = functools.partial(torch.optim.AdamW, lr=3e-3)


def batch() -> dict[str, torch.Tensor]:
    """Four videos of two clips; in the fakes the third frame is darker."""
    torch.manual_seed(0)
    pixels = torch.rand(8, 4, 3, 32, 32)
    label = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])
    pixels[label == 1, 2] *= 0.7
    return {"pixels": pixels, "label": label, "video": torch.arange(4).repeat_interleave(2), "t": torch.zeros(8)}


@pytest.mark.parametrize(
    ("objective", "nodes"),
    [
        (functools.partial(Classification, level="video"), 0),
        (functools.partial(Classification, level="view"), 0),
        (functools.partial(ConsistentClassification, level="video", consistency=0.1), 4),
    ],
)
def test_an_objective_overfits_one_batch(objective, nodes):
    seen = batch()
    torch.manual_seed(1)
    network = Tall("micro", pretrained=False, frame_size=32, size=64, reasoning=nodes, drop_path=0.0)
    module = objective(network, optimizer=ADAM)
    optimizer = ADAM(network.parameters())
    losses = []
    for _ in range(30):
        loss = module.loss(network(seen["pixels"]), seen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.15 < losses[0]


def test_compiling_keeps_the_names_of_weights(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **options: lambda *inputs: function(*inputs))
    module = Classification(MesoInception4(32), optimizer=ADAM, compiled=True)
    names = list(module.state_dict())
    module.trainer = SimpleNamespace(datamodule=None)
    module.on_fit_start()
    assert module.network._compiled_call_impl is not None
    assert list(module.state_dict()) == names
    assert module.network(torch.rand(2, 3, 32, 32)).logits.shape == (2, 1)


def test_consistency_needs_nodes():
    module = ConsistentClassification(MesoInception4(32), optimizer=ADAM)
    with pytest.raises(DfdError, match=r"MesoInception4 gives no semantic nodes: set model\.network\.reasoning"):
        module.loss(module.network(torch.rand(2, 3, 32, 32)), {"label": torch.tensor([0, 1])})
