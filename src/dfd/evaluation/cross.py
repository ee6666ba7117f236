"""Evaluations side by side: detectors x datasets, and what the AUC of each dataset alone hides."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dfd.core import predictions
from dfd.core.errors import DfdError
from dfd.evaluation.numbers import Number
from dfd.evaluation.protocol import Protocol, units_of
from dfd.evaluation.report import MISSING, PREDICTIONS, read_facts
from dfd.metrics.bootstrap import interval, resample
from dfd.metrics.decisions import decide
from dfd.metrics.measures import OfCounts
from dfd.metrics.ranking import area, count, rates, roc_auc

AUC = {"auc": OfCounts(area)}


@dataclass(frozen=True)
class Crossing:
    """One detector on several datasets.

    `each` holds the AUC per dataset, `macro` their mean, `pooled` the AUC of all videos as one set; `mixed[a][b]` the
    AUC of dataset a's reals against dataset b's fakes; `shared` what one threshold for all does to each.
    """

    each: dict[str, Number]
    macro: Number
    pooled: Number
    mixed: dict[str, dict[str, float]]
    threshold: float
    shared: dict[str, dict[str, float]]
    videos: dict[str, int]


def crossing(
    tables: Mapping[str, pd.DataFrame],
    protocol: Protocol | None = None,
    missing: Mapping[str, pd.DataFrame] | None = None,
    seed: int = 0,
) -> Crossing:
    """Compare one detector's prediction tables of several datasets, by name; `missing` are videos without a row."""
    protocol = protocol or Protocol()
    if len(tables) < 2:
        raise DfdError(f"a matrix needs at least two datasets, got {', '.join(tables) or 'none'}")
    lost = missing or {}
    units = {name: units_of(table, protocol, lost.get(name)) for name, table in tables.items()}
    draws = {name: _resampled(part, protocol, seed + i) for i, (name, part) in enumerate(units.items())}
    each = {name: _number(_auc(part), *draws[name], protocol) for name, part in units.items()}
    # datasets are drawn independently, so the mean of their resamples is a resample of their mean
    drawn = [values for values, _ in draws.values()]
    values = np.mean(drawn, 0) if all(map(len, drawn)) else np.empty(0)
    groups = min(number for _, number in draws.values())
    macro = _number(float(np.mean([number.value for number in each.values()])), values, groups, protocol)
    together = _together(units)
    counts = count(together["label"].to_numpy(), together["score"].to_numpy())
    fpr, tpr = rates(counts)
    threshold = float(counts.thresholds[int(np.argmin(np.abs(fpr[1:] + tpr[1:] - 1)))]) if len(together) else np.nan
    return Crossing(
        each,
        macro,
        _number(_auc(together), *_resampled(together, protocol, seed), protocol),
        {real: {fake: _mixed(units[real], units[fake]) for fake in units} for real in units},
        threshold,
        {name: _at(part, threshold) for name, part in [*units.items(), ("all together", together)]},
        {name: len(part) for name, part in units.items()},
    )


def read_tables(folders: Sequence[Path]) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """Read evaluation folders' prediction tables and videos without a row, by their dataset."""
    found: dict[str, pd.DataFrame] = {}
    missing: dict[str, pd.DataFrame] = {}
    for folder in folders:
        name = str(read_facts(folder).get("dataset", folder.name))
        name = name if name not in found else folder.name
        found[name] = predictions.read(folder / PREDICTIONS)[0]
        if (folder / MISSING).is_file():
            missing[name] = pd.read_parquet(folder / MISSING)
    return found, missing


def plain(crossing: Crossing) -> dict:
    """Return plain values, undefined ones as None."""
    text = json.dumps(asdict(crossing))
    return json.loads(text.replace("NaN", "null"))


def _resampled(units: pd.DataFrame, protocol: Protocol, seed: int) -> tuple[np.ndarray, int]:
    columns = (units[name].to_numpy() for name in ("label", "score", "group"))
    resampled = resample(AUC, *columns, resamples=protocol.resamples, seed=seed)
    return resampled.values.get("auc", np.empty(0)), resampled.groups


def _number(value: float, drawn: np.ndarray, groups: int, protocol: Protocol) -> Number:
    if np.isnan(value) or not len(drawn):
        return Number(value)
    return Number(value, *map(float, interval(drawn, groups, protocol.confidence)))


def _together(units: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Join datasets; a person of one is not a person of another."""
    parts = [part.assign(group=name + "/" + part["group"].astype(str)) for name, part in units.items()]
    return pd.concat(parts, ignore_index=True)


def _auc(units: pd.DataFrame) -> float:
    return roc_auc(units["label"].to_numpy(), units["score"].to_numpy())


def _mixed(reals: pd.DataFrame, fakes: pd.DataFrame) -> float:
    real, fake = reals.loc[reals["label"] == 0, "score"], fakes.loc[fakes["label"] == 1, "score"]
    labels = np.concatenate([np.zeros(len(real)), np.ones(len(fake))])
    return roc_auc(labels, np.concatenate([real, fake])) if len(labels) else float("nan")


def _at(units: pd.DataFrame, threshold: float) -> dict[str, float]:
    d = decide(count(units["label"].to_numpy(), units["score"].to_numpy()), threshold)
    with np.errstate(invalid="ignore", divide="ignore"):
        fpr, tpr = float(d.false / d.reals), float(d.true / d.fakes)
    return {"fpr": fpr, "tpr": tpr, "balanced_accuracy": (1 - fpr + tpr) / 2}
