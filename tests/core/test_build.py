"""What may be built from a file that somebody else wrote, and what is said about the rest."""

import ast
import functools
import sys
from pathlib import Path

import pytest

import dfd
from dfd.core.build import allowed, allowed_networks, build, check, locate
from dfd.core.errors import DfdError

CROPS = "dfd.preprocess.crop.CropOptions"


def test_builds_nested_trees_and_partials():
    made = build({"a": {"_target_": CROPS, "margin": 1.5}, "b": [1, {"_target_": CROPS, "_partial_": True}]})
    assert made["a"].margin == 1.5
    assert isinstance(made["b"][1], functools.partial)
    assert made["b"][1](margin=2.0).margin == 2.0


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "builtins.eval",
        "subprocess.run",
        "dfd.cli.app._guard",
        "dfd.core.build.locate",
        "dfd.core.build.build",
        "dfd.core.slots.importlib",
        "dfd.core.slots.importlib.import_module",
        "dfd.core.build.partial",
        "dfd.data.video.open_video",
        "dfd.data.datasets.ffpp.Path",
        "dfd.data.datasets.ffpp._listed",
        "dfd.data.datasets.layout.read_json",
        "dfd.models.checkpoint.save_network",
        "dfd.models.base.nn.Module",
        "dfd.models.meso.InputSpec",
        "dfd.training.averaging.Path",
        "torch.load",
        "torch.hub.load",
        "torch.optim.os.system",
        "albumentations.sys.exit",
        "albumentations.load",
        "pytorch_lightning.callbacks.os",
        "torchvision.transforms.v2.functional.resize",
        "dfd..models.meso.MesoInception4",
        "dfd.models.meso",
        "",
    ],
)
def test_nothing_else_is_built_in_any_slot(path):
    with pytest.raises(DfdError, match=r"may not be built here|cannot import|has no|is not a dotted path"):
        build({"_target_": path})


def test_the_attack_of_a_run_folder_is_refused():
    hostile = {
        "_target_": "dfd.cli.app._guard",
        "task": {"_target_": "dfd.core.build.locate", "path": "os.system", "allow": [""]},
        "cfg": "echo pwned",
    }
    with pytest.raises(DfdError, match=r"data\.index: dfd\.cli\.app\._guard may not be built here"):
        check({"data": {"index": hostile}})


@pytest.mark.parametrize(
    ("slot", "path"),
    [
        ("index", "dfd.data.datasets.digits.fetch"),
        ("index", "dfd.models.meso.MesoInception4"),
        ("network", "dfd.data.datasets.digits.index"),
        ("network", "torch.optim.SGD"),
        ("optimizer", "pytorch_lightning.callbacks.ModelCheckpoint"),
        ("callbacks", "pytorch_lightning.loggers.WandbLogger"),
    ],
)
def test_each_kind_in_its_own_slot(slot, path):
    with pytest.raises(DfdError, match="may not be built here"):
        build({"_target_": path}, allowed(()), slot)


def test_a_checkpoint_builds_networks_only():
    with pytest.raises(DfdError, match="expected a network"):
        build({"_target_": "dfd.data.datasets.digits.index", "root": "."}, allowed_networks(()))
    with pytest.raises(DfdError, match="only network"):
        build({"_target_": "dfd.data.datasets.digits.index", "root": "."}, allowed_networks(()), "index")


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "mylab_plugin.py").write_text(
        "import os\nfrom os import system\nfrom subprocess import run\nfrom collections.abc import Iterator\n"
        "from torch import nn\nfrom dfd.core.records import Record\n"
        "class Tiny(nn.Module): pass\n"
        "class Other: pass\n"
        "def index(root) -> Iterator[Record]: return iter(())\n"
        "def untold(root): return iter(())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "mylab_plugin"
    sys.modules.pop("mylab_plugin", None)


@pytest.mark.parametrize(("slot", "name"), [("network", "Tiny"), ("index", "index")])
def test_a_package_that_the_user_named_is_built_from(plugin, slot, name):
    assert locate(f"{plugin}.{name}", allowed([plugin]), slot).__name__ == name
    with pytest.raises(DfdError, match="plugins="):
        locate(f"{plugin}.{name}", allowed(()), slot)


@pytest.mark.parametrize("name", ["system", "run", "os", "Record", "Other", "untold", "nn"])
def test_what_a_plugin_imports_or_does_not_mean_to_be_built_is_not(plugin, name):
    with pytest.raises(DfdError, match="may not be built here"):
        locate(f"{plugin}.{name}", allowed([plugin]))


@pytest.mark.parametrize(
    ("path", "message"),
    [("dfd.models.nowhere.X", "cannot import"), ("dfd.models.meso.MesoInception5", "'MesoInception4'")],
)
def test_a_wrong_path_is_named(path, message):
    with pytest.raises(DfdError, match=message):
        locate(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sise": 3}, r"crops: CropOptions has no argument 'sise' \(did you mean 'size'\?\)"),
        ({"size": "abc"}, r"crops\.size='abc': expected int, got str"),
        ({"size": True}, "expected int, got bool"),
        ({"align": "askew"}, "expected"),
    ],
)
def test_check_names_place_and_cause(arguments, message):
    with pytest.raises(DfdError, match=message):
        check({"crops": {"_target_": CROPS, **arguments}})


def test_check_lets_right_values_through():
    check({"x": {"_target_": CROPS, "size": 3, "margin": 1}})


def test_every_call_says_what_it_expects():
    """`build(tree, allow)` without a slot would take a data index for an optimiser: the code never calls it so."""
    careless = []
    for path in Path(dfd.__file__).parent.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        from_build = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "dfd.core.build"]
        names = {alias.name for node in from_build for alias in node.names} & {"build", "locate"}
        calls = [node for node in nodes if isinstance(node, ast.Call) and getattr(node.func, "id", None) in names]
        careless += [f"{path.name}:{call.lineno}" for call in calls if len(call.args) < 3]
    assert not careless
