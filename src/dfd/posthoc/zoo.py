"""Every post-hoc detector by name: what it needs, what may be tuned, and how it is fitted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from dfd.core.bank import FeatureBank, Fitted, Head
from dfd.core.errors import DfdError, did_you_mean
from dfd.metrics.ranking import roc_auc
from dfd.posthoc import distances as d
from dfd.posthoc import external
from dfd.posthoc import logits as z
from dfd.posthoc import shaping as s

Fit = Callable[..., z.State]
Score = Callable[..., np.ndarray]


@dataclass(frozen=True)
class PostHoc:
    """A detector: `fit(bank, head, **options)` on training views, `score(bank, head, state, **options)` on any.

    The first value of every option in the grids is its default; the others are tried where there is something to tune
    on. `needs` names extra columns of the bank; `linear` asks for a head that is one linear layer, `positive` for
    activations that are never negative.
    """

    score: Score
    fit: Fit = z.fit_nothing
    fit_grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    score_grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    needs: str | None = None
    linear: bool = False
    positive: bool = False

    def options(self) -> Iterator[dict[str, Any]]:
        """Yield the defaults, then every other combination of the grids."""
        grid = {**self.fit_grid, **self.score_grid}
        return (dict(zip(grid, values, strict=True)) for values in product(*grid.values()))


def _column(bank: FeatureBank, head: Head, state: z.State, name: str, sign: float = 1.0) -> np.ndarray:
    return sign * bank.extra[name].astype(float)


MAHALANOBIS = {"fit": d.fit_mahalanobis, "fit_grid": {"classes": ("label", "source")}}
SHAPING: dict[str, Any] = {"score_grid": {"percentile": (65.0, 80.0, 90.0)}, "linear": True, "positive": True}
VIM: dict[str, Any] = {"fit": d.fit_vim, "fit_grid": {"keep": (0.5, 0.25, 0.75)}, "linear": True}
ZOO: dict[str, PostHoc] = {
    "msp": PostHoc(z.msp),
    "max_logit": PostHoc(z.max_logit),
    "energy": PostHoc(z.energy),
    "entropy": PostHoc(z.entropy),
    "gen": PostHoc(z.gen),
    "klm": PostHoc(z.klm, z.fit_klm),
    "odin": PostHoc(z.odin, score_grid={"step": (1, 0, 2)}, needs="odin"),
    "mahalanobis": PostHoc(d.mahalanobis, **MAHALANOBIS),  # type: ignore[arg-type]
    "relative_mahalanobis": PostHoc(d.relative_mahalanobis, **MAHALANOBIS),  # type: ignore[arg-type]
    "knn": PostHoc(d.knn, d.fit_knn, score_grid={"k": (50, 1, 10)}),
    "vim": PostHoc(d.vim, **VIM),
    "residual": PostHoc(d.residual, **VIM),
    "react": PostHoc(s.react, s.fit_react, {"percentile": (90.0, 80.0, 95.0, 99.0)}, linear=True),
    "ash": PostHoc(s.ash, **SHAPING),
    "scale": PostHoc(s.scale, **SHAPING),
    "dice": PostHoc(s.dice, s.fit_dice, {"drop": (0.7, 0.5, 0.9)}, linear=True),
    "grad_norm": PostHoc(z.grad_norm),
    "she": PostHoc(d.she, d.fit_she),
    "fdbd": PostHoc(d.fdbd, d.fit_fdbd, linear=True),
    "pictures": PostHoc(d.pictures, d.fit_pictures, needs="pictures"),
    "mc_dropout": PostHoc(z.mc_dropout, needs="mc_dropout"),
    "disagreement": PostHoc(z.disagreement, needs="mc_dropout"),
    "ensemble": PostHoc(z.ensemble, needs="ensemble"),
    "reconstruction": PostHoc(partial(_column, name="reconstruction"), needs="reconstruction"),
    "confidence": PostHoc(partial(_column, name="confidence", sign=-1.0), needs="confidence"),
    "abnormality": PostHoc(partial(_column, name="abnormality"), needs="abnormality"),
}
WHERE = {
    "odin": "ask for odin when the bank is made",
    "pictures": "ask for pictures when the bank is made",
    "mc_dropout": "the network has no dropout",
    "ensemble": "name more runs with ensemble=[...]",
    "reconstruction": "the network reconstructs nothing",
    "confidence": "the network has no confidence branch",
    "abnormality": "evaluate a run of model=abnormality",
}


def detectors(names: str | Sequence[str]) -> list[str]:
    """Return the detectors that a choice stands for: `all` of dfd's own, one name or a list of them."""
    chosen = list(ZOO) if names == "all" else [names] if isinstance(names, str) else list(names)
    for name in chosen:
        find(name)
    return list(dict.fromkeys(chosen))


def find(name: str) -> PostHoc:
    """Return a detector of the zoo, or one of pytorch-ood."""
    if name.startswith(external.PREFIX):
        return PostHoc(**external.parts(name), linear=True)
    if name not in ZOO:
        raise DfdError(f"posthoc: no detector {name!r}{did_you_mean(name, ZOO)}; there are {', '.join(ZOO)}")
    return ZOO[name]


def why_not(name: str, bank: FeatureBank, head: Head | None) -> str | None:
    """Return why a detector cannot be used on such a bank, or None."""
    detector = find(name)
    if detector.needs and detector.needs not in bank.extra:
        return WHERE[detector.needs]
    if detector.linear and head is None:
        return "the network's last layer is not linear"
    if detector.positive and bank.features.min() < 0:
        return f"it assumes activations that are never negative, the smallest here is {bank.features.min():.3g}"
    return None


def fit(name: str, train: FeatureBank, head: Head, tune: tuple[FeatureBank, FeatureBank] | None = None) -> Fitted:
    """Fit a detector on training views; of its options take those that best tell `tune`'s two banks apart.

    These are validation views and synthetic outliers made of validation views: never the out-of-distribution test.
    """
    detector = find(name)
    best: tuple[float, Fitted] | None = None
    for options in detector.options():
        fitting = {key: value for key, value in options.items() if key in detector.fit_grid}
        fitted = Fitted(name, options, detector.fit(train, head, **fitting), head)
        if tune is None:
            return fitted
        value = _separation(fitted, *tune)
        if best is None or value > best[0] + 1e-9:
            best = (value, fitted)
        if not (detector.fit_grid or detector.score_grid):
            break
    assert best is not None
    return best[1]


def score(fitted: Fitted, bank: FeatureBank) -> np.ndarray:
    """Return the OOD score of each view, (N,)."""
    detector = find(fitted.name)
    options = {key: value for key, value in fitted.options.items() if key in detector.score_grid}
    return np.asarray(detector.score(bank, fitted.head, dict(fitted.state), **options), float)


def _separation(fitted: Fitted, inside: FeatureBank, outside: FeatureBank) -> float:
    scores = np.concatenate([score(fitted, inside), score(fitted, outside)])
    return roc_auc(np.repeat([0, 1], [len(inside), len(outside)]), scores)
