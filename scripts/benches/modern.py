"""What modern detectors cost: pairs of self-blended images, and Vision Mamba beside a transformer of its size."""

import functools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from benches.compute import DEVICE, answer, stepping
from benches.figure import Figure, fastest, race
from benches.loader import chain, stored
from dfd.core.records import InputSpec
from dfd.data.readers import open_crops
from dfd.data.selfblend import self_blend
from dfd.data.selfblend_module import SelfBlendedViews
from dfd.data.views import Visit
from dfd.models.image import ImageDetector
from dfd.models.vim import Vim

PAIRS = 4  # of one visit


def modern(folder: Path) -> Iterable[Figure]:
    """Pairs of self-blended images on one core; Vim-Tiny against DeiT-Tiny."""
    yield from blending(folder)
    yield from mamba()


def blending(folder: Path) -> Iterable[Figure]:
    """A training view of model=sbi (read, blend, show, augment) against the blending alone."""
    record, _ = stored(folder)
    spec = InputSpec("image", 256)
    views = {
        name: SelfBlendedViews([record], folder, spec, PAIRS, augment)
        for name, augment in (("augment=sbi", chain("sbi")), ("not augmented", None))
    }
    with open_crops(folder, record.assets) as crops:
        rows = np.flatnonzero(crops.table["valid"])[:PAIRS]
        images = crops.read(rows)
        sides = [image.shape[0] for image in images]
        marks = views["augment=sbi"].landmarks(record, crops.table, rows, sides)

    def blend() -> int:
        for number, (image, where) in enumerate(zip(images, marks, strict=True)):
            self_blend(image[None], where[None], np.random.default_rng(number))
        return len(images)

    works = {name: lambda view=view: len(view[Visit(0, 1)]["pixels"]) // 2 for name, view in views.items()}
    rates = fastest({**works, "blend": blend})
    for name in views:
        yield Figure(f"pairs of self-blended images, {name}", rates[name], rates["blend"], "pairs/s", "blending alone")


def mamba() -> Iterable[Figure]:
    """Passes and steps of the two, 224 pixels, random weights."""
    count = 64 if DEVICE.type == "cuda" else 4
    pixels = torch.rand(count, 3, 224, 224, device=DEVICE)
    networks = {
        "vim": Vim("tiny", pretrained=False).to(DEVICE),
        "deit": ImageDetector("deit_tiny_patch16_224", pretrained=False).to(DEVICE),
    }
    for network in networks.values():
        network.eval()
    rates = race({name: functools.partial(answer, network, pixels) for name, network in networks.items()})
    yield Figure("a pass of Vim-Tiny", rates["vim"], rates["deit"], "images/s", "DeiT-Tiny")
    for network in networks.values():
        network.train()
    rates = race({name: stepping(network, pixels) for name, network in networks.items()})
    yield Figure("a step of Vim-Tiny", rates["vim"], rates["deit"], "images/s", "DeiT-Tiny")
