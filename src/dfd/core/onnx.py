"""Sessions of onnxruntime, which is an extra."""

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
        raise DfdError(refusal.replace("{why}", " ".join(str(error).split())[:200])) from error
