"""One detector on several datasets: AUC of each, macro average, all as one set, and one threshold for all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dfd.core import predictions
from dfd.core.errors import DfdError
from dfd.evaluation.numbers import Number, donors_of
from dfd.evaluation.protocol import Protocol, units_of
from dfd.evaluation.report import MISSING, PREDICTIONS, read_facts
from dfd.metrics.decisions import balanced, decide, false_rate, true_rate
from dfd.metrics.intervals import Spread, limits, mean_spread
from dfd.metrics.jackknife import can_err, spreads
from dfd.metrics.measures import AUC
from dfd.metrics.ranking import count, rates, roc_auc


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
) -> Crossing:
    """Compare one detector's prediction tables of several datasets, by name; `missing` are videos without a row."""
    protocol = protocol or Protocol()
    if len(tables) < 2:
        raise DfdError(f"a matrix needs at least two datasets, got {', '.join(tables) or 'none'}")
    lost = missing or {}
    units = {name: units_of(table, protocol, lost.get(name)) for name, table in tables.items()}
    found = {name: _auc(part, protocol) for name, part in units.items()}
    each = {name: number for name, (number, _) in found.items()}
    mean = float(np.mean([number.value for number in each.values()]))
    # datasets share nobody, so that the variances of their AUCs add up
    of_mean = mean_spread([spread for _, spread in found.values()])
    macro = Number(mean, *limits(mean, of_mean, "plain", protocol.confidence))
    together = _together(units)
    counts = count(together["label"].to_numpy(), together["score"].to_numpy())
    fpr, tpr = rates(counts)
    threshold = float(counts.thresholds[int(np.argmin(np.abs(fpr[1:] + tpr[1:] - 1)))]) if len(together) else np.nan
    return Crossing(
        each,
        macro,
        _auc(together, protocol)[0],
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


def _auc(units: pd.DataFrame, protocol: Protocol) -> tuple[Number, Spread]:
    """Return the AUC with its interval and standard error."""
    labels, scores, groups = (units[name].to_numpy() for name in ("label", "score", "group"))
    value, found = roc_auc(labels, scores), spreads(AUC, labels, scores, groups, donors_of(units))["auc"]
    return Number(value, *limits(value, found, "logit", protocol.confidence, can_err(labels, groups)["both"])), found


def _together(units: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Join datasets; a person of one is not a person of another."""
    people = [name for name in ("group", "donor") if any(name in part for part in units.values())]
    parts = [
        part.assign(**{column: name + "/" + part[column].astype(str) for column in people if column in part})
        for name, part in units.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _mixed(reals: pd.DataFrame, fakes: pd.DataFrame) -> float:
    real, fake = reals.loc[reals["label"] == 0, "score"], fakes.loc[fakes["label"] == 1, "score"]
    labels = np.concatenate([np.zeros(len(real)), np.ones(len(fake))])
    return roc_auc(labels, np.concatenate([real, fake])) if len(labels) else float("nan")


def _at(units: pd.DataFrame, threshold: float) -> dict[str, float]:
    d = decide(units["label"].to_numpy(), units["score"].to_numpy(), threshold)
    return {"fpr": float(false_rate(d)), "tpr": float(true_rate(d)), "balanced_accuracy": float(balanced(d))}
