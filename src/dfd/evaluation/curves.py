"""The figures of one evaluation: ROC, precision and recall, DET, scores, reliability, training."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from dfd.evaluation.figures import Line, histogram, lines, reliability
from dfd.evaluation.operating import Operating
from dfd.evaluation.protocol import Protocol
from dfd.metrics import probabilities
from dfd.metrics.bootstrap import band, resample
from dfd.metrics.measures import OfCounts
from dfd.metrics.ranking import pr_curve, precision_at, recall_at, roc_curve

GRID = np.linspace(0, 1, 101)
DET_GRID = np.concatenate([np.geomspace(0.001, 0.1, 40), np.linspace(0.11, 0.6, 50)])
DET_TICKS = (0.001, 0.01, 0.05, 0.2, 0.5)
DRAWS = 400  # behind a band, which is looked at and not read off

Figure = tuple[str, str]


def figures(
    videos: pd.DataFrame, protocol: Protocol, facts: Mapping[str, Any], operating: Operating | None
) -> list[Figure]:
    """Return titles and drawings, those about ranking first."""
    labels, scores = videos["label"].to_numpy(), videos["score"].to_numpy()
    drawn = [*_ranking(videos, protocol)] if len(set(labels)) == 2 else []
    groups = [("a", "real", scores[labels == 0]), ("b", "fake", scores[labels == 1])]
    drawn.append(("Scores of videos", histogram([g for g in groups if len(g[2])], "score (up = more fake)")))
    if probabilities.are_probabilities(scores):
        drawn.append(("Reliability of videos", _reliability(labels, scores, operating)))
    return drawn + _training(facts.get("history", []))


def _ranking(videos: pd.DataFrame, protocol: Protocol) -> list[Figure]:
    labels, scores, groups = (videos[name].to_numpy() for name in ("label", "score", "group"))
    wanted = {
        "roc": OfCounts(partial(recall_at, fpr=GRID)),
        "pr": OfCounts(partial(precision_at, recall=GRID)),
        "det": OfCounts(partial(recall_at, fpr=DET_GRID)),
    }
    drawn = resample(wanted, labels, scores, groups, resamples=min(DRAWS, protocol.resamples))
    bands = {name: band(values, protocol.confidence) for name, values in drawn.items()}
    fpr, tpr, _ = roc_curve(labels, scores)
    precision, recall, _ = pr_curve(labels, scores)
    share = float(labels.mean())
    roc = [Line([0, 1], [0, 1], "muted", "chance"), Line(fpr, tpr, "a", "ROC")]
    pr = [Line([0, 1], [share, share], "muted", "chance"), Line(recall, precision, "a", "precision")]
    for curves, name in ((roc, "roc"), (pr, "pr")):
        if name in bands:
            low, high = bands[name]
            curves.insert(0, Line(GRID, low, "a ghost", "", (low, high)))  # the band alone
    return [
        ("ROC of videos", lines(roc, "false positive rate", "true positive rate")),
        ("Precision and recall of videos", lines(pr, "recall", "precision", x_range=(0, 1))),
        ("DET of videos", _det(fpr, tpr, bands.get("det"))),
    ]


def _det(fpr: np.ndarray, tpr: np.ndarray, limits_of: np.ndarray | None) -> str:
    """Draw misses over false alarms on normal deviates, where a Gaussian detector is a straight line."""
    limits = norm.ppf(0.001), norm.ppf(0.6)

    def scale(rate: np.ndarray) -> np.ndarray:
        return norm.ppf(np.clip(rate, 1e-4, 0.9))

    curves = [Line(limits, limits, "muted", "equal errors"), Line(scale(fpr), scale(1 - tpr), "a", "DET")]
    if limits_of is not None:
        high, low = (scale(1 - side) for side in limits_of)
        curves.insert(0, Line(scale(DET_GRID), low, "a ghost", "", (low, high)))
    ticks = [(float(norm.ppf(rate)), f"{100 * rate:g} %") for rate in DET_TICKS]
    return lines(curves, "false positive rate", "misses", limits, limits, (ticks, ticks))


def _reliability(labels: np.ndarray, scores: np.ndarray, operating: Operating | None) -> str:
    bins = int(np.clip(len(labels) // 10, 4, 15))
    groups = [("muted", "as it is", *probabilities.reliability(labels, scores, bins))]
    if operating is not None and operating.chosen != "none":
        calibrated = operating.calibrate(scores)
        groups.append(("a", operating.chosen, *probabilities.reliability(labels, calibrated, bins)))
    else:
        groups[0] = ("a", *groups[0][1:])
    return reliability(groups)


def _training(history: Sequence[Mapping[str, Any]]) -> list[Figure]:
    epochs = [epoch for epoch in history if "epoch" in epoch]
    curves = [
        Line([e["epoch"] for e in epochs if key in e], [e[key] for e in epochs if key in e], style, key)
        for key, style in (("train/loss", "a"), ("val/loss", "muted"), ("val/auc", "b"))
        if any(key in e for e in epochs)
    ]
    if not curves:
        return []
    curves += _best(epochs)
    top = max(1.0, max(float(np.nanmax(np.asarray(curve.y, float))) for curve in curves))
    return [("Training", lines(curves, "epoch", "loss and AUC", (0, top)))]


def _best(epochs: Sequence[Mapping[str, Any]]) -> list[Line]:
    """Mark the epochs whose checkpoints count: the highest validation AUC, the lowest validation loss."""
    marked = []
    for key, sign, style in (("val/auc", 1, "b"), ("val/loss", -1, "a")):
        values = np.array([sign * epoch.get(key, np.nan) for epoch in epochs], float)
        if np.isfinite(values).any():
            best = epochs[int(np.nanargmax(values))]
            words = f"best {key} {best[key]:.3f} (epoch {int(best['epoch'])})"
            marked.append(Line([best["epoch"]], [best[key]], style, words))
    return marked
