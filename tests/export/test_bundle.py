"""Bundles: every detector as a graph, what is checked, what a tampered one leads to, and a run from end to end."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from dfd.core.build import build
from dfd.core.errors import DfdError
from dfd.core.records import input_to_dict
from dfd.core.run_folder import BUNDLE
from dfd.export.bundle import _Whole, difference, export, write_graph
from dfd.inference.engine import Engine
from dfd.models.bundle import GRAPH, GraphDetector
from dfd.models.checkpoint import load_network, read_card, save_network
from dfd.models.meso import MesoInception4
from tests.toys import is_detector, names, toy_model

BACKENDS = ("onnx", "openvino") if find_spec("openvino") else ("onnx",)
MODELS = [name for name in names("model") if is_detector(f"model={name}")]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_detector_answers_the_same_as_a_graph(name, tmp_path):
    torch.manual_seed(0)
    network = build(toy_model(f"model={name}")["network"]).eval()
    if network.looks_at_base:
        pytest.skip("a module over another run is exported with neither")
    whole = _Whole(network.folded().eval())
    write_graph(whole, network.input.shape, tmp_path / GRAPH)
    for backend in BACKENDS:
        found = GraphDetector(tmp_path / GRAPH, network.input, backend)
        assert difference(whole, found, network.input.shape) < 1e-4, backend


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with a checkpoint of a small network."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run")
    (folder / "checkpoints").mkdir()
    tree = {"_target_": "dfd.models.meso.MesoInception4", "size": 32}
    save_network(folder / "checkpoints" / "best.ckpt", MesoInception4(32), tree, model="meso", data="unknown")
    return folder


@pytest.fixture(scope="module")
def bundle(run):
    return export(run)


def test_a_bundle_is_taken_where_a_run_is(run, bundle, tmp_path):
    ours, theirs = load_network(run), load_network(bundle)
    assert input_to_dict(theirs.network.input) == input_to_dict(ours.network.input)
    assert read_card(bundle) == read_card(run) == theirs.card
    pixels = torch.rand(5, 3, 32, 32)
    with torch.inference_mode():
        one, other = ours.network(pixels), theirs.network(pixels)
        assert torch.allclose(ours.network.score(one), theirs.network.score(other), atol=1e-5)
    picture = tmp_path / "noise.png"
    import cv2

    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    results = [Engine.load(path, "cpu").judge(picture) for path in (run, bundle)]
    assert results[0].score == pytest.approx(results[1].score, abs=1e-5)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_smaller_precisions_still_answer(run, bundle, tmp_path, precision):
    folder = export(run, tmp_path / precision, precision)
    described = json.loads((folder / BUNDLE).read_text())
    assert described["precision"] == precision
    assert 0 < described["difference"] < 0.5
    if precision == "fp16":
        assert (folder / GRAPH).stat().st_size < (bundle / GRAPH).stat().st_size


def test_a_bundle_may_ask_for_openvino(run, tmp_path):
    pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install 'dfd[openvino]'")
    folder = export(run, tmp_path / "b", backend="openvino")
    assert json.loads((folder / BUNDLE).read_text())["backend"] == "openvino"
    pixels = torch.rand(5, 3, 32, 32)
    ours, theirs = load_network(run).network, load_network(folder).network
    with torch.inference_mode():
        assert torch.allclose(ours(pixels).logits, theirs(pixels).logits, atol=1e-5)
        assert torch.equal(theirs(pixels[:1]).logits, theirs(pixels[:1]).logits)


def test_an_unknown_backend_is_refused(run, bundle, tmp_path):
    with pytest.raises(DfdError, match="backend=tvm: allowed are onnx, openvino"):
        export(run, tmp_path / "b", backend="tvm")
    described = json.loads((bundle / BUNDLE).read_text())
    (tmp_path / BUNDLE).write_text(json.dumps({**described, "backend": "tvm"}))
    with pytest.raises(DfdError, match="asks for backend='tvm'"):
        load_network(tmp_path)


def test_a_tampered_bundle_is_refused(run, tmp_path):
    folder = export(run, tmp_path / "b")
    graph = folder / GRAPH
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DfdError, match="is not the graph that was exported"):
        load_network(folder)
    graph.unlink()
    with pytest.raises(DfdError, match="copy the whole folder"):
        load_network(folder)
    (folder / BUNDLE).write_text("{}")
    with pytest.raises(DfdError, match="does not describe a bundle"):
        load_network(folder)


def test_what_is_not_exported_is_said(tmp_path):
    from dfd.models.unet import RestorationUnet

    tree = {"_target_": "dfd.models.unet.RestorationUnet", "features": [4], "bottleneck": 8, "size": 16}
    save_network(tmp_path / "a.ckpt", RestorationUnet([4], 8, size=16), tree)
    with pytest.raises(DfdError, match="bundles hold detectors"):
        export(tmp_path / "a.ckpt")
    with pytest.raises(DfdError, match="precision=int4"):
        export(Path(tmp_path), precision="int4")
