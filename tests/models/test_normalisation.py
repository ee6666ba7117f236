"""Networks normalise as their weights were trained to: by the architecture's own mean and std, or by those given."""

import pytest
import torch

from dfd.core.card import Card
from dfd.models.checkpoint import load_network, save_network
from dfd.models.efficientnet import EfficientNet
from dfd.models.image import ImageDetector
from dfd.models.tall import Tall
from dfd.models.tall_weights import read_foreign, to_official

MEAN, STD = [0.4, 0.45, 0.5], [0.2, 0.25, 0.3]
MAKERS = {
    "image": lambda **o: ImageDetector("test_resnet.r160_in1k", pretrained=False, size=64, **o),
    "efficientnet": lambda **o: EfficientNet("tf_efficientnet_b0.ns_jft_in1k", pretrained=False, size=64, **o),
    "tall": lambda **o: Tall("tiny", pretrained=False, **o),
}


@pytest.mark.parametrize("name", MAKERS)
def test_given_mean_and_std_take_the_place_of_the_architectures(name):
    torch.manual_seed(0)
    own = MAKERS[name]().eval()
    given = MAKERS[name](mean=MEAN, std=STD).eval()
    given.load_state_dict(own.state_dict())
    assert (list(given.input.mean), list(given.input.std)) == (MEAN, STD)
    pixels = torch.rand(1, *own.input.shape)
    as_own = (pixels - given.mean) / given.std * own.std + own.mean  # what the other network then sees the same of
    with torch.no_grad():
        torch.testing.assert_close(given(pixels).logits, own(as_own).logits, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(given(pixels).logits, own(pixels).logits)


def test_a_checkpoint_keeps_them(tmp_path):
    tree = {"_target_": "dfd.models.image.ImageDetector", "architecture": "test_resnet.r160_in1k", "pretrained": False,
            "size": 64, "mean": MEAN, "std": STD}  # fmt: skip
    save_network(tmp_path / "half.ckpt", MAKERS["image"](mean=MEAN, std=STD), tree)
    loaded = load_network(tmp_path / "half.ckpt")
    assert isinstance(loaded.card, Card)
    assert list(loaded.network.input.mean) == MEAN


def test_deepfakebenchs_tall_is_normalised_as_its_configuration_says(tmp_path):
    """Its configuration of TALL has ImageNet's numbers, unlike that of most of its detectors."""
    state = {f"model.{key}": value for key, value in to_official(Tall("tiny", pretrained=False)).items()}
    torch.save(state, tmp_path / "tall.pth")
    found = read_foreign(tmp_path / "tall.pth").arguments
    assert found["mean"] == pytest.approx([0.485, 0.456, 0.406])
    assert found["std"] == pytest.approx([0.229, 0.224, 0.225])
