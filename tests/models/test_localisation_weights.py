"""Checkpoints in the containers of their authors: the moving average is taken, and every tensor must fit."""

import pytest
import torch

from dfd.core.build import build
from dfd.core.errors import DfdError
from dfd.models.localisation.actionformer import ActionFormer
from dfd.models.localisation.auvire import AuViRe
from dfd.models.localisation.tridet import TriDet
from dfd.models.localisation.ummaformer import UMMAFormer
from dfd.models.localisation.weights import load_official, read_official

X = (("x", 24, 25.0),)
PAIR = (("video", 12, 25.0), ("audio", 12, 25.0))
SIZES = {"channels": 16, "head_channels": 16}
NETWORKS = {
    "actionformer": lambda: ActionFormer(X, length=64, classes=3, **SIZES),
    "tridet": lambda: TriDet(
        X, length=64, mlp_channels=32, boundary_bins=5, window=7, ratio=2.0, paper_compat=True, **SIZES
    ),
    "ummaformer": lambda: UMMAFormer(X, length=64, rebuild_channels=4, paper_compat=True, **SIZES),
    "auvire": lambda: AuViRe(PAIR, length=64, channels=8, rebuild=2, paper_compat=True),
}


def written(path, name, ema=True):
    """A checkpoint as the authors' code writes it, of a network with weights of its own."""
    torch.manual_seed(1)
    network = NETWORKS[name]().eval()
    state = network.state_dict()
    if name == "auvire":
        torch.save({"model": state, "optimizer": {}}, path)
        return network
    average = {f"module.{key}": value for key, value in state.items()}
    current = {key: value + 1 for key, value in average.items()}
    held = {"epoch": 3, "state_dict": current, "scheduler": {"last_epoch": 3}, "optimizer": {"state": {}}}
    torch.save(held | ({"state_dict_ema": average} if ema else {}), path)
    return network


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_checkpoint_gives_the_network_that_wrote_it(tmp_path, name):
    path = tmp_path / "epoch_003.pth.tar"
    network = written(path, name)
    official = read_official(path, PAIR if name == "auvire" else X, length=64)
    rebuilt = build(official.tree)
    load_official(rebuilt, official)
    assert rebuilt.initialised_from.startswith(name)
    streams = {n: torch.randn(2, w, 64) for n, w, _ in (PAIR if name == "auvire" else X)}
    mask = torch.ones(2, 64, dtype=torch.bool)
    with torch.no_grad():
        assert torch.equal(rebuilt.eval()(streams, mask).logits, network(streams, mask).logits)


def test_the_weights_themselves_where_asked_for(tmp_path):
    path = tmp_path / "a.pth.tar"
    network = written(path, "actionformer")
    official = read_official(path, X, length=64, ema=False)
    name = "cls_head.cls_head.conv.bias"
    assert torch.equal(official.state[name], network.state_dict()[name] + 1)


def test_a_missing_tensor_and_other_features_are_refused(tmp_path):
    path = tmp_path / "a.pth.tar"
    written(path, "actionformer")
    official = read_official(path, X, length=64)
    network = build(official.tree)
    short = {key: value for key, value in official.state.items() if not key.endswith("scale.2.scale")}
    with pytest.raises(DfdError, match=r"reg_head\.scale\.2\.scale"):
        load_official(network, type(official)(short, official.tree, "a"))
    with pytest.raises(DfdError, match="24 values"):
        read_official(path, (("y", 12, 25.0),))


def test_what_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(DfdError, match="cannot be read"):
        read_official(tmp_path / "text.pth")
    torch.save({"state_dict": {"fc.weight": torch.zeros(2)}}, tmp_path / "other.pth")
    with pytest.raises(DfdError, match="no weights of UMMAFormer"):
        read_official(tmp_path / "other.pth")
    with pytest.raises(DfdError, match="no file"):
        read_official(tmp_path / "nothing.pth")
