"""Bundles: a detector as an ONNX graph, with the card of its run; read where a run is, and run by onnxruntime."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dfd.core.card import Card
from dfd.core.digest import sha256
from dfd.core.errors import DfdError
from dfd.core.onnx import open_graph
from dfd.core.records import InputSpec, input_from_dict
from dfd.core.run_folder import BUNDLE
from dfd.models.base import Detector

GRAPH = "model.onnx"
FORMAT = 1
LARGEST = 4 * 2**20  # bytes of a bundle.json


class ScoredOutput(NamedTuple):
    """What a graph answers: logits, features, and how fake each view looks."""

    logits: Tensor
    features: Tensor
    scores: Tensor


class OnnxDetector(Detector):
    """A detector whose network is an ONNX graph: RGB in [0, 1] to logits, features and scores; it cannot be trained."""

    def __init__(self, graph: Path, input: InputSpec, threads: int = 0) -> None:
        super().__init__(input, f"bundle: {graph.parent.name}")
        refusal = f"{graph} cannot be run ({{why}}): export it again"
        self._session = open_graph(graph, "bundles are", refusal, threads)
        self._takes = self._session.get_inputs()[0]

    def forward(self, pixels: Tensor) -> ScoredOutput:  # type: ignore[override]
        """Answer by the graph."""
        kind = np.float16 if self._takes.type == "tensor(float16)" else np.float32
        values = pixels.detach().cpu().numpy().astype(kind)
        answers = self._session.run(["logits", "features", "score"], {self._takes.name: values})
        return ScoredOutput(*(torch.from_numpy(answer.astype(np.float32)).to(pixels.device) for answer in answers))

    def score(self, output: Any) -> Tensor:
        """Return the scores that the graph computed."""
        return output.scores

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnnxDetector":
        return self  # there is nothing in it that could change


def is_bundle(path: Path) -> bool:
    """Whether a path is a bundle's folder or its description."""
    return path.name == BUNDLE or (path / BUNDLE).is_file()


def read_description(path: Path) -> tuple[str, Card]:
    """Return the hash of a bundle's graph, and its card."""
    if path.stat().st_size > LARGEST:
        raise DfdError(f"{path} is larger than {LARGEST // 2**20} MiB: that is not the description of a bundle")
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        number, wanted, card = described["format"], described["sha256"], Card.of(described["card"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DfdError(f"{path} does not describe a bundle of dfd ({type(error).__name__}: {error})") from error
    if number != FORMAT:
        raise DfdError(f"{path} has format {number}, this version of dfd reads {FORMAT}: update dfd, or export again")
    return str(wanted), card


def read_bundle(path: Path) -> tuple[OnnxDetector, Card]:
    """Read a bundle from its description; a graph that was changed since is refused."""
    wanted, card = read_description(path)
    spec = input_from_dict(card.input)
    graph = path.parent / GRAPH
    if not graph.is_file():
        raise DfdError(f"{path.parent} lacks {GRAPH}: copy the whole folder")
    found = sha256(graph)
    if found != wanted:
        raise DfdError(f"{graph} is not the graph that was exported (sha256 {found[:12]}, expected {wanted[:12]})")
    if not isinstance(spec, InputSpec):
        raise DfdError(f"{path}: a bundle judges images or clips, not {card.input.get('kind')!r}")
    network = OnnxDetector(graph, spec)
    network.initialised_from = card.initialised_from
    return network.eval(), card
