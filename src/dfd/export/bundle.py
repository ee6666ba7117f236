"""A run's detector as a bundle: normalisation, network and score in one ONNX graph, checked against torch."""

import json
import logging
import shutil
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from dfd.core.build import Allowed
from dfd.core.card import Card
from dfd.core.digest import sha256
from dfd.core.errors import DfdError
from dfd.core.run_folder import BUNDLE, run_of
from dfd.evaluation.operating import FILE, operating_point_of
from dfd.models.base import Detector
from dfd.models.bundle import FORMAT, GRAPH, OUTPUTS, Backend, GraphDetector
from dfd.models.checkpoint import NETWORKS, load_network

log = logging.getLogger("dfd")

Precision = Literal["fp32", "fp16", "int8"]
OPSET = 18
TOLERANCE = {"fp32": 1e-4, "fp16": 5e-2, "int8": float("inf")}  # of a logit; int8's is measured and written down


class _Whole(nn.Module):
    """Pixels in [0, 1] to logits, features and score."""

    def __init__(self, network: Detector) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output = self.network(pixels)
        return output.logits.float(), output.features.float(), self.network.score(output)


def export(
    run: Path,
    folder: Path | None = None,
    precision: Precision = "fp32",
    backend: Backend = "onnx",
    networks: Allowed = NETWORKS,
) -> Path:
    """Write a run as a bundle and return its folder, which is taken wherever a run is.

    Args:
        run: a run folder or a checkpoint.
        folder: of the bundle; None: `bundle` in the run folder.
        precision: fp32; fp16: half the size; int8: weights of matrix products in a quarter.
        backend: what runs it: `onnx` or `openvino`.
        networks: packages whose networks may be built.
    """
    if precision not in TOLERANCE:
        raise DfdError(f"precision={precision}: allowed are {', '.join(TOLERANCE)}")
    if backend not in get_args(Backend):
        raise DfdError(f"backend={backend}: allowed are {', '.join(get_args(Backend))}")
    loaded = load_network(run, networks)
    network = loaded.network
    if not isinstance(network, Detector) or network.input.kind not in ("image", "clip"):
        raise DfdError(
            f"{loaded.path} takes {network.input.kind}: bundles hold detectors of images and clips; this kind runs "
            "from its run folder"
        )
    folder = (folder or run_of(loaded.path) / "bundle").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    graph = folder / GRAPH
    whole = _Whole(network.folded().eval())  # type: ignore[arg-type]
    write_graph(whole, network.input.shape, graph)
    if precision != "fp32":
        _reduce(graph, precision)
    apart = difference(whole, GraphDetector(graph, network.input, backend), network.input.shape)
    if apart > TOLERANCE[precision]:
        raise DfdError(f"the graph and the network differ by up to {apart:.1e} in a logit: not exported")
    _describe(folder, loaded.card, loaded.path, precision, backend, apart)
    operating = operating_point_of(run_of(loaded.path), loaded.path)
    if operating is not None:
        operating.write(folder)
    elif (folder / FILE).is_file():
        (folder / FILE).unlink()
    log.info("%s: %.1f MB, logits differ by at most %.1e", folder, graph.stat().st_size / 1e6, apart)
    return folder


def write_graph(whole: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    """Write the graph with a batch of any size."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise DfdError(f"{error.name} is missing: exporting needs pip install 'dfd[export]'") from error
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            whole.cpu().float(),
            (torch.rand(2, *shape),),
            input_names=["pixels"],
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=False)


def difference(whole: nn.Module, other: Detector, shape: tuple[int, ...]) -> float:
    """Return by how much the logits of both differ at most, over batches of one and of three."""
    random = torch.Generator().manual_seed(0)
    largest = 0.0
    for count in (1, 3):
        pixels = torch.rand(count, *shape, generator=random)
        with torch.inference_mode():
            expected, found = whole(pixels)[0], other(pixels).logits
        largest = max(largest, float((expected - found).abs().max()))
    return largest


def _reduce(graph: Path, precision: Precision) -> None:
    """Make the weights of a graph smaller, in place."""
    import onnx

    if precision == "fp16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(graph), keep_io_types=True), graph)
        return
    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole = graph.with_suffix(".fp32.onnx")
    shutil.move(graph, whole)
    try:
        quantize_dynamic(whole, graph, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"])
    finally:
        whole.unlink()


def _describe(folder: Path, card: Card, checkpoint: Path, precision: Precision, backend: Backend, apart: float) -> None:
    described: dict[str, Any] = {
        "format": FORMAT,
        "card": replace(card).to_plain(),
        "sha256": sha256(folder / GRAPH),
        "precision": precision,
        "backend": backend,
        "difference": apart,
        "opset": OPSET,
        "checkpoint": checkpoint.name,
        "written": time.strftime("%Y-%m-%d %H:%M"),
        "torch": torch.__version__,
    }
    (folder / BUNDLE).write_text(json.dumps(described, indent=2, default=np.ndarray.tolist), encoding="utf-8")
