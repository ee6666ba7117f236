"""The mean of checkpoints."""

import pytest
import torch

from dfd.core.errors import DfdError
from dfd.models.checkpoint import load_network, save_network
from dfd.models.meso import MesoInception4
from dfd.training.averaging import average_checkpoints

TREE = {"_target_": "dfd.models.meso.MesoInception4", "size": 32}


def test_the_mean_of_checkpoints_is_their_mean(tmp_path):
    networks = []
    for seed in range(3):
        torch.manual_seed(seed)
        networks.append(MesoInception4(32))
        networks[-1](torch.rand(2, 3, 32, 32))
        save_network(tmp_path / f"{seed}.ckpt", networks[-1], TREE)
    average_checkpoints([tmp_path / f"{seed}.ckpt" for seed in range(3)], tmp_path / "average.ckpt")
    loaded = load_network(tmp_path / "average.ckpt")
    for name, value in loaded.network.state_dict().items():
        parts = torch.stack([network.state_dict()[name].double() for network in networks])
        torch.testing.assert_close(value.double(), parts.mean(0), rtol=1e-6, atol=1e-7)
    assert "mean of 0, 1, 2" in loaded.network.initialised_from


def test_networks_must_be_the_same(tmp_path):
    save_network(tmp_path / "a.ckpt", MesoInception4(32), TREE)
    save_network(tmp_path / "b.ckpt", MesoInception4(64), TREE | {"size": 64})
    with pytest.raises(DfdError, match=r"b\.ckpt holds another network"):
        average_checkpoints([tmp_path / "a.ckpt", tmp_path / "b.ckpt"], tmp_path / "c.ckpt")
    with pytest.raises(DfdError, match="two checkpoints or more"):
        average_checkpoints([tmp_path / "a.ckpt"], tmp_path / "c.ckpt")
