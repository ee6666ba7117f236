"""A prediction table to numbers: per frame and per video, overall and per manipulation, each with an interval."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from dfd.core.predictions import tidy
from dfd.metrics.bootstrap import Interval, Metric, group_bootstrap
from dfd.metrics.decisions import accuracy, log_loss
from dfd.metrics.ranking import average_precision, eer, roc_auc

REAL = "real"
NAMES = {"auc": "AUC", "ap": "AP", "eer": "EER", "accuracy": "acc", "log_loss": "log loss"}


@dataclass(frozen=True)
class Number:
    """A metric and, where it could be had, its 95 % interval."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    def short(self) -> str:
        """Return the value alone."""
        return "-" if np.isnan(self.value) else f"{self.value:.3f}"

    def __str__(self) -> str:
        return self.short() + ("" if np.isnan(self.low) else f" [{self.low:.3f}, {self.high:.3f}]")


Numbers = dict[str, Number]


@dataclass(frozen=True)
class Evaluation:
    """Everything a report says about one prediction table; `methods` holds each forgery against all reals, by video."""

    video: Numbers
    frame: Numbers
    methods: dict[str, Numbers]
    counts: dict[str, int]
    threshold: float
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """Return JSON; what is undefined is null."""
        return json.dumps(_nan_to_none(asdict(self)), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Evaluation":
        """Read what `to_json` wrote."""
        data = json.loads(text)
        methods = {name: _numbers(values) for name, values in data["methods"].items()}
        return cls(**data | {"video": _numbers(data["video"]), "frame": _numbers(data["frame"]), "methods": methods})


def by_video(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per video: the mean of its scores, with label, method and group."""
    columns = {"score": ("score", "mean"), "rows": ("score", "size")}
    columns |= {name: (name, "first") for name in ("label", "method", "group", "dataset")}
    return table.groupby("video", sort=True).agg(**columns).reset_index()  # type: ignore[call-overload]


def evaluate(table: pd.DataFrame, *, threshold: float = 0.5, resamples: int = 1000, seed: int = 0) -> Evaluation:
    """Evaluate a prediction table; intervals resample groups."""
    given = len(table)
    table = tidy(table)
    videos = by_video(table)
    notes = [f"{given - len(table)} repeated rows were dropped"] if given > len(table) else []
    counts = {
        "rows": len(table),
        "videos": len(videos),
        "real": int((videos["label"] == 0).sum()),
        "fake": int((videos["label"] == 1).sum()),
        "groups": int(videos["group"].nunique()),
    }
    notes += _remarks(counts)
    measure = partial(_measure, threshold=threshold, resamples=resamples, seed=seed)
    video, useless = measure(videos)
    if useless:
        notes.append(f"{useless} of {resamples} resamples held one class only and were left out of the intervals")
    reals = videos[videos["label"] == 0]
    fakes = sorted(set(videos.loc[videos["label"] == 1, "method"]))
    per_method = {
        m: measure(pd.concat([reals, videos[(videos["method"] == m) & (videos["label"] == 1)]]))[0] for m in fakes
    }
    return Evaluation(video, measure(table)[0], per_method, counts, threshold, notes)


def _measure(table: pd.DataFrame, threshold: float, resamples: int, seed: int) -> tuple[Numbers, int]:
    metrics: dict[str, Metric] = {
        "auc": roc_auc,
        "ap": average_precision,
        "eer": eer,
        "accuracy": partial(accuracy, threshold=threshold),
        "log_loss": log_loss,
    }
    labels, scores, groups = (table[name].to_numpy() for name in ("label", "score", "group"))
    intervals, useless = group_bootstrap(metrics, labels, scores, groups, resamples=resamples, seed=seed)
    numbers = {}
    for name, metric in metrics.items():
        value = metric(labels, scores, np.ones(len(labels)))
        low, high = intervals.get(name, Interval(np.nan, np.nan)) if not np.isnan(value) else (np.nan, np.nan)
        numbers[name] = Number(value, low, high)
    return numbers, useless


def _remarks(counts: Mapping[str, int]) -> list[str]:
    remarks = []
    if not counts["real"] or not counts["fake"]:
        only = "fake" if not counts["real"] else "real"
        remarks.append(f"AUC, AP and EER are undefined: the table holds only {only} videos ({counts['videos']})")
    if counts["groups"] < 2:
        remarks.append("no intervals: all videos belong to one group, there is nothing to resample")
    elif counts["groups"] < 10:
        remarks.append(f"intervals rest on {counts['groups']} groups only: take them as rough")
    return remarks


def _numbers(values: Mapping[str, Mapping[str, float | None]]) -> Numbers:
    return {
        name: Number(**{key: float("nan") if v is None else v for key, v in number.items()})
        for name, number in values.items()
    }


def _nan_to_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _nan_to_none(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_nan_to_none(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
