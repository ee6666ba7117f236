"""Weights are loaded strictly or not at all, from a hub or a file, and what was loaded is said."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from dfd.core.errors import DfdError
from dfd.models.image import ImageDetector

NAME = "resnet18.a1_in1k"


@pytest.fixture(scope="module")
def source():
    torch.manual_seed(1)
    return timm.create_model(NAME, num_classes=10)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_local_file_is_loaded_in_full(tmp_path, source, suffix):
    path = tmp_path / f"weights{suffix}"
    save_file(source.state_dict(), path) if suffix == ".safetensors" else torch.save(
        {"state_dict": {f"module.{k}": v for k, v in source.state_dict().items()}}, path
    )
    detector = ImageDetector(NAME, pretrained=str(path), size=64)
    assert detector.initialised_from == f"file: weights{suffix}"
    loaded = detector.backbone.state_dict()
    assert all(
        torch.equal(loaded[key], value) for key, value in source.state_dict().items() if not key.startswith("fc")
    )


@pytest.mark.parametrize("damage", ["missing", "extra", "shape"])
def test_a_file_that_does_not_match_in_full_is_refused(tmp_path, source, damage):
    state = dict(source.state_dict())
    if damage == "missing":
        del state["layer1.0.conv1.weight"]
    elif damage == "extra":
        state["layer9.weight"] = torch.zeros(3)
    else:
        state["conv1.weight"] = torch.zeros(3, 3)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(DfdError, match="does not hold the weights"):
        ImageDetector(NAME, pretrained=str(tmp_path / "w.pth"), size=64)


def test_code_in_a_weight_file_is_not_run(tmp_path):
    torch.save({"state_dict": {}, "args": pytest.approx}, tmp_path / "w.pth")
    with pytest.raises(DfdError, match="cannot be read as weights"):
        ImageDetector(NAME, pretrained=str(tmp_path / "w.pth"))


def test_a_missing_file_and_a_misspelt_architecture_are_named():
    with pytest.raises(DfdError, match=r"no weights at nowhere\.pth"):
        ImageDetector(NAME, pretrained="nowhere.pth")
    with pytest.raises(DfdError, match="did you mean 'resnet18'"):
        ImageDetector("resnet188")


def test_a_hub_out_of_reach_is_an_error_unless_allowed(monkeypatch):
    def offline(name, pretrained=False, **more):
        if pretrained:
            raise ConnectionError("no route to the hub")
        return create(name, **more)

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(DfdError, match=r"no route to the hub.*model\.network\.pretrained=false"):
        ImageDetector(NAME, size=64)
    with pytest.warns(UserWarning, match="RANDOM weights"):
        detector = ImageDetector(NAME, size=64, on_missing="random")
    assert "fallback" in detector.initialised_from


def test_meso_has_the_size_of_the_paper():
    from dfd.models.meso import MesoInception4

    assert sum(parameter.numel() for parameter in MesoInception4(256).parameters()) == 28_615
    with pytest.raises(DfdError, match="multiple of 32, got 100"):
        MesoInception4(100)
