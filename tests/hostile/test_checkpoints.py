"""A stranger's checkpoint runs no code, fetches nothing, builds no more than it holds, and is called what it is."""

import io
import json
import os
import pickle
import random
import shutil
import socket
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from dfd.core.errors import DfdError
from dfd.models.checkpoint import load_network, save_network
from dfd.models.meso import MesoInception4
from tests.hostile.media import flipped

TREE = {"_target_": "dfd.models.meso.MesoInception4", "size": 64}
IMAGE, HYBRID = "dfd.models.image.ImageDetector", "dfd.models.hybrid.Hybrid"


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("good") / "good.ckpt"
    torch.manual_seed(0)
    save_network(path, MesoInception4(size=64), TREE)
    return path


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a checkpoint opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


class Code:
    """A pickle that calls something."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def changed(good: Path, path: Path, **changes) -> None:
    """Write the good checkpoint with some of its parts replaced; `card__x` is the value x of the card."""
    checkpoint = torch.load(good, weights_only=True)
    for name, value in changes.items():
        if name.startswith("card__"):
            checkpoint["dfd"][name.removeprefix("card__")] = value
        else:
            checkpoint[name] = value
    torch.save(checkpoint, path)


def weights(good: Path) -> dict[str, torch.Tensor]:
    return torch.load(good, weights_only=True)["state_dict"]


def with_weight(good: Path, value: object, name: str = "network.head.weight") -> dict:
    state = weights(good)
    key = name if name in state else next(reversed(state))
    return {"state_dict": {**state, key: value}}


def laughs(levels: int = 60) -> list:
    value: list = [0]
    for _ in range(levels):
        value = [value, value]
    return value


def deep(levels: int = 100) -> dict:
    value: dict = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def tree(target: str, **arguments) -> dict:
    return {"card__network": {"_target_": target, **arguments}}


def changes(good: Path) -> dict[str, dict]:
    state = weights(good)
    key = next(reversed(state))
    value = state[key].float()
    hub = {"architecture": "resnet18", "size": 32}
    return {
        "nan": with_weight(good, value * float("nan"), key),
        "infinite": with_weight(good, value + float("inf"), key),
        "complex": with_weight(good, value.to(torch.complex64), key),
        "sparse": with_weight(good, torch.eye(3).to_sparse(), key),
        "text_weight": with_weight(good, "weights", key),
        "no_weight": with_weight(good, None, key),
        "expanded": with_weight(good, torch.zeros(1).expand(10**12), key),
        "other_shape": with_weight(good, torch.zeros(7, 7), key),
        "one_less": {"state_dict": dict(list(state.items())[:-1])},
        "one_more": {"state_dict": {**state, "network.other": torch.zeros(2)}},
        "no_weights": {"state_dict": {}},
        "list_of_weights": {"state_dict": list(state.values())},
        "others_weights": {"state_dict": {"conv1.weight": torch.zeros(3)}},
        "numbered_weights": {"state_dict": {1: torch.zeros(3)}},
        "no_card": {"dfd": None},
        "card_of_text": {"dfd": "meso"},
        "card_of_list": {"dfd": [1, 2]},
        "empty_card": {"dfd": {}},
        "card_of_laughs": {"dfd": {"network": TREE, "x": laughs()}},
        "deep_card": {"dfd": {"network": TREE, "x": deep()}},
        "card_of_tensors": {"dfd": {"network": TREE, "x": torch.zeros(3)}},
        "newer_card": {"card__format": 99},
        "strange_format": {"card__format": "two"},
        "no_input": {"card__input": {}},
        "input_of_text": {"card__input": "image"},
        "huge_input": {"card__input": {"kind": "image", "size": 10**9}},
        "looking_of_text": {"card__looking": "away"},
        "os_system": tree("os.system", command="true"),
        "locate": tree("dfd.core.build.locate", path="os.system"),
        "guard": tree("dfd.cli.app._guard", task=None, cfg=None),
        "index": tree("dfd.data.datasets.digits.index", root="."),
        "fetch": tree("dfd.data.datasets.digits.fetch", root="here"),
        "numpy": tree("numpy.load", file="x"),
        "torch_load": tree("torch.load", f="x"),
        "reexported": tree("dfd.models.meso.nn"),
        "no_such_class": tree("dfd.models.meso.Meso99"),
        "no_such_module": tree("dfd.models.nowhere.Meso"),
        "target_of_number": {"card__network": {"_target_": 7}},
        "no_target": {"card__network": {"size": 64}},
        "network_of_text": {"card__network": "meso"},
        "unknown_argument": tree(TREE["_target_"], sise=64),
        "text_argument": tree(TREE["_target_"], size="large"),
        "negative_size": tree(TREE["_target_"], size=-5),
        "huge_size": tree(TREE["_target_"], size=10**7),
        "giant": tree(IMAGE, architecture="vit_giant_patch14_224", pretrained=False),
        "giant_by_default": tree(IMAGE, architecture="vit_giant_patch14_224"),
        "pretrained": tree(IMAGE, pretrained=True, **hub),
        "pretrained_by_default": tree(IMAGE, **hub),
        "pretrained_file": tree(IMAGE, pretrained="/etc/passwd", **hub),
        "from_an_address": tree(IMAGE, pretrained_cfg_overlay={"url": "http://127.0.0.1:9/x"}, **hub),
        "from_a_config": tree(IMAGE, pretrained_cfg={"url": "http://127.0.0.1:9/x"}, **hub),
        "from_a_path": tree(IMAGE, checkpoint_path="/dev/zero", **hub),
        "from_a_hub": tree(IMAGE, architecture="hf-hub:nobody/nothing"),
        "from_a_folder": tree(IMAGE, architecture="local-dir:/etc"),
        "endless_depth": tree(HYBRID, cnn="resnet18", vit="vit_tiny_patch16_224", depth=10**8),
        "great_depth": tree(HYBRID, cnn="resnet18", vit="vit_tiny_patch16_224", depth=10**5),
        "nested_code": tree(IMAGE, architecture={"_target_": "os.system", "command": "true"}),
    }


def files(good: Path, folder: Path) -> dict[str, Path]:
    """Files that are not, or not quite, what torch.save writes."""
    data = good.read_bytes()
    marker = folder / "marker"
    contents: dict[str, bytes] = {
        "empty": b"", "text": b"hello", "noise": random.Random(1).randbytes(5000), "zeros": bytes(5000),
        "page": b"<!DOCTYPE html><html></html>", "pointer": b"version https://git-lfs.github.com/spec/v1\n",
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(100), "gzip": b"\x1f\x8b" + bytes(50), "no_zip": b"PK\x03\x04" + bytes(50),
        "safetensors": (8).to_bytes(8, "little") + b'{"a":{}}', "png": b"\x89PNG\r\n\x1a\n" + bytes(50),
        "json": json.dumps(TREE).encode(), "pickle": pickle.dumps(Code(marker.write_text, "owned")),
    }  # fmt: skip
    contents |= {f"cut{i}": data[: i * len(data) // 8] for i in range(1, 8)}
    contents |= {f"flipped{i}": flipped(data, i, 0.002) for i in range(10)}
    made = {}
    for name, content in contents.items():
        made[name] = folder / f"{name}.ckpt"
        made[name].write_bytes(content)
    for name, build in {"zip_bomb": bomb, "other_zip": other_zip, "lying_zip": repacked}.items():
        made[name] = folder / f"{name}.ckpt"
        made[name].write_bytes(build(good))
    for name, value in {
        "code": {"dfd": Code(marker.write_text, "owned")}, "code_in_weights": {"state_dict": Code(exec, "1/0")},
        "a_list": [1, 2], "a_tensor": torch.zeros(3), "a_number": 7, "a_module": torch.nn.Linear(2, 2),
        "ordered": OrderedDict(a=torch.zeros(2)), "nothing": None,
    }.items():  # fmt: skip
        made[name] = folder / f"{name}.ckpt"
        torch.save(value, made[name])
    made["folder"] = folder / "folder.ckpt"
    made["folder"].mkdir()
    made["missing"] = folder / "missing.ckpt"
    return made


def bomb(good: Path) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            content = bytes(2**27) if entry.filename.endswith("data/0") else source.read(entry)
            target.writestr(entry.filename, content)
    return out.getvalue()


def other_zip(good: Path) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        target.writestr("word/document.xml", "<xml/>")
    return out.getvalue()


def repacked(good: Path) -> bytes:
    """Return an archive whose entries are of other names."""
    out = io.BytesIO()
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(out, "w") as target:
        for entry in source.infolist():
            target.writestr(entry.filename.replace("data/", "../data/"), source.read(entry))
    return out.getvalue()


def test_the_good_one_loads(good):
    assert load_network(good).card.network["size"] == 64


@pytest.mark.slow
def test_every_other_one_is_one_line_with_its_reason(good, tmp_path):
    made = files(good, tmp_path)
    for name, change in changes(good).items():
        made[name] = tmp_path / f"{name}.ckpt"
        changed(good, made[name], **change)
    assert len(made) >= 60
    loaded, said, slow = [], {}, {}
    for name, path in made.items():
        started = time.process_time()
        try:
            load_network(path)
            loaded.append(name)
        except DfdError as error:
            said[name] = str(error)
        slow[name] = time.process_time() - started
    # bytes that nobody reads may be changed; what a card leaves out has a default; sizes of meso are not in its weights
    assert set(loaded) <= {f"flipped{i}" for i in range(10)} | {"lying_zip"}, loaded
    for name, message in said.items():
        assert "\n" not in message, name
        assert f"{name}.ckpt" in message, message
    assert max(slow.values()) < 20, max(slow, key=slow.__getitem__)
    assert not (tmp_path / "marker").exists()
    assert not Path("here").exists()
    expected = {
        "nan": "NaN", "infinite": "NaN or infinite", "giant": "far larger", "giant_by_default": "far larger",
        "endless_depth": "far larger", "great_depth": "far larger", "code": "asks for code", "pickle": "is a pickle",
        "empty": "0 bytes", "page": "web page", "pointer": "Git LFS", "cut4": "cut off", "zip_bomb": "compressed",
        "other_zip": "not a checkpoint", "expanded": "does not fill", "os_system": "may not be built",
        "from_an_address": "weights from elsewhere", "card_of_laughs": "more than", "deep_card": "levels",
        "others_weights": "none of them", "newer_card": "update dfd", "missing": "no run at",
    }  # fmt: skip
    for name, part in expected.items():
        assert part in said[name], said[name]


@pytest.mark.parametrize("kind", ["empty", "nothing_inside", "only_config", "fifo", "loop"])
def test_run_folders_that_are_none(kind, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    if kind != "empty":
        (run / "checkpoints").mkdir()
    if kind == "only_config":
        (run / "config.yaml").write_text("a: [")
    if kind == "fifo":
        os.mkfifo(run / "checkpoints" / "best.ckpt")
    if kind == "loop":
        shutil.rmtree(run)
        run.symlink_to(run)
    with pytest.raises(DfdError) as caught:
        load_network(run)
    assert "\n" not in str(caught.value)
