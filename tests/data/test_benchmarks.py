"""Digits and CIFAR-10: what is known and what is strange; the loader of more than two classes."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest, check
from dfd.core.records import InputSpec
from dfd.data.datasets import cifar10_ood, digits
from dfd.data.image_datamodule import ImageDataModule


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("digits")
    digits.fetch(root)
    return root


def test_digits_are_known_or_strange(written):
    known, strange = list(digits.index(written)), list(digits.index(written, part="ood"))
    check(known)
    assert {r.method for r in known} == set("0123456")
    assert {r.method for r in strange} == {"7", "8", "9", "synthetic/strong_noise", "synthetic/rotated_noise"}
    assert {r.split for r in strange} == {"test"}
    assert len(list(digits.index(written, part="all"))) == 1797
    splits = Counter(r.split for r in known)
    assert splits["train"] > splits["test"] > splits["val"] > 50
    with pytest.raises(DfdError, match="at least two digits"):
        list(digits.index(written, known=[3]))


def test_classes_of_a_loader_are_the_known_methods(written):
    known = Manifest(tuple(digits.index(written)), written)
    data = ImageDataModule(known, InputSpec("image", 16), batch_size=64, workers=0, classes="method")
    batch = next(iter(data.train_dataloader()))
    assert batch["pixels"].shape == (64, 3, 16, 16)
    counts = np.bincount(np.concatenate([b["label"].numpy() for b in data.train_dataloader()]), minlength=7)
    assert counts.max() - counts.min() <= 64  # balanced, but for the last batch that is dropped
    assert data.targets(list(digits.index(written, part="ood")))[:1] == [-1]


class Ten:
    classes = ("cat", "great dane")

    def __init__(self, root, download, **arguments):
        self.count = 30 if arguments.get("train") else 20

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        return Image.new("RGB", (8, 8), (number, 0, 0)), number % 2


def test_cifar10_is_written_out_once_and_split_as_each_protocol_does(tmp_path, monkeypatch):
    for kind in ("CIFAR10", "MNIST"):
        monkeypatch.setattr(f"torchvision.datasets.{kind}", Ten)
    cifar10_ood.fetch(tmp_path, ["cifar10", "mnist"])
    known = list(cifar10_ood.index(tmp_path))
    check(known)
    assert {r.method for r in known} == {"cat", "great_dane"}
    assert {r.split for r in known if "/train/" in r.id} == {"train"}
    thesis = list(cifar10_ood.index(tmp_path, "thesis"))
    assert {r.split for r in thesis if "/test/" in r.id} == {"test"}
    strange = list(cifar10_ood.index(tmp_path, sets=["mnist"], part="ood"))
    assert {(r.method, r.split) for r in strange} == {("mnist", "test")}
    assert len(strange) == 20

    def gone(*arguments, **more):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", gone)
    cifar10_ood.fetch(tmp_path, ["cifar10"])  # nothing left to do
    with pytest.raises(DfdError, match=r"CIFAR10 is not in .* could not be downloaded \(no route to host\)"):
        cifar10_ood.fetch(tmp_path / "other", ["cifar10"])
    with pytest.raises(DfdError, match="no pictures of tinyimagenet in"):
        list(cifar10_ood.index(tmp_path, part="ood", sets=["tinyimagenet"]))
    with pytest.raises(DfdError, match="did you mean 'mnist'"):
        list(cifar10_ood.index(tmp_path, part="ood", sets=["mnst"]))
