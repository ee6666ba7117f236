"""Detectors as bundles: images a second of every backend on all cores, against torch as it is."""

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benches.figure import Figure, race
from dfd.core.build import build
from dfd.export.bundle import export
from dfd.models.bundle import GRAPH
from dfd.models.checkpoint import NETWORKS, load_network, save_network

IMAGE = "dfd.models.image.ImageDetector"
TREES: dict[str, dict[str, Any]] = {
    "MesoInception-4, 256": {"_target_": "dfd.models.meso.MesoInception4", "size": 256},
    "EfficientNet-B4, 256": {
        "_target_": IMAGE, "architecture": "tf_efficientnet_b4.ns_jft_in1k", "size": 256, "pretrained": False
    },
    "Xception, 256": {"_target_": IMAGE, "architecture": "legacy_xception.tf_in1k", "size": 256, "pretrained": False},
    "DeiT-Small, 224": {
        "_target_": IMAGE, "architecture": "deit_small_patch16_224.fb_in1k", "size": 224, "pretrained": False
    },
    "TALL on Swin-T, one thumbnail": {
        "_target_": "dfd.models.tall.Tall", "variant": "tiny", "pretrained": False, "clips": 1
    },
}  # fmt: skip
BATCH = 8


def backends(folder: Path) -> Iterable[Figure]:
    """Detectors as bundles: images a second by onnxruntime, OpenVINO and torch.compile, against torch; MB of each."""
    for number, (name, tree) in enumerate(TREES.items()):
        run = folder / f"{number}.ckpt"
        torch.manual_seed(0)
        save_network(run, build(tree, NETWORKS, "network").eval(), tree)
        network = load_network(run).network
        pixels = torch.rand(BATCH, *network.input.shape)
        works = {"torch": work(network, pixels), "torch.compile": work(torch.compile(network), pixels)}
        sizes = {"torch": run.stat().st_size}
        for backend, precision in (("onnx", "fp32"), ("onnx", "int8"), ("openvino", "fp32")):
            if backend == "openvino" and importlib.util.find_spec("openvino") is None:
                continue
            bundle = export(run, folder / f"{number}-{backend}-{precision}", precision, backend)
            works[f"{backend} {precision}"] = work(load_network(bundle).network, pixels)
            sizes[f"{backend} {precision}"] = (bundle / GRAPH).stat().st_size
        rates = race(works)
        for backend, rate in rates.items():
            size = f"; {sizes[backend] / 1e6:.1f} MB" if backend in sizes else ""
            yield Figure(f"{name}, {backend}", rate, rates["torch"], "images/s", f"torch, eager{size}")


def work(network: nn.Module, pixels: Tensor) -> Callable[[], int]:
    """Return one forward pass of a batch."""

    def run() -> int:
        with torch.inference_mode():
            network(pixels)
        return len(pixels)

    return run
