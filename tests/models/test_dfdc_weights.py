"""Checkpoints of the DFDC winner, made up in their exact layout, and everything that must not be taken for one."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

from dfd.core.errors import DfdError
from dfd.models.dfdc_weights import PUBLISHED, load_winner, off_published, read_winner
from dfd.models.efficientnet import EfficientNet

NAME = "tf_efficientnet_b0.ns_jft_in1k"


class Published(nn.Module):
    """The winner's module: an encoder that keeps its classifier, and one linear layer."""

    def __init__(self, name=NAME):
        super().__init__()
        self.encoder = timm.create_model(name)
        self.fc = nn.Linear(self.encoder.num_features, 1)

    def forward(self, pixels):
        return self.fc(self.encoder.forward_features(pixels).mean((2, 3)))


@pytest.fixture(scope="module")
def published():
    torch.manual_seed(0)
    return Published().eval()


def save(path, module, **changes):
    state = {f"module.{name}": value for name, value in module.state_dict().items()} | changes
    state = {name: value for name, value in state.items() if value is not None}
    torch.save({"epoch": 36, "state_dict": state, "bce_best": np.float64(0.2)}, path)
    return path


def loaded(path):
    winner = read_winner(path)
    network = EfficientNet(**winner.arguments).eval()
    load_winner(network, winner)
    return network


def test_his_checkpoint_becomes_the_same_network(published, tmp_path):
    network = loaded(save(tmp_path / "final_111_DeepFakeClassifier_tf_efficientnet_b0_ns_0_36", published))
    pixels = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        expected = published((pixels - network.mean) / network.std)
        torch.testing.assert_close(network(pixels).logits, expected, rtol=1e-4, atol=1e-5)
    assert network.initialised_from.startswith("DFDC winner: final_111")


def test_b7_has_1202_tensors_and_every_one_is_asked_for():
    with torch.device("meta"):
        state, own = Published("tf_efficientnet_b7.ns_jft_in1k").state_dict(), EfficientNet(pretrained=False)
    assert len(state) == 1202
    assert len(own.state_dict()) == 1202 - 2  # but for the classifier of ImageNet
    assert sum(value.numel() for name, value in state.items() if "running" not in name and "num_b" not in name) == (
        66_350_521
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"module.encoder.blocks.0.0.bn1.running_mean": None}, "missing backbone.blocks.0.0.bn1.running_mean"),
        ({"module.encoder.classifier.bias": None}, "missing encoder.classifier.bias"),
        ({"module.encoder.more.weight": torch.ones(1)}, "unexpected backbone.more.weight"),
        ({"module.encoder.bn1.weight": torch.ones(3)}, "of another shape backbone.bn1.weight"),
        ({"module.fc.weight": torch.zeros(1, 1280)}, "never trained"),
        ({"module.fc.weight": torch.ones(1, 77)}, "belongs to none of his"),
        ({"module.fc.weight": None}, "does not hold the DFDC winner's classifier"),
    ],
)
def test_whatever_does_not_match_in_full_is_an_error(published, tmp_path, changes, message):
    with pytest.raises(DfdError, match=message):
        loaded(save(tmp_path / "broken", published, **changes))


def test_a_prefix_is_stripped_at_the_front_only(published, tmp_path):
    with pytest.raises(DfdError, match=r"unexpected backbone\.module\.x"):
        loaded(save(tmp_path / "odd", published, **{"module.encoder.module.x": torch.ones(1)}))


def test_code_in_a_pickle_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"state_dict": {}, "bce_best": Evil()}, tmp_path / "evil")
    with pytest.raises(DfdError, match="cannot be read as weights"):
        read_winner(tmp_path / "evil")
    with pytest.raises(DfdError, match="no file at"):
        read_winner(tmp_path / "nowhere")


def test_published_scores_are_compared():
    assert off_published(PUBLISHED) == {}
    assert off_published(PUBLISHED | {"aktnlyqpah": 0.4}) == {"aktnlyqpah": (0.4, 0.989)}
    with pytest.raises(DfdError, match="9 of the ten published videos have no score"):
        off_published({"aktnlyqpah": 0.4})
