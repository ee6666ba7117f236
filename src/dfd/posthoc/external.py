"""Detectors of pytorch-ood (Apache-2.0, an extra) on a feature bank: `pytorch_ood.NNGuide` in a list of detectors.

What was fitted is kept as the arrays that it was fitted on, so that it can be written without pickling objects.
"""

import importlib
import inspect
from functools import partial
from typing import Any

import numpy as np

from dfd.core.bank import FeatureBank, Head
from dfd.core.errors import DfdError, did_you_mean
from dfd.posthoc.logits import State

PREFIX = "pytorch_ood."
INPUTS = {"LogitsDetector": "logits", "FeaturesDetector": "features"}


def find(name: str) -> type:
    """Return a detector's class, if it works on logits or features and its package is there."""
    short = name.removeprefix(PREFIX)
    try:
        package = importlib.import_module("pytorch_ood.detector")
    except ModuleNotFoundError as error:
        raise DfdError(f"posthoc: {name} needs the extra ood: pip install -e '.[ood]'") from error
    kind = getattr(package, short, None)
    if not inspect.isclass(kind):
        raise DfdError(f"posthoc: pytorch-ood has no detector {short!r}{did_you_mean(short, dir(package))}")
    if _input(kind) is None:
        raise DfdError(f"posthoc: {name} needs more than logits or features: use dfd's own where there is one")
    return kind


def fit(bank: FeatureBank, head: Head, name: str) -> State:
    """Keep what the detector is fitted on."""
    return {"logits": bank.logits, "features": bank.features, "label": np.asarray(bank.label)}


def score(bank: FeatureBank, head: Head, state: State, name: str) -> np.ndarray:
    """Fit a detector and return its scores, which grow with abnormality as ours do."""
    torch: Any = importlib.import_module("torch")
    kind = find(name)
    shown = _input(kind)
    detector = kind(**_arguments(kind, head, torch))
    if detector.requires_fit:
        labels = torch.from_numpy(state["label"]).long()
        getattr(detector, f"fit_{shown}")(torch.from_numpy(state[str(shown)]), labels)
    scores = getattr(detector, f"predict_{shown}")(torch.from_numpy(getattr(bank, str(shown))))
    return scores.detach().double().numpy()


def parts(name: str) -> dict[str, Any]:
    """Return the two functions of a detector."""
    find(name)
    return {"score": partial(score, name=name), "fit": partial(fit, name=name)}


def _input(kind: type) -> str | None:
    return next((INPUTS[base.__name__] for base in kind.__mro__ if base.__name__ in INPUTS), None)


def _arguments(kind: type, head: Head, torch: Any) -> dict[str, Any]:
    """Return what a constructor needs and a bank can give; the rest keeps its defaults."""
    weight, bias = (torch.tensor(part, dtype=torch.float32) for part in head)
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight.data, linear.bias.data = weight, bias
    known = {"w": weight, "b": bias, "head": linear, "model": None, "encoder": None, "d": max(1, weight.shape[1] // 2)}
    known |= {"p": 0.7, "num_classes": len(bias)}
    needed = inspect.signature(kind).parameters
    return {
        name: known[name] for name in needed if name in known and (name in ("w", "b", "head") or _needs(needed[name]))
    }


def _needs(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty
