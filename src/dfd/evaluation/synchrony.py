"""Numbers of talking faces: how exact delays are, and categories of fakes as papers on FakeAVCeleb report them."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from dfd.core.delays import probabilities
from dfd.evaluation.protocol import Protocol
from dfd.metrics.delays import accuracy, by_category, common_offset, together
from dfd.metrics.intervals import group_interval
from dfd.metrics.pooling import pool_scores
from dfd.metrics.ranking import average_precision, roc_auc

QUIET = -50.0  # dB: windows below it have nothing to be compared with
SYNCHRONY, CATEGORIES = "synchrony.json", "categories.json"


def delay_numbers(table: pd.DataFrame) -> dict[str, Any]:
    """Return how exact the likeliest delay of real windows is, with intervals over people; all windows, and voiced."""
    real = table[table["label"] == 0]
    found: dict[str, Any] = {"videos": int(real["video"].nunique()), "windows": len(real)}
    joint = np.concatenate([together(probabilities(rows)) for _, rows in real.groupby("video", sort=True)])
    ordered = real.sort_values("video", kind="stable")
    voiced = real[real["loudness"] > QUIET]
    for name, rows, found_there in (
        ("all", real, probabilities(real)),
        ("voiced", voiced, probabilities(voiced)),
        ("five together", ordered, joint),
    ):
        error = np.abs(found_there.argmax(1) - found_there.shape[1] // 2)
        numbers: dict[str, Any] = {"windows": len(rows), **accuracy(found_there)}
        if rows["group"].nunique() > 1:
            for key, hits in (("exact", error == 0), ("within1", error <= 1)):
                _, (low, high) = group_interval(partial(_share, hits), rows["group"].to_numpy())
                numbers[f"{key}_interval"] = [low, high]
        found[name] = numbers
    offsets = {video: common_offset(probabilities(rows)) for video, rows in table.groupby("video")}
    found["offsets"] = {
        str(offset): sum(o == offset for o in offsets.values()) for offset in sorted(set(offsets.values()))
    }
    return found


def _share(hits: np.ndarray, kept: np.ndarray) -> float:
    return float(hits[kept].mean())


def delay_table(numbers: Mapping[str, Any], title: str) -> Table:
    """Return the numbers for the terminal."""
    table = Table(title=title)
    for column in ("windows", "count", "exact", "within 1 frame", "mean |delay| in frames"):
        table.add_column(column, justify="left" if column == "windows" else "right")
    for name in ("all", "voiced", "five together"):
        row = numbers[name]
        near = f"{row['within1']:.3f}"
        if "within1_interval" in row:
            near += " [{:.3f}, {:.3f}]".format(*row["within1_interval"])
        table.add_row(name, str(row["windows"]), f"{row['exact']:.3f}", near, f"{row['mean_abs']:.2f}")
    return table


def category_numbers(table: pd.DataFrame, protocol: Protocol) -> dict[str, dict[str, float]]:
    """Return AP and AUC of every category of fakes against plain real videos, with intervals of AUC over people.

    The means are AVG-FV (categories with forged pictures) and AVG-ALL; `innocent` are real clips with something odd
    about them, as if they were fakes: 0.5 is what one wants there.
    """
    videos = table.groupby("video", sort=True).agg(
        label=("label", "first"), method=("method", "first"), group=("group", "first")
    )
    member = table["video"].map({name: place for place, name in enumerate(videos.index)}).to_numpy()
    score = pool_scores(member, table["score"].to_numpy(float), protocol.pool)
    labels, methods = videos["label"].to_numpy(), videos["method"].tolist()
    metric = {"ap": average_precision, "auc": roc_auc}
    found = by_category(score, labels, methods, metric)
    names, groups = np.array(methods, object), videos["group"].to_numpy()
    for name in found:

        def auc(kept: np.ndarray, name: str = name) -> float:
            inside = by_category(score[kept], labels[kept], names[kept].tolist(), {"auc": roc_auc})
            return inside[name]["auc"] if name in inside else float("nan")

        try:
            _, (low, high) = group_interval(auc, groups)
        except ValueError:
            low = high = float("nan")
        found[name] |= {"auc_low": low, "auc_high": high}
    return found


def category_table(numbers: Mapping[str, Mapping[str, float]], title: str) -> Table:
    """Return the categories for the terminal."""
    table = Table(title=title, caption="each against plain real videos; innocent ones are real: 0.5 is right for them")
    for column in ("category", "AP", "AUC"):
        table.add_column(column, justify="left" if column == "category" else "right")
    for name in sorted(numbers, key=lambda name: (name.startswith("AVG"), name.startswith("innocent"), name)):
        row = numbers[name]
        table.add_row(name, f"{row['ap']:.3f}", f"{row['auc']:.3f} [{row['auc_low']:.3f}, {row['auc_high']:.3f}]")
    return table


def write_numbers(folder: Path, name: str, numbers: Mapping[str, Any]) -> Path:
    """Write numbers as JSON; what is not a number is null."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(json.dumps(_plain(numbers), indent=1))
    return path


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and value != value else value
