"""Published frame detectors: rebuilt under their own key names from random weights, they answer alike when imported."""

import re

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from dfd.cli.import_weights import main
from dfd.core.errors import DfdError
from dfd.models import frame_weights
from dfd.models.checkpoint import load_network
from dfd.models.efficientnet import EfficientNet
from dfd.models.frame_weights import read_deepfakebench, read_effort, read_gend

TINY_CLIP = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"


def imported(kind, path, capsys):
    assert main([kind, str(path)]) == 0, capsys.readouterr().err
    return load_network(path.with_suffix(".ckpt"))


def pixels(size, count=2):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def randomised(network):
    """Give norms statistics of their own, so that a swapped pair is found."""
    random = torch.Generator().manual_seed(1)
    for name, value in network.state_dict().items():
        if value.is_floating_point() and value.ndim <= 1:
            drawn = torch.rand(value.shape, generator=random)
            value.copy_(0.5 + drawn if "var" in name else value + 0.1 * drawn)
    return network.eval()


@pytest.mark.slow
def test_xception_of_deepfakebench(tmp_path, capsys):
    """Its detector wraps an Xception whose last layer is called last_linear, and a layer that is never used."""
    torch.manual_seed(0)
    network = randomised(timm.create_model("legacy_xception", num_classes=2))
    state = {f"backbone.{re.sub('^fc', 'last_linear', key)}": value for key, value in network.state_dict().items()}
    state |= {"backbone.adjust_channel.0.weight": torch.zeros(512, 2048, 1, 1)}
    torch.save(state, tmp_path / "xception_best.pth")
    loaded = imported("deepfakebench", tmp_path / "xception_best.pth", capsys)
    assert loaded.card.looking.showing.align
    with torch.inference_mode():
        theirs = network((pixels(256) - 0.5) / 0.5)
        torch.testing.assert_close(loaded.network(pixels(256)).logits, theirs, rtol=0, atol=1e-5)


def test_resnet_of_deepfakebench(tmp_path, capsys):
    torch.manual_seed(0)
    network = randomised(timm.create_model("resnet34", num_classes=2))
    blocks = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    state = {}
    for key, value in network.state_dict().items():
        first, _, rest = key.partition(".")
        state["backbone." + (f"resnet.{blocks[first]}.{rest}" if first in blocks else key)] = value
    torch.save(state, tmp_path / "cnnaug_best.pth")
    loaded = imported("deepfakebench", tmp_path / "cnnaug_best.pth", capsys)
    with torch.inference_mode():
        theirs = network((pixels(256) - 0.5) / 0.5)
        torch.testing.assert_close(loaded.network(pixels(256)).logits, theirs, rtol=0, atol=1e-5)


def efficientnet_pytorch_names(state, stages):
    """What timm's weights are called by efficientnet_pytorch."""
    ends = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    both = {"conv_dw": "_depthwise_conv", "se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand"}
    first = both | {"bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    later = both | {"conv_pw": "_expand_conv", "bn1": "_bn0", "bn2": "_bn1", "conv_pwl": "_project_conv", "bn3": "_bn2"}
    named = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] == "blocks":
            stage, place = int(parts[1]), int(parts[2])
            part = ".".join(parts[3:-1])
            called = (first if stage == 0 else later)[part]
            named[f"net._blocks.{sum(stages[:stage]) + place}.{called}.{parts[-1]}"] = value
        else:
            named[f"net.{ends[parts[0]]}.{parts[1]}"] = value
    return named


@pytest.mark.slow
def test_sbi(tmp_path, capsys):
    network, state = published_b4(2)
    assert len(state) == 706
    torch.save({"model": state, "epoch": 99}, tmp_path / "FFc23.tar")
    loaded = imported("sbi", tmp_path / "FFc23.tar", capsys)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.network(pixels(380, 1)).logits, network(pixels(380, 1)), rtol=0, atol=1e-5)


def published_b4(classes):
    """EfficientNet-B4 with weights of its own, and these under the names of efficientnet_pytorch."""
    torch.manual_seed(0)
    network = randomised(timm.create_model("tf_efficientnet_b4", num_classes=classes))
    return network, efficientnet_pytorch_names(network.state_dict(), [len(stage) for stage in network.blocks])


def padded(network, valid_stem):
    """Pad where maps are halved as efficientnet_pytorch 0.7 does for 380 pixels, whatever the input."""
    pads = {"blocks.1.0.conv_dw": (0, 1, 0, 1), "blocks.2.0.conv_dw": (2, 2, 2, 2),
            "blocks.3.0.conv_dw": (0, 1, 0, 1), "blocks.5.0.conv_dw": (1, 2, 1, 2)}  # fmt: skip
    pads["conv_stem"] = (0, 0, 0, 0) if valid_stem else (0, 1, 0, 1)
    for name, pad in pads.items():
        old = network.get_submodule(name)
        conv = torch.nn.Conv2d(old.in_channels, old.out_channels, old.kernel_size, 2, groups=old.groups, bias=False)
        conv.load_state_dict(old.state_dict())
        network.set_submodule(name, torch.nn.Sequential(torch.nn.ZeroPad2d(pad), conv))
    return network


@pytest.mark.slow
def test_efficientnet_of_deepfakebench(tmp_path, capsys):
    """Its first layer does not pad, its others as for 380 pixels, although faces have 256."""
    network, names = published_b4(2)
    state = {f"backbone.efficientnet.{key.removeprefix('net.')}": value for key, value in names.items()}
    for part in ("weight", "bias"):
        state[f"backbone.last_layer.{part}"] = state.pop(f"backbone.efficientnet._fc.{part}")
    torch.save(state, tmp_path / "effnb4_best.pth")
    loaded = imported("deepfakebench", tmp_path / "effnb4_best.pth", capsys)
    faces = (pixels(256, 1) - 0.5) / 0.5
    with torch.inference_mode():
        plain = network(faces)
        theirs = padded(network, valid_stem=True)(faces)
        torch.testing.assert_close(loaded.network(pixels(256, 1)).logits, theirs, rtol=0, atol=1e-5)
    assert (plain - theirs).abs().max() > 1e-3


@pytest.mark.parametrize("size", [128, 224, 380])
def test_padding_for_the_nominal_size(size):
    torch.manual_seed(0)
    ours = EfficientNet("tf_efficientnet_b4", False, size=size, mean=[0.0] * 3, std=[1.0] * 3, padding="nominal").eval()
    plain = EfficientNet("tf_efficientnet_b4", False, size=size, mean=[0.0] * 3, std=[1.0] * 3).eval()
    plain.load_state_dict(ours.state_dict())
    with torch.inference_mode():
        got, own = ours(pixels(size, 1)).features, plain(pixels(size, 1)).features
        padded(plain.backbone, valid_stem=False)
        torch.testing.assert_close(got, plain(pixels(size, 1)).features)
    assert torch.allclose(got, own) == (size == 380)  # there the nominal size is the input's own


def test_padding_of_a_network_without_a_nominal_size():
    with pytest.raises(DfdError, match="efficientnet_lite0 is none of tf_efficientnet_b0 to"):
        EfficientNet("efficientnet_lite0", False, size=64, padding="nominal")


class TheirMeso4(torch.nn.Module):
    """Meso-4 under DeepfakeBench's names."""

    def __init__(self):
        super().__init__()
        sides = ((3, 8, 3), (8, 8, 5), (8, 16, 5), (16, 16, 5))
        for number, (inputs, outputs, side) in enumerate(sides, start=1):
            setattr(self, f"conv{number}", torch.nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=False))
        self.bn1, self.bn2 = torch.nn.BatchNorm2d(8), torch.nn.BatchNorm2d(16)
        self.fc1, self.fc2 = torch.nn.Linear(1024, 16), torch.nn.Linear(16, 2)

    def forward(self, x):
        for conv, norm, side in ((self.conv1, self.bn1, 2), (self.conv2, self.bn1, 2), (self.conv3, self.bn2, 2),
                                 (self.conv4, self.bn2, 4)):  # fmt: skip
            x = F.max_pool2d(norm(conv(x).relu()), side)
        return self.fc2(F.leaky_relu(self.fc1(x.flatten(1)), 0.1))


class TheirMesoInception4(torch.nn.Module):
    """MesoInception-4 under DeepfakeBench's names: no biases, nothing between a block's convolutions."""

    def __init__(self):
        super().__init__()
        for block, (inputs, widths) in enumerate(((3, (1, 4, 4, 2)), (11, (2, 4, 4, 2))), start=1):
            name = f"Incption{block}_conv"
            setattr(self, f"{name}1", torch.nn.Conv2d(inputs, widths[0], 1, bias=False))
            for branch, width in enumerate(widths[1:], start=2):
                wide = torch.nn.Conv2d(width, width, 3, padding=branch - 1, dilation=branch - 1, bias=False)
                setattr(self, f"{name}{branch}_1", torch.nn.Conv2d(inputs, width, 1, bias=False))
                setattr(self, f"{name}{branch}_2", wide)
            setattr(self, f"Incption{block}_bn", torch.nn.BatchNorm2d(sum(widths)))
        self.conv1 = torch.nn.Conv2d(12, 16, 5, padding=2, bias=False)
        self.conv2 = torch.nn.Conv2d(16, 16, 5, padding=2, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(16)
        self.fc1, self.fc2 = torch.nn.Linear(1024, 16), torch.nn.Linear(16, 2)

    def block(self, x, number):
        name = f"Incption{number}_conv"
        maps = [getattr(self, f"{name}1")(x)]
        maps += [getattr(self, f"{name}{n}_2")(getattr(self, f"{name}{n}_1")(x)) for n in (2, 3, 4)]
        return F.max_pool2d(getattr(self, f"Incption{number}_bn")(torch.cat(maps, 1)), 2)

    def forward(self, x):
        x = self.block(self.block(x, 1), 2)
        x = F.max_pool2d(self.bn1(self.conv1(x).relu()), 2)
        x = F.max_pool2d(self.bn1(self.conv2(x).relu()), 4)
        return self.fc2(F.leaky_relu(self.fc1(x.flatten(1)), 0.1))


@pytest.mark.parametrize(("network", "name", "tensors"),
                         [(TheirMeso4, "meso4", 18), (TheirMesoInception4, "meso4Incep", 35)])  # fmt: skip
def test_meso_of_deepfakebench(network, name, tensors, tmp_path, capsys):
    torch.manual_seed(0)
    network = randomised(network())
    state = {f"backbone.{key}": value for key, value in network.state_dict().items()}
    assert len(state) == tensors
    torch.save(state, tmp_path / f"{name}_best.pth")
    loaded = imported("deepfakebench", tmp_path / f"{name}_best.pth", capsys)
    with torch.inference_mode():
        theirs = network((pixels(256) - 0.5) / 0.5)
        torch.testing.assert_close(loaded.network(pixels(256)).logits, theirs, rtol=0, atol=1e-5)
    del state["backbone.bn1.weight"]
    torch.save(state, tmp_path / "short.pth")
    assert main(["deepfakebench", str(tmp_path / "short.pth")]) == 2
    assert "missing" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("triplets", [False, True])
def test_efficientnet_of_politecnico_di_milano(triplets, tmp_path, capsys):
    """One logit; those trained with triplets normalise the features before the last layer."""
    network, names = published_b4(1)
    state = {f"efficientnet.{key.removeprefix('net.')}": value for key, value in names.items()}
    for part in ("weight", "bias"):
        state[f"classifier.{part}"] = state.pop(f"efficientnet._fc.{part}")
    last = network.classifier
    if triplets:
        last = randomised(torch.nn.Sequential(torch.nn.BatchNorm1d(1792), torch.nn.Linear(1792, 1)))
        state = {f"feat_ext.{key}": value for key, value in state.items()}
        state |= {f"classifier.{key}": value for key, value in last.state_dict().items()}
    assert len(state) == (713 if triplets else 706)
    torch.save(state, tmp_path / "b4.pth")
    loaded = imported("icpr2020", tmp_path / "b4.pth", capsys)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        pooled = network.forward_head(network.forward_features((pixels(224, 1) - mean) / std), pre_logits=True)
        torch.testing.assert_close(loaded.network(pixels(224, 1)).logits, last(pooled), rtol=0, atol=2e-5)


def clip_names(state):
    """What timm's ViT is called by Hugging Face's CLIP."""
    named = {
        "embeddings.class_embedding": state["cls_token"][0, 0],
        "embeddings.position_embedding.weight": state["pos_embed"][0],
        "embeddings.patch_embedding.weight": state["patch_embed.proj.weight"],
        "embeddings.position_ids": torch.arange(3),
    }
    for kind in ("weight", "bias"):
        named |= {f"pre_layrnorm.{kind}": state[f"norm_pre.{kind}"], f"post_layernorm.{kind}": state[f"norm.{kind}"]}
        for n in range(2):
            ours, theirs = f"blocks.{n}.", f"encoder.layers.{n}."
            for one, other in (("norm1", "layer_norm1"), ("norm2", "layer_norm2"), ("mlp.fc1", "mlp.fc1"),
                               ("mlp.fc2", "mlp.fc2"), ("attn.proj", "self_attn.out_proj")):  # fmt: skip
                named[f"{theirs}{other}.{kind}"] = state[f"{ours}{one}.{kind}"]
            for part, value in zip("qkv", state[f"{ours}attn.qkv.{kind}"].chunk(3), strict=True):
                named[f"{theirs}self_attn.{part}_proj.{kind}"] = value
    return named


@pytest.fixture
def clip(monkeypatch):
    """CLIP's vision tower at two layers, under the name of the published one."""
    small = {"embed_dim": 64, "depth": 2, "num_heads": 2, "num_classes": 0}
    torch.manual_seed(0)
    network = randomised(timm.create_model(frame_weights.CLIP_L, **small))
    make = timm.create_model

    def create(name, **options):
        return make(name, **(options | small if name == frame_weights.CLIP_L else options))

    monkeypatch.setattr(timm, "create_model", create)
    return network


def normalised(network, values):
    mean, std = (torch.tensor(network.pretrained_cfg[name]).view(3, 1, 1) for name in ("mean", "std"))
    return network((values - mean) / std)


def test_gend(tmp_path, capsys, clip):
    head = torch.nn.Linear(64, 2)
    state = {f"feature_extractor.vision_model.{k}": v.contiguous() for k, v in clip_names(clip.state_dict()).items()}
    state |= {"feature_extractor.visual_projection.weight": torch.zeros(4, 64)}
    state |= {f"model.linear.{k}": v for k, v in head.state_dict().items()}
    save_file({key: value.clone() for key, value in state.items()}, tmp_path / "model.safetensors")
    assert main(["gend", str(tmp_path / "model.safetensors"), str(tmp_path / "gend.ckpt")]) == 0
    loaded = load_network(tmp_path / "gend.ckpt")
    with torch.inference_mode():
        theirs = head(F.normalize(normalised(clip, pixels(224)), dim=1))
        torch.testing.assert_close(loaded.network(pixels(224)).logits, theirs, rtol=0, atol=1e-5)


def test_effort(tmp_path, capsys, clip):
    head = torch.nn.Linear(64, 2)
    state = {}
    for key, value in clip_names(clip.state_dict()).items():
        if "self_attn" not in key or not key.endswith(".weight"):
            state[f"module.backbone.{key}"] = value
            continue
        u, s, v = torch.linalg.svd(value)
        layer = f"module.backbone.{key.removesuffix('.weight')}"
        main = (u[:, :-1] * s[:-1]) @ v[:-1]
        state |= {f"{layer}.weight_main": main, f"{layer}.S_residual": s[-1:], f"{layer}.U_r": u[:, :-1],
                  f"{layer}.U_residual": u[:, -1:], f"{layer}.V_residual": v[-1:]}  # fmt: skip
    state |= {f"module.head.{k}": v for k, v in head.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "effort.pth")
    loaded = imported("effort", tmp_path / "effort.pth", capsys)
    with torch.inference_mode():
        theirs = head(normalised(clip, pixels(224)))
        torch.testing.assert_close(loaded.network(pixels(224)).logits, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (read_deepfakebench, "none of DeepfakeBench's"),
        (read_gend, "is not GenD over CLIP"),
        (read_effort, "lacks head.weight"),
    ],
)
def test_other_files_are_refused(read, message, tmp_path):
    torch.save({"net.other.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(DfdError, match=message):
        read(tmp_path / "other.pth")


def test_what_is_typed_wrongly_is_said(tmp_path, capsys):
    torch.save({"net.other.weight": torch.zeros(2)}, tmp_path / "other.pth")
    for words, message in (
        (["xcpetion", "x.pth"], "no importer 'xcpetion'"),
        (["sbi"], "say what"),
        (["sbi", str(tmp_path / "none.pth")], "no weights at"),
        (["sbi", str(tmp_path / "other.pth")], "missing"),
        (["effort", str(tmp_path / "other.pth")], "lacks head.weight"),
    ):
        assert main(words) == 2
        assert message in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "gend" in capsys.readouterr().out
