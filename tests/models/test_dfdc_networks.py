"""EfficientNet-B7 and its hybrid: published counts, closed forms, a second way to compute them."""

import pytest
import torch
from torch import nn

from dfd.core.errors import DfdError
from dfd.models.efficientnet import EfficientNet, NoiseResiduals, WeightedPool
from dfd.models.explain import evidence_maps
from dfd.models.hybrid import ChannelPool, Hybrid

IMAGENET = 1000  # classes of a classifier that published checkpoints carry and nothing uses
TOY = {
    "cnn": "tf_efficientnet_b0.ns_jft_in1k", "vit": "vit_tiny_patch16_224.augreg_in21k_ft_in1k", "pretrained": False,
    "size": 64, "depth": 2, "drop_path": 0.0,
}  # fmt: skip
B0 = {"architecture": "tf_efficientnet_b0.ns_jft_in1k", "pretrained": False, "size": 64, "drop_path": 0.0}


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_b7_has_the_published_parameters():
    with torch.device("meta"):
        network = EfficientNet(pretrained=False)
        assert count(network) == 63_789_521
        assert count(network) + IMAGENET * (2560 + 1) == 66_350_521  # as checkpointed
        assert network.backbone.forward_features(torch.zeros(1, 3, 380, 380)).shape == (1, 2560, 12, 12)


def test_the_hybrid_has_the_published_parameters_and_shapes():
    seen = {}
    with torch.device("meta"):
        network = Hybrid(pretrained=False).eval()
        assert count(network) == 369_396_689
        assert count(network) + IMAGENET * (2560 + 1 + 1024 + 1) == 372_982_689
        network.fuse.register_forward_pre_hook(lambda m, inputs: seen.update(fuse=[i.shape[1:] for i in inputs]))
        network.encoder.blocks.register_forward_pre_hook(lambda m, inputs: seen.update(blocks=inputs[0].shape[1:]))
        output = network(torch.zeros(1, 3, 384, 384))
    assert seen["fuse"] == [(144, 2560), (144, 1024), (144, 1024)]
    assert seen["blocks"] == (146, 1024)
    assert output.logits.shape == (1, 1)
    assert output.features.shape == (1, 2048)


def test_channel_pool_is_the_published_one():
    """Each of 1024 outputs is the mean of 4 of the 3584 inputs: 731 of the CNN alone, 1 of both, 292 of the patch."""
    eye = torch.eye(3584).unsqueeze(0)
    weights = ChannelPool(2560, 1024)(eye[..., :2560], eye[..., 2560:], torch.zeros(1, 1, 1024))[0].T
    assert weights.shape == (1024, 3584)
    assert ((weights == 0.25).sum(1) == 4).all()
    assert (weights.count_nonzero(1) == 4).all()
    cnn, patch = weights[:, :2560].any(1), weights[:, 2560:].any(1)
    assert [int((cnn & ~patch).sum()), int((cnn & patch).sum()), int((patch & ~cnn).sum())] == [731, 1, 292]
    assert weights[:4].argmax(1).tolist() == [0, 3, 7, 10]


@torch.inference_mode()
def test_the_hybrid_is_what_its_paper_describes():
    """The forward of the published code, written out by hand; grids agree, so nothing is resized."""
    torch.manual_seed(0)
    network = Hybrid(**TOY, normalisation="shared", infer="distill").eval()
    nn.init.normal_(network.distill_token)
    pixels = torch.rand(2, 3, 64, 64)
    x = (pixels - network.mean) / network.std
    vit = network.encoder
    maps = nn.functional.interpolate(network.cnn.forward_features(x), (4, 4), mode="bilinear")
    patches = vit.patch_embed.proj(x).flatten(2).transpose(1, 2)
    both = torch.cat([maps.flatten(2).transpose(1, 2), patches], 2)
    tokens = nn.AdaptiveAvgPool2d((None, 192))(both)
    tokens = torch.cat([vit.cls_token.expand(2, -1, -1), tokens], 1) + vit.pos_embed
    tokens = torch.cat([tokens, network.distill_token.expand(2, -1, -1)], 1)
    for block in vit.blocks:
        tokens = block(tokens)
    tokens = vit.norm(tokens)
    output = network(pixels)
    torch.testing.assert_close(output.logits, network.head(tokens[:, -1]))
    torch.testing.assert_close(output.class_logits, network.head(tokens[:, 0]))


@pytest.mark.parametrize("fusion", ["channel_pool", "projection", "concat"])
@pytest.mark.parametrize("heads", ["shared", "separate"])
def test_every_fusion_learns_everywhere(fusion, heads):
    torch.manual_seed(0)
    network = Hybrid(**TOY, fusion=fusion, heads=heads)
    output = network(torch.rand(2, 3, 64, 64))
    (output.class_logits.sum() + 2 * output.distill_logits.sum()).backward()
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert len({id(p) for p in network.distill_head.parameters()} & {id(p) for p in network.head.parameters()}) == (
        2 if heads == "shared" else 0
    )


def test_the_answer_is_the_head_that_is_asked():
    answers = {}
    for infer in ("mean", "class", "distill"):
        torch.manual_seed(0)
        network = Hybrid(**TOY, heads="separate", infer=infer).eval()
        torch.manual_seed(1)
        answers[infer] = network(torch.rand(2, 3, 64, 64)).logits
    torch.testing.assert_close(answers["mean"], (answers["class"] + answers["distill"]) / 2)
    assert (answers["class"] - answers["distill"]).abs().min() > 1e-6


def test_the_vit_sees_pixels_as_it_was_trained_on():
    seen = {}
    for normalisation, mean, std in (("own", (0.5,) * 3, (0.5,) * 3), ("shared", (0.485, 0.456, 0.406), None)):
        network = Hybrid(**TOY, normalisation=normalisation).eval()
        network.encoder.patch_embed.register_forward_pre_hook(lambda m, inputs: seen.update(pixels=inputs[0]))
        pixels = torch.rand(1, 3, 64, 64)
        network(pixels)
        by = torch.tensor(std or (0.229, 0.224, 0.225)).view(3, 1, 1)
        torch.testing.assert_close(seen["pixels"], (pixels - torch.tensor(mean).view(3, 1, 1)) / by)


def test_evidence_of_the_classifier_adds_up_to_its_logit():
    """Pooling and head are linear: the weighted maps, averaged, plus the bias, are the logit."""
    torch.manual_seed(0)
    network = EfficientNet(**B0).eval()
    pixels, kept = torch.rand(2, 3, 64, 64), []
    network.evidence.register_forward_hook(lambda m, i, output: kept.append(output))
    with torch.no_grad():
        logit = network(pixels).logits[:, 0]
    weight, bias = network.head[1].weight[0], network.head[1].bias[0]
    exact = torch.einsum("c,nchw->nhw", weight, kept[0])
    torch.testing.assert_close(exact.mean((1, 2)) + bias, logit)
    maps = evidence_maps(network, pixels)[:, 0]
    strongest = exact.relu().amax((1, 2), keepdim=True)
    torch.testing.assert_close(maps, exact.relu() / strongest, rtol=1e-4, atol=1e-5)


def test_weighted_pooling_is_a_weighted_mean():
    torch.manual_seed(0)
    pool, maps = WeightedPool(4), torch.rand(2, 4, 3, 3)
    nn.init.zeros_(pool.weigh.weight)
    torch.testing.assert_close(pool(maps), maps.mean((2, 3)))
    nn.init.normal_(pool.weigh.weight)
    weights = torch.exp(torch.sigmoid(pool.weigh(maps)))
    torch.testing.assert_close(pool(maps), (maps * weights).sum((2, 3)) / weights.sum((2, 3)))


def test_noise_residuals_see_no_flat_surface():
    residual = NoiseResiduals()(torch.full((1, 3, 9, 9), 0.7))
    torch.testing.assert_close(residual[..., 2:-2, 2:-2], torch.zeros(1, 3, 5, 5), atol=1e-5, rtol=0)
    point = torch.zeros(1, 3, 9, 9)
    point[0, 1, 4, 4] = 1
    assert NoiseResiduals()(point)[0, :, 4, 4].tolist() == [-1, -1, -1]


def test_variants_train():
    network = EfficientNet(**B0, pooling="weighted", srm=True)
    network(torch.rand(2, 3, 64, 64)).logits.sum().backward()
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not [name for name in network.state_dict() if "kernels" in name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cnn": "resnet18.a1_in1k"}, "cnn=resnet18.a1_in1k is not an EfficientNet"),
        ({"vit": "deit_tiny_distilled_patch16_224.fb_in1k"}, "is not a ViT with one class token"),
        ({"pretrained": {"cnn": False}}, "give true, false, or both of cnn and vit"),
    ],
)
def test_wrong_parts_are_named(arguments, message):
    with pytest.raises(DfdError, match=message):
        Hybrid(**TOY | arguments)
