"""Speed switches change how a network is computed, not what it computes."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dfd.core.errors import DfdError
from dfd.data.datamodule import default_workers
from dfd.models.backbones import synchronise_batch_norms
from dfd.models.image import ImageDetector
from dfd.models.meso import MesoInception4
from dfd.training.speed import Speed, lay_out

NETWORK = ("tf_efficientnet_b0", False)


def trainer(world=1):
    return SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cpu")), world_size=world)


def gradients(network, pixels):
    torch.manual_seed(0)
    network.zero_grad()
    network(pixels).logits.square().sum().backward()
    return {name: parameter.grad.clone() for name, parameter in network.named_parameters()}


@pytest.mark.parametrize("option", ["channels_last", "checkpointing"])
def test_a_switch_changes_no_gradient(option):
    torch.manual_seed(0)
    # in double precision: batch norms over a few pixels blow rounding up
    network, pixels = ImageDetector(*NETWORK, size=32).train().double(), torch.rand(4, 3, 32, 32).double()
    expected = gradients(network, pixels)
    Speed(**{"channels_last": False, option: True}).setup(trainer(), SimpleNamespace(network=network), "fit")
    for name, gradient in gradients(network, pixels).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-7, msg=lambda t, n=name: f"{n}: {t}")
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    laid_out = first.weight.is_contiguous(memory_format=torch.channels_last)
    assert laid_out == (option == "channels_last")


@pytest.mark.parametrize(("device", "last"), [("cpu", True), ("cuda", True), ("mps", False)])
def test_the_layout_follows_the_device(device, last):
    network = ImageDetector(*NETWORK, size=32)
    lay_out(network, torch.device(device))
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    assert first.weight.is_contiguous(memory_format=torch.channels_last) == last


def test_a_network_that_cannot_recompute_is_named():
    with pytest.raises(DfdError, match="no part of MesoInception4 can recompute"):
        Speed(checkpointing=True).setup(trainer(), SimpleNamespace(network=MesoInception4(32)), "fit")


def test_batch_norms_over_processes_keep_weights_names_and_activations():
    network, pixels = ImageDetector(*NETWORK, size=32).eval(), torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        expected, names = network(pixels).logits, list(network.state_dict())
        converted = synchronise_batch_norms(network)
        torch.testing.assert_close(converted(pixels).logits, expected)
    assert list(converted.state_dict()) == names
    norms = [module for module in converted.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(module, nn.SyncBatchNorm) for module in norms)


def test_batch_norms_over_processes_without_a_gpu():
    module = SimpleNamespace(network=ImageDetector(*NETWORK, size=32))
    Speed().setup(trainer(world=2), module, "fit")  # auto: nothing that a CPU cannot do
    assert not any(isinstance(part, nn.SyncBatchNorm) for part in module.network.modules())
    with pytest.raises(DfdError, match="sync_batchnorm=true: torch has it on CUDA only"):
        Speed(sync_batchnorm=True).setup(trainer(world=2), module, "fit")


@pytest.mark.parametrize(("cores", "processes", "workers"), [(1, 1, 0), (2, 1, 1), (2, 2, 0), (16, 4, 3), (64, 2, 8)])
def test_processes_that_train_share_the_cores_for_workers(monkeypatch, cores, processes, workers):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(cores), raising=False)
    assert default_workers(processes) == workers
