"""Every model configuration keeps the detector's contract."""

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from dfd.cli.app import prepare
from dfd.core.build import build
from dfd.core.configs import config_dir
from dfd.core.errors import DfdError
from dfd.data.overlay import strip
from dfd.models.explain import evidence_maps

MODELS = sorted(path.stem for path in (config_dir() / "model").glob("[!_]*.yaml"))
SMALL = ["size=32"]
B0, VIT_TI = "tf_efficientnet_b0.ns_jft_in1k", "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
HYBRID = [f"cnn={B0}", f"vit={VIT_TI}", "size=64", "depth=2"]
TOY = {"hybrid": HYBRID, "efficientnet_b7": ["size=64", f"architecture={B0}"]}
TOY |= {"vit": SMALL, "deit": SMALL, "probe": SMALL, "vit_autoencoder": SMALL, "tall": ["variant=micro"]}


def toy(name):
    prepare()
    whole = name != "abnormality"  # which has the size of the run that it looks at
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        small = [f"model.network.{override}" for override in TOY.get(name, ["size=64"])] if whole else []
        cfg = compose("train", [f"model={name}", *small])
    tree = OmegaConf.to_container(cfg.model.network)
    tree |= {} if whole else {"base": toy("unet_scorer")}
    return tree | ({"pretrained": False} if "pretrained" in tree else {})


@pytest.mark.parametrize("name", MODELS)
def test_contract(name):
    torch.manual_seed(0)
    tree = toy(name)
    network = build(tree).train()
    spec = network.input
    shape = (4, 3, spec.size, spec.size) if spec.kind == "image" else (4, spec.frames, 3, spec.size, spec.size)
    pixels = torch.rand(shape)

    output = network(pixels)
    assert output.logits.shape[0] == output.features.shape[0] == 4
    assert output.logits.shape[1] in (1, 2)
    score = network.score(output)
    assert score.shape == (4,)
    assert ((score >= 0) & (score <= 1)).all()

    more = sum(part.sum() for part in output[2:] if part is not None and part.requires_grad)  # reconstructions
    (network.score(output).sum() + more).backward()
    without = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert not without, f"no gradient reaches {without}"

    network.eval()
    twin = build(tree).eval()
    twin.load_state_dict(network.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(twin(pixels).logits, network(pixels).logits)
        head = network.forward_head(network(pixels).features)
        torch.testing.assert_close(head, network(pixels).logits)


@pytest.mark.parametrize("logits", [1, 2])
def test_score_grows_with_the_fake_logit(logits):
    network = build(toy("meso") | {"logits": logits})
    low, high = torch.zeros(1, logits), torch.zeros(1, logits)
    high[0, -1] = 3.0
    output = network(torch.rand(1, 3, 64, 64))
    assert network.score(output._replace(logits=high)) > network.score(output._replace(logits=low))


def test_normalisation_belongs_to_the_network():
    network = build(toy("meso")).eval()
    pixels = torch.rand(2, 3, 64, 64)
    seen = []
    network.stages.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network(pixels)
    torch.testing.assert_close(seen[0], (pixels - 0.5) / 0.5)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_can_be_explained(name):
    torch.manual_seed(0)
    network = build(toy(name)).eval()
    spec = network.input
    if name == "abnormality":  # what it looks at gets no gradient
        with pytest.raises(DfdError, match="cannot be explained"):
            evidence_maps(network, torch.rand(2, 3, spec.size, spec.size))
        return
    shape = (2, 3, spec.size, spec.size) if spec.kind == "image" else (2, spec.frames, 3, spec.size, spec.size)
    with torch.inference_mode():  # as prediction calls it
        maps = evidence_maps(network, torch.rand(shape))
    assert maps.shape[:2] == (2, spec.frames)
    assert ((maps >= 0) & (maps <= 1)).all()
    assert not maps.requires_grad
    picture = strip(np.zeros((spec.frames, 3, 16, 16), np.uint8), maps[0].numpy(), side=32)
    assert picture.dtype == np.uint8
    bar = 14 if spec.frames > 1 else 0
    assert picture.shape == (3, 32 + 4 + 32 + bar, 32 * spec.frames + 4 * (spec.frames - 1))


def test_evidence_lies_where_the_evidence_is():
    """A linear read-out of brightness: the maps are the brightness."""
    from dfd.core.records import InputSpec
    from dfd.models.base import Detector

    class Bright(Detector):
        def __init__(self):
            super().__init__(InputSpec("image", 8, mean=(0, 0, 0), std=(1, 1, 1)))
            self.evidence_part = torch.nn.Identity()

        evidence = property(lambda self: self.evidence_part)

        def forward_features(self, pixels):
            return self.evidence_part(pixels).mean((2, 3))

        def forward_head(self, features):
            return features.sum(1, keepdim=True)

    pixels = torch.zeros(1, 3, 8, 8)
    pixels[0, :, 2, 5] = 1.0
    pixels[0, :, 6, 1] = 0.5
    maps = evidence_maps(Bright(), pixels)
    assert maps.shape == (1, 1, 8, 8)
    assert maps[0, 0, 2, 5] == 1
    assert maps[0, 0, 6, 1] == pytest.approx(0.5)
    assert maps.sum() == pytest.approx(1.5)
