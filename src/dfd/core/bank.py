"""The feature bank: what one pass of a network leaves of N views, and all that post-hoc scores need."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dfd.core.errors import DfdError


class Head(NamedTuple):
    """The last linear layer as numbers: weight (K, D) and bias (K,), `logits = features @ weight.T + bias`."""

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class FeatureBank:
    """Arrays of one length N: logits (N, K), K >= 2, and features (N, D), the exact input of the last linear layer.

    `label` is the class, `source` where a view comes from (generator, manipulation, dataset), `group` what a bootstrap
    resamples. `extra` holds what only some networks or scores have: a residual (N,), logits of perturbed views
    (N, E, K).
    """

    logits: np.ndarray
    features: np.ndarray
    label: np.ndarray
    video: np.ndarray
    source: np.ndarray
    group: np.ndarray
    t: np.ndarray
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.logits)

    def take(self, rows: np.ndarray) -> "FeatureBank":
        """Return some of the rows."""
        columns = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "extra"}
        return replace(self, **columns, extra={name: values[rows] for name, values in self.extra.items()})

    def write(self, path: Path) -> None:
        """Write an npz file; it appears whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        columns: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extra"}
        columns |= {f"extra.{name}": values for name, values in self.extra.items()}
        part = path.with_suffix(".part.npz")
        np.savez(part, **columns)
        part.replace(path)

    @classmethod
    def read(cls, path: Path) -> "FeatureBank":
        """Read what `write` wrote."""
        if not path.is_file():
            raise DfdError(f"no feature bank at {path}: run eval.py with posthoc=[...] first")
        with np.load(path, allow_pickle=False) as file:
            extra = {name.removeprefix("extra."): file[name] for name in file if name.startswith("extra.")}
            return cls(**{f.name: file[f.name] for f in fields(cls) if f.name != "extra"}, extra=extra)


@dataclass(frozen=True)
class Fitted:
    """A post-hoc detector as it was fitted and tuned; `threshold` is the score above which it rejects."""

    name: str
    options: Mapping[str, float | str]
    state: Mapping[str, np.ndarray]
    head: Head
    threshold: float = float("nan")

    def write(self, path: Path) -> None:
        """Write an npz file without pickled objects."""
        path.parent.mkdir(parents=True, exist_ok=True)
        about = json.dumps({"name": self.name, "options": dict(self.options), "threshold": self.threshold})
        state: dict[str, Any] = {f"state.{name}": values for name, values in self.state.items()}
        np.savez(path, about=about, weight=self.head.weight, bias=self.head.bias, **state)

    @classmethod
    def read(cls, path: Path) -> "Fitted":
        """Read what `write` wrote."""
        if not path.is_file():
            raise DfdError(f"no fitted detector at {path}: run eval.py with posthoc=[...] first")
        with np.load(path, allow_pickle=False) as file:
            state = {name.removeprefix("state."): file[name] for name in file if name.startswith("state.")}
            return cls(**json.loads(str(file["about"])), state=state, head=Head(file["weight"], file["bias"]))
