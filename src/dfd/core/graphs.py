"""ONNX graphs, run by onnxruntime or by OpenVINO; both are extras."""

from pathlib import Path
from typing import Any

from dfd.core.errors import DfdError


def open_graph(path: Path, users: str, refusal: str, threads: int = 0, cuda: bool = True) -> Any:
    """Return the session of an ONNX graph.

    Args:
        path: of the graph.
        users: "bundles are": who is run by onnxruntime, for the error where it is missing.
        refusal: of a graph that cannot be run, with {why}.
        threads: of one operation; 0: all cores.
        cuda: whether a GPU is taken where there is one.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise DfdError(f"{users} run by onnxruntime, which is an extra: pip install 'dfd[export]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider") if cuda else ("CPUExecutionProvider",)
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # of onnxruntime's own kinds
        raise _refused(refusal, error) from error


def open_compiled(path: Path, users: str, refusal: str, threads: int = 0) -> Any:
    """Return an ONNX graph compiled by OpenVINO for the CPU, in single precision; the arguments of `open_graph`."""
    try:
        import openvino
    except ImportError as error:
        raise DfdError(f"{users} run by OpenVINO, which is an extra: pip install 'dfd[openvino]'") from error
    # without the hint it computes in bfloat16 where the CPU can, and no longer gives the network's answers
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    try:
        core = openvino.Core()
        return core.compile_model(core.read_model(path), "CPU", options)
    except Exception as error:  # of OpenVINO's own kinds
        raise _refused(refusal, error) from error


def _refused(refusal: str, error: Exception) -> DfdError:
    return DfdError(refusal.replace("{why}", " ".join(str(error).split())[:200]))
