"""Every model configuration keeps the detector's contract."""

import numpy as np
import pytest
import torch

from dfd.core.build import build
from dfd.core.errors import DfdError
from dfd.core.records import InputSpec, input_from_dict, input_to_dict
from dfd.data.overlay import GAP, LINE, strip
from dfd.models.base import Detector
from dfd.models.explain import evidence_maps, method_of
from tests.toys import is_detector, names, toy_model

MODELS = [name for name in names("model") if is_detector(f"model={name}")]


def toy(name):
    return toy_model(f"model={name}")["network"]


@pytest.mark.parametrize("name", MODELS)
def test_contract(name):
    torch.manual_seed(0)
    tree = toy(name)
    network = build(tree).train()
    spec = network.input
    pixels = torch.rand(4, *spec.shape)

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
        torch.testing.assert_close(network.logits(pixels), network(pixels).logits)
        torch.testing.assert_close(network.folded()(pixels).logits, network(pixels).logits)
    assert network.saved_parts() <= set(network.state_dict())
    assert input_from_dict(input_to_dict(spec)) == spec


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
    if network.looks_at_base:  # its base gets no gradient
        with pytest.raises(DfdError, match="cannot be explained"):
            evidence_maps(network, torch.rand(2, *spec.shape))
        return
    with torch.inference_mode():  # as prediction calls it
        maps = evidence_maps(network, torch.rand(2, *spec.shape))
    assert maps.shape[:2] == (2, spec.frames)
    assert ((maps >= 0) & (maps <= 1)).all()
    assert not maps.requires_grad
    picture = strip(np.zeros((spec.frames, 3, 16, 16), np.uint8), maps[0].numpy(), side=32)
    assert picture.dtype == np.uint8
    bar, legend = (GAP + 14 if spec.frames > 1 else 0), GAP + 14 + LINE
    assert picture.shape == (3, 32 + GAP + 32 + bar + legend, 32 * spec.frames + GAP * (spec.frames - 1))


class Linear(Detector):
    """Activations are the pixels; a weight for every channel and place, or for every channel alone, makes the logit."""

    def __init__(self, weight):
        super().__init__(InputSpec("image", 4, mean=(0, 0, 0), std=(1, 1, 1)))
        self.evidence_part, self.weight = torch.nn.Identity(), weight

    evidence = property(lambda self: self.evidence_part)

    def forward_features(self, pixels):
        return (self.evidence_part(pixels) * self.weight).sum((1, 2, 3))[:, None]

    def forward_head(self, features):
        return features


def test_grad_cam_is_hirescam_where_every_place_counts_alike():
    pixels = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    channels = Linear(torch.tensor([1.0, -0.5, 2.0]).view(3, 1, 1))
    torch.testing.assert_close(evidence_maps(channels, pixels, "gradcam"), evidence_maps(channels, pixels))


def test_grad_cam_and_its_successor_in_closed_form():
    random = torch.Generator().manual_seed(0)
    pixels, weight = torch.rand(1, 3, 4, 4, generator=random), torch.randn(3, 4, 4, generator=random)
    active = pixels[0]
    plain = (weight.mean((1, 2), keepdim=True) * active).sum(0).relu()
    share = weight**2 / (2 * weight**2 + active.sum((1, 2), keepdim=True) * weight**3)
    better = ((share * weight.relu()).sum((1, 2), keepdim=True) * active).sum(0).relu()
    for method, expected in (("gradcam", plain), ("gradcam++", better)):
        got = evidence_maps(Linear(weight), pixels, method)[0, 0]
        torch.testing.assert_close(got, expected / expected.max().clamp(min=1e-12))
    assert method_of(True) == "hirescam"
    assert method_of(False) is None
    with pytest.raises(DfdError, match=r"explain=gradcan \(did you mean 'gradcam'\?\): take true"):
        method_of("gradcan")


def test_evidence_lies_where_the_evidence_is():
    """A linear read-out of brightness: the maps are the brightness."""

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
