"""What of a backbone learns: counts, the first step, what changes, what is saved, what is folded."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from dfd.core.errors import DfdError
from dfd.models.checkpoint import load_network, save_network
from dfd.models.image import ImageDetector
from dfd.models.tuning import SmallestDirections, loading, tune

TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
CLIP = "vit_large_patch14_clip_quickgelu_224.openai"
KINDS = {
    "head": {},
    "ln": {},
    "bias": {},
    "lora": {"rank": 4},
    "svd": {"rank": 2, "adapted": ["q", "k", "v", "out"]},
}


def detector(how="full", pretrained=False, **options):
    torch.manual_seed(0)
    network = ImageDetector(TINY, pretrained, size=32, tune=how, **options)
    nn.init.normal_(network.head[1].weight, generator=torch.Generator().manual_seed(1))
    return network.eval()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights of the small ViT, as a hub would give it."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(timm.create_model(TINY, num_classes=0, img_size=32).state_dict(), path)
    return str(path)


def learning(module):
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


@pytest.mark.parametrize(
    ("name", "options", "how", "expected"),
    [
        (CLIP, {}, ("ln",), 102_400),
        ("vit_large_patch16_dinov3.lvd1689m", {"img_size": 224, "global_pool": "token"}, ("ln",), 100_352),
        ("vit_pe_core_large_patch14_336.fb", {"img_size": 224}, ("ln",), 104_448),
        (CLIP, {}, ("lora", 8), 786_432),
        (CLIP, {}, ("lora", 8, None, ("q", "k", "v", "out")), 1_572_864),
        (CLIP, {}, ("svd", 1, None, ("q", "k", "v", "out")), 196_704),
        (CLIP, {}, ("head",), 0),
    ],
)
def test_as_many_weights_learn_as_published(name, options, how, expected):
    with torch.device("meta"), loading():
        network = timm.create_model(name, num_classes=0, **options)
        tune(network, *how)
    assert learning(network) == expected


@pytest.mark.parametrize("how", KINDS)
def test_before_the_first_step_nothing_has_changed(how):
    pixels = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(detector(how, **KINDS[how])(pixels).logits, detector()(pixels).logits, rtol=0, atol=1e-5)


def step(network, penalty=0.0):
    network.train()
    pixels = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    loss = nn.functional.cross_entropy(network(pixels).logits, torch.tensor([0, 1, 0, 1]))
    if penalty:
        loss = loss + penalty * network.penalty()
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], 0.01)
    loss.backward()
    optimizer.step()
    return network.eval()


@pytest.mark.parametrize("how", KINDS)
def test_only_what_was_asked_for_changes(how, weights):
    network = detector(how, weights, **KINDS[how])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    step(network)
    assert not any(module.training for module in network.backbone.modules())
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert changed <= network.saved_parts()
    expected = {
        "head": (), "ln": ("norm",), "bias": (".bias",), "lora": ("parametrizations.weight.0.",),
        "svd": ("parametrizations.weight.0.u.", "parametrizations.weight.0.s.", "parametrizations.weight.0.v."),
    }[how]  # fmt: skip
    for name in changed:
        assert name.startswith("head.") or any(word in name for word in expected), name
    assert len(changed) > (2 if how != "head" else 0)


@pytest.mark.parametrize("how", ["lora", "svd", "ln"])
def test_folded_it_answers_the_same(how):
    network = step(step(detector(how, **KINDS[how])))
    folded, pixels = network.folded(), torch.rand(2, 3, 32, 32)
    assert not any("parametrizations" in name for name in folded.state_dict())
    torch.testing.assert_close(folded(pixels).logits, network(pixels).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("how", KINDS)
def test_a_checkpoint_holds_what_learned_and_names_its_base(how, weights, tmp_path):
    network = step(detector(how, weights, **KINDS[how]))
    tree = {"_target_": "dfd.models.image.ImageDetector", "architecture": TINY, "pretrained": weights, "size": 32,
            "tune": how, **KINDS[how]}  # fmt: skip
    save_network(tmp_path / "a.ckpt", network, tree)
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)["state_dict"]
    whole = sum(value.numel() for value in network.state_dict().values())
    assert sum(value.numel() for value in saved.values()) < whole / 10
    again, pixels = load_network(tmp_path / "a.ckpt").network, torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(again(pixels).logits, network(pixels).logits, rtol=0, atol=1e-6)

    other = timm.create_model(TINY, num_classes=0, img_size=32).state_dict()
    save_file(other, tmp_path / "other.safetensors")
    save_network(tmp_path / "b.ckpt", network, {**tree, "pretrained": str(tmp_path / "other.safetensors")})
    with pytest.raises(DfdError, match="was trained over a pretrained base of hash"):
        load_network(tmp_path / "b.ckpt")


def test_a_random_base_stays_in_the_checkpoint(tmp_path):
    network = detector("lora")
    tree = {"_target_": "dfd.models.image.ImageDetector", "architecture": TINY, "pretrained": False, "size": 32,
            "tune": "lora"}  # fmt: skip
    save_network(tmp_path / "a.ckpt", network, tree)
    again, pixels = load_network(tmp_path / "a.ckpt").network, torch.rand(1, 3, 32, 32)
    assert torch.equal(again(pixels).logits, network(pixels).logits)


def test_the_cheap_penalty_is_the_dense_one():
    torch.manual_seed(0)
    weight, k = torch.randn(128, 128, dtype=torch.float64).float(), 3
    part = SmallestDirections(weight, {"out": (0, 128)}, k).double()
    weight = weight.double()
    u0, s0, v0 = torch.linalg.svd(weight)
    part.u0_out, part.s0_out, part.v0_out = u0[:, -k:], s0[-k:], v0[-k:]
    for values in (part.u, part.s, part.v):
        values["out"].data = values["out"].data + 0.1 * torch.randn_like(values["out"])
    u, s, v = part.u["out"], part.s["out"], part.v["out"]
    whole_u, whole_v = torch.cat([u0[:, :-k], u], 1), torch.cat([v0[:-k], v])
    main = weight - (part.u0_out * part.s0_out) @ part.v0_out
    eye = torch.eye(128, dtype=torch.float64)
    orthogonal = ((whole_u @ whole_u.T - eye).norm() + (whole_v.T @ whole_v - eye).norm()) / 2
    energy = ((main + (u * s) @ v).square().sum() - weight.square().sum()).abs()
    torch.testing.assert_close(part.penalty(weight), orthogonal + energy, rtol=0, atol=2e-6)


def test_the_penalty_begins_at_zero_and_can_be_followed():
    network = detector("svd", **KINDS["svd"])
    value = network.penalty()
    assert abs(value.item()) < 2e-3  # of energies of about 2,000
    value.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in network.parameters())
    with pytest.raises(DfdError, match="needs tune=svd"):
        detector("lora").penalty()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"how": "lorra"}, "allowed are full, head"),
        ({"how": "lora", "adapted": ["x"]}, "name some of q, k, v, out"),
        ({"how": "lora", "rank": 0}, "rank=0"),
    ],
)
def test_what_cannot_be_tuned_is_said(options, message):
    with pytest.raises(DfdError, match=message):
        detector(**options)


def test_a_network_without_attention_is_refused():
    with pytest.raises(DfdError, match="no attention"):
        tune(timm.create_model("resnet18"), "lora")
    with pytest.raises(DfdError, match="no such weights"):
        tune(timm.create_model("resnet18"), "ln")
