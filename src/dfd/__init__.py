"""dfd: train, evaluate and ship deepfake detectors.

The commands as functions, for notebooks and scripts: `dfd.train`, `dfd.evaluate`, `dfd.predict`, `dfd.preprocess`,
`dfd.report`; and `dfd.Engine`, which looks at files.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfd.cli.functions import evaluate, predict, preprocess, report, train
    from dfd.inference.engine import Engine

__version__ = "0.1.0"
__all__ = ["Engine", "evaluate", "predict", "preprocess", "report", "train"]


def __getattr__(name: str) -> Any:
    """Import a function when it is first used: `import dfd` costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'dfd' has no attribute {name!r}")
    module = "dfd.inference.engine" if name == "Engine" else "dfd.cli.functions"
    return getattr(importlib.import_module(module), name)
