"""Bundles: a detector as an ONNX graph, with the card of its run; read where a run is, run without torch's layers."""

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from dfd.core.card import Card
from dfd.core.digest import sha256
from dfd.core.errors import DfdError
from dfd.core.graphs import open_compiled, open_graph
from dfd.core.records import InputSpec, input_from_dict
from dfd.core.run_folder import BUNDLE
from dfd.models.base import Detector

Backend = Literal["onnx", "openvino"]
GRAPH = "model.onnx"
OUTPUTS = ("logits", "features", "score")
FORMAT = 1
LARGEST = 4 * 2**20  # bytes of a bundle.json


class ScoredOutput(NamedTuple):
    """What a graph answers: logits, features, and how fake each view looks."""

    logits: Tensor
    features: Tensor
    scores: Tensor


class GraphDetector(Detector):
    """A detector whose network is an ONNX graph: RGB in [0, 1] to logits, features and scores; it cannot be trained.

    Args:
        graph: the file.
        input: what the network is shown.
        backend: `onnx`: run by onnxruntime, on a GPU where it has one; `openvino`: by OpenVINO, on the CPU.
        threads: of one forward pass; 0: all cores.
    """

    def __init__(self, graph: Path, input: InputSpec, backend: Backend = "onnx", threads: int = 0) -> None:
        super().__init__(input, f"bundle: {graph.parent.name}")
        refusal = f"{graph} cannot be run by backend={backend} ({{why}}): export it again"
        if backend == "onnx":
            session = open_graph(graph, "bundles are", refusal, threads)
            self._run = lambda pixels: session.run(OUTPUTS, {"pixels": pixels})
        else:
            compiled = open_compiled(graph, "this bundle is", refusal, threads)
            self._run = lambda pixels: compiled(pixels).to_tuple()

    def forward(self, pixels: Tensor) -> ScoredOutput:  # type: ignore[override]
        """Answer by the graph."""
        answers = self._run(pixels.detach().cpu().float().numpy())
        return ScoredOutput(*(torch.from_numpy(np.array(answer)).to(pixels.device) for answer in answers))

    def score(self, output: Any) -> Tensor:
        """Return the scores that the graph computed."""
        return output.scores

    def __deepcopy__(self, memo: dict[int, Any]) -> "GraphDetector":
        return self  # there is nothing in it that could change


def is_bundle(path: Path) -> bool:
    """Whether a path is a bundle's folder or its description."""
    return path.name == BUNDLE or (path / BUNDLE).is_file()


class Description(NamedTuple):
    """What a bundle says of itself: the hash of its graph, what runs it, and the card of the run."""

    sha256: str
    backend: Backend
    card: Card


def read_description(path: Path) -> Description:
    """Read a bundle's description."""
    if path.stat().st_size > LARGEST:
        raise DfdError(f"{path} is larger than {LARGEST // 2**20} MiB: that is not the description of a bundle")
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        number, wanted, card = described["format"], str(described["sha256"]), Card.of(described["card"])
        backend = described.get("backend", "onnx")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DfdError(f"{path} does not describe a bundle of dfd ({type(error).__name__}: {error})") from error
    if number != FORMAT:
        raise DfdError(f"{path} has format {number}, this version of dfd reads {FORMAT}: update dfd, or export again")
    if backend not in get_args(Backend):
        raise DfdError(f"{path} asks for backend={backend!r}, this version of dfd has {', '.join(get_args(Backend))}")
    return Description(wanted, backend, card)


def read_bundle(path: Path) -> tuple[GraphDetector, Card]:
    """Read a bundle from its description; a graph that was changed since is refused."""
    wanted, backend, card = read_description(path)
    spec = input_from_dict(card.input)
    graph = path.parent / GRAPH
    if not graph.is_file():
        raise DfdError(f"{path.parent} lacks {GRAPH}: copy the whole folder")
    found = sha256(graph)
    if found != wanted:
        raise DfdError(f"{graph} is not the graph that was exported (sha256 {found[:12]}, expected {wanted[:12]})")
    if not isinstance(spec, InputSpec):
        raise DfdError(f"{path}: a bundle judges images or clips, not {card.input.get('kind')!r}")
    network = GraphDetector(graph, spec, backend)
    network.initialised_from = card.initialised_from
    return network.eval(), card
