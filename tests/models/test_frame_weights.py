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
    torch.manual_seed(0)
    network = randomised(timm.create_model("tf_efficientnet_b4", num_classes=2))
    state = efficientnet_pytorch_names(network.state_dict(), [len(stage) for stage in network.blocks])
    assert len(state) == 706
    torch.save({"model": state, "epoch": 99}, tmp_path / "FFc23.tar")
    loaded = imported("sbi", tmp_path / "FFc23.tar", capsys)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.network(pixels(380, 1)).logits, network(pixels(380, 1)), rtol=0, atol=1e-5)


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
