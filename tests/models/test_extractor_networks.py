"""Networks whose published weights load by name: counts, shapes, names, and the padding that decides every value."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dfd.core.errors import DfdError
from dfd.models.byola import AudioNtt2020, byola
from dfd.models.i3d import I3d, i3d, same
from dfd.models.tsn import from_mmaction, to_mmaction, trunk, tsn


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def old_style(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}


def test_i3d_has_the_published_parameters_and_names():
    assert count(I3d(3)) == 12_697_264
    assert count(I3d(2)) == 12_675_312
    assert count(I3d(3, 157)) == 12_448_189
    state = I3d(3).state_dict()
    assert len(state) == 344
    assert len(old_style(I3d(3))) == 287
    assert state["Conv3d_1a_7x7.conv3d.weight"].shape == (64, 3, 7, 7, 7)
    assert state["Mixed_3b.b1b.conv3d.weight"].shape == (128, 96, 3, 3, 3)
    assert state["logits.conv3d.weight"].shape == (400, 1024, 1, 1, 1)


def test_i3d_pads_as_tensorflow_does():
    x = torch.arange(8.0).view(1, 1, 1, 1, 8)
    assert same(x, (1, 1, 7), (1, 1, 2)).shape[-1] == 8 + 5
    assert same(x, (1, 1, 7), (1, 1, 2))[0, 0, 0, 0, 2] == 0  # two in front,
    assert same(x, (1, 1, 7), (1, 1, 2))[0, 0, 0, 0, 3] == 1
    assert same(x, (1, 1, 7), (1, 1, 2))[0, 0, 0, 0, -3:].tolist() == [0, 0, 0]  # three behind
    odd = torch.rand(1, 1, 1, 1, 7)
    assert same(odd, (1, 1, 3), (1, 1, 2)).shape[-1] == 9
    for size in (7, 8, 224):
        x = torch.rand(1, 1, 1, 1, size)
        padded = same(x, (1, 1, 7), (1, 1, 2))
        assert F.avg_pool1d(padded.flatten(0, 3), 7, 2).shape[-1] == -(-size // 2)


@pytest.mark.parametrize(("frames", "left"), [(9, 1), (17, 2)])
def test_i3d_pools_what_is_left_of_time(frames, left):
    network = I3d(2).eval()
    with torch.inference_mode():
        assert network.pooled(torch.rand(1, 2, frames, 224, 224)).shape == (1, 1024, left, 1, 1)
    with pytest.raises(DfdError, match="at least 9 frames"):
        network.pooled(torch.rand(1, 2, 8, 224, 224))


def test_i3d_weights_load_strictly(tmp_path):
    network = I3d(2, 157)
    torch.save({f"module.{key}": value for key, value in old_style(network).items()}, tmp_path / "flow.pt")
    loaded = i3d(tmp_path / "flow.pt")
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in network.state_dict().items())
    for change in ({"extra": torch.ones(1)}, {"logits.conv3d.bias": torch.ones(3)}):
        torch.save(old_style(network) | change, tmp_path / "flow.pt")
        with pytest.raises(DfdError, match="does not fit"):
            i3d(tmp_path / "flow.pt")
    torch.save({"conv.weight": torch.ones(1)}, tmp_path / "flow.pt")
    with pytest.raises(DfdError, match="does not hold an I3D"):
        i3d(tmp_path / "flow.pt")


@pytest.mark.parametrize(("channels", "parameters"), [(3, 23_508_032), (10, 23_529_984)])
def test_tsn_of_mmaction_loads_under_its_own_names(tmp_path, channels, parameters):
    network = trunk(channels).eval()
    state = to_mmaction(network.state_dict())
    assert count(network) == parameters
    assert len(state) == 318
    assert {"backbone.conv1.conv.weight", "backbone.layer1.0.downsample.bn.weight"} <= state.keys()
    assert from_mmaction(state).keys() == network.state_dict().keys()
    head = {"cls_head.fc_cls.weight": torch.rand(200, 2048), "cls_head.fc_cls.bias": torch.rand(200)}
    torch.save({"meta": {}, "state_dict": state | head}, tmp_path / "tsn.pth")
    loaded, sees = tsn(tmp_path / "tsn.pth")
    assert sees == channels
    x = torch.rand(1, channels, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded(x), network(x))
        assert loaded(x).shape == (1, 2048)


def test_byola_is_as_it_is_described(tmp_path):
    assert [count(AudioNtt2020(width)) for width in (512, 1024, 2048)] == [600_192, 1_649_792, 5_321_856]
    network = AudioNtt2020(32).eval()
    assert len(network.state_dict()) == 25
    mels = torch.rand(1, 1, 64, 455)  # 72,704 samples
    with torch.inference_mode():
        assert network(mels).shape == (1, 56, 32)
    # frequency comes first where it is folded into channels
    maps = network.features(mels)
    assert torch.allclose(network.fc(maps[0, :, :, 3].T.reshape(-1)), network(mels)[0, 3], atol=1e-6)
    torch.save({"state_dict": {f"encoder.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "a.pth")
    loaded = byola(tmp_path / "a.pth")
    with torch.inference_mode():
        assert np.allclose(loaded(mels), network(mels))
