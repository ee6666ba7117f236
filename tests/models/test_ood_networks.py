"""U-Net scorer, ViT with attention autoencoder, abnormality module: against the published facts of the originals."""

import pytest
import torch

from dfd.core.errors import DfdError
from dfd.models.abnormality import VARIANTS, AbnormalityDetector
from dfd.models.backbones import read_tokens
from dfd.models.meso import MesoInception4
from dfd.models.unet_scorer import UnetScorer
from dfd.models.vit_autoencoder import Autoencoder, Variational, VitAutoencoder

DEIT = "deit_tiny_distilled_patch16_224.fb_in1k"


def millions(network):
    return sum(p.numel() for p in network.parameters() if p.requires_grad) / 1e6


def small_unet(**more):
    torch.manual_seed(0)
    return UnetScorer(32, depth=3, width=4, head="pool", **more)


@pytest.mark.parametrize(
    ("depth", "size", "residual", "expected"),
    [
        (4, 224, False, 328.0), (5, 224, False, 89.3), (5, 224, True, 89.5), (6, 224, False, 42.1),
        (4, 112, False, 22.3), (5, 112, False, 10.5), (6, 112, False, 31.3),
    ],
)  # fmt: skip
def test_parameters_of_the_published_u_nets(depth, size, residual, expected):
    with torch.device("meta"):
        assert millions(UnetScorer(size, depth, residual=residual)) == pytest.approx(expected, abs=0.06)


def test_a_pooled_head_saves_nine_parameters_in_ten():
    with torch.device("meta"):
        assert millions(UnetScorer(224, 5, head="pool")) < 0.1 * millions(UnetScorer(224, 5))


@pytest.mark.parametrize("size", [32, 52, 62])
@pytest.mark.parametrize("skips", ["all", "deep", "none"])
@pytest.mark.parametrize("residual", [False, True])
def test_reconstructions_have_the_size_of_the_image(size, skips, residual):
    output = UnetScorer(size, depth=4, width=2, residual=residual, skips=skips, head="pool")(
        torch.rand(2, 3, size, size)
    )
    assert output.reconstruction.shape == output.target.shape == (2, 3, size, size)
    assert output.confidence is None


def test_features_are_what_the_last_layer_sees():
    for network in (small_unet(confidence=True), VitAutoencoder(DEIT, False, size=32, width=2, latent=4)):
        network.eval()
        output = network(torch.rand(2, 3, network.input.size, network.input.size))
        torch.testing.assert_close(network.forward_head(output.features), output.logits)
    assert output.features.shape[1] == 2 * 192  # CLS and DIST


def test_parameters_of_the_autoencoders():
    with torch.device("meta"):
        assert millions(Autoencoder(32)) == pytest.approx(5.58, abs=0.01)
        assert millions(Variational(32, 512, 7)) == pytest.approx(44.14, abs=0.01)


@pytest.mark.parametrize(
    "name", [DEIT, "vit_tiny_patch16_224.augreg_in21k_ft_in1k", "vit_small_patch14_reg4_dinov2.lvd142m"]
)
def test_attention_is_that_of_the_last_block(name):
    torch.manual_seed(0)
    network = VitAutoencoder(name, False, size=56, width=2, latent=4).eval().backbone
    attention, seen = network.blocks[-1].attn, []
    attention.fused_attn = False
    attention.attn_drop.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    pixels = torch.rand(2, 3, 56, 56)
    tokens, got = read_tokens(network, pixels)
    torch.testing.assert_close(got.flatten(1), seen[0][:, :, 0, network.num_prefix_tokens :].mean(1))
    torch.testing.assert_close(tokens, network.forward_features(pixels))


def test_a_network_without_cls_attention_is_refused():
    with pytest.raises(DfdError, match="is not a ViT whose CLS attention can be read"):
        VitAutoencoder("resnet18.a1_in1k", False)


def test_a_variational_code_is_drawn_in_training_only():
    network = VitAutoencoder(DEIT, False, size=32, width=2, latent=4)
    pixels = torch.rand(2, 3, 32, 32)
    network.eval()
    torch.testing.assert_close(network(pixels).reconstruction, network(pixels).reconstruction, rtol=0, atol=0)
    network.autoencoder.train()
    assert not torch.equal(network(pixels).reconstruction, network(pixels).reconstruction)


def test_the_spread_of_a_variational_code():
    torch.manual_seed(0)
    network = Variational(1, 1, 1).train()
    seen = []
    network.spread.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network.code[1].weight.zero_()
        network.code[1].bias.copy_(torch.tensor([3.0, -2.0]))  # mean 3, log variance -2
        network(torch.rand(4000, 1, 32, 32))
    assert seen[0].std().item() == pytest.approx(torch.tensor(-1.0).exp().item(), rel=0.05)  # exp(log variance / 2)
    assert seen[0].mean().item() == pytest.approx(3, abs=0.05)


def test_parameters_of_the_abnormality_modules():
    vit = VitAutoencoder(DEIT, False)
    assert millions(AbnormalityDetector(vit, "v3")) == pytest.approx(4.13, abs=0.01)
    assert millions(AbnormalityDetector(vit, "v4_small")) == pytest.approx(1.83, abs=0.01)
    assert millions(AbnormalityDetector(UnetScorer(112, 4), "v3")) == pytest.approx(3.84, abs=0.01)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["unet", "meso", "vit"])
def test_every_variant_over_every_kind_of_base(variant, kind):
    bases = {
        "unet": lambda: small_unet(confidence=True),
        "meso": lambda: MesoInception4(32),
        "vit": lambda: VitAutoencoder(DEIT, False, size=32, width=2, latent=4),
    }
    network = AbnormalityDetector(bases[kind](), variant).train()
    assert not network.base.training
    before = {name: value.clone() for name, value in network.base.state_dict().items()}
    output = network(torch.rand(4, 3, 32, 32))
    assert output.logits.shape == (4, 1)
    output.logits.sum().backward()
    assert all(p.grad is None for p in network.base.parameters())
    assert all(p.grad is not None for n, p in network.named_parameters() if not n.startswith("base."))
    assert all(torch.equal(value, before[name]) for name, value in network.base.state_dict().items())


def test_the_logit_is_linear_unless_the_original_is_asked_for():
    torch.manual_seed(0)
    features = 100 * torch.randn(64, 128)
    plain = AbnormalityDetector(small_unet(), "v3").eval()
    floored = AbnormalityDetector(small_unet(), "v3", "original").eval()
    assert plain.forward_head(features).min() < -0.17
    lowest = floored.forward_head(features).sigmoid().min()
    assert lowest >= 0.4575  # GELU never falls below -0.17


def test_tiny_residuals_are_standardised_in_single_precision():
    network = AbnormalityDetector(small_unet(), "v3").train()
    seen = []
    network.residual.standardise.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(torch.rand(4, 3, 32, 32))
        network.residual(1e-6 * torch.rand(4, 3, 32, 32))
    assert seen[0][0].dtype == torch.float32
    assert seen[1][1].std().item() == pytest.approx(1, abs=0.05)


def test_a_base_that_is_no_detector_is_named():
    with pytest.raises(DfdError, match=r"needs a trained run as its base: model\.base="):
        AbnormalityDetector(None)
