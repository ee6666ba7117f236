"""From prediction tables of corrupted videos to curves over levels and a mean corrupted AUC."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from dfd.evaluation.figures import Line, lines
from dfd.evaluation.numbers import Number, donors_of
from dfd.evaluation.protocol import Protocol, units_of
from dfd.evaluation.tables import markdown_table
from dfd.metrics.intervals import Scale, crossed, limits, spread
from dfd.metrics.jackknife import can_err, clusterings, left_out
from dfd.metrics.measures import AUC
from dfd.metrics.ranking import roc_auc

CLEAN = "clean"


@dataclass(frozen=True)
class Robustness:
    """AUC without corruption, of every kind at every level, per kind over its levels, and over all.

    Means weigh kinds alike; `loss` is clean minus mean, with the interval of that paired difference.
    """

    clean: Number
    each: dict[str, dict[int, Number]]
    kinds: dict[str, Number]
    mean: Number
    loss: Number

    def to_json(self) -> str:
        """Return JSON."""
        return json.dumps(asdict(self), indent=2).replace("NaN", "null")


def robustness(
    clean: pd.DataFrame, corrupted: Mapping[tuple[str, int], pd.DataFrame], protocol: Protocol
) -> Robustness:
    """Compare tables of the same videos; every condition leaves out the same groups (and donors) in turn."""
    units = {name: units_of(table, protocol) for name, table in {(CLEAN, 0): clean, **corrupted}.items()}
    values = {name: roc_auc(part["label"].to_numpy(), part["score"].to_numpy()) for name, part in units.items()}
    without = _without(units)
    erring = can_err(*(units[CLEAN, 0][name].to_numpy() for name in ("label", "group")))["both"]

    def number(value: float, without: Sequence[np.ndarray], scale: Scale = "plain") -> Number:
        by = [spread(each) for each in without]
        found = by[0] if len(by) == 1 else crossed(*by)
        return Number(value, *limits(value, found, scale, protocol.confidence, erring))

    kinds = list(dict.fromkeys(kind for kind, _ in corrupted))
    members = {kind: [name for name in corrupted if name[0] == kind] for kind in kinds}
    by_kind = {kind: _mean([without[name] for name in names]) for kind, names in members.items()}
    of_kind = {kind: float(np.mean([values[name] for name in names])) for kind, names in members.items()}
    mean, without_mean = float(np.mean(list(of_kind.values()))), _mean(list(by_kind.values()))
    lost = [clean - corrupted for clean, corrupted in zip(without[CLEAN, 0], without_mean, strict=True)]
    each = {name: number(values[name], without[name], "logit") for name in units}
    return Robustness(
        each[CLEAN, 0],
        {kind: {level: each[kind, level] for _, level in members[kind]} for kind in kinds},
        {kind: number(of_kind[kind], by_kind[kind], "logit") for kind in kinds},
        number(mean, without_mean, "logit"),
        number(values[CLEAN, 0] - mean, lost),
    )


def _without(units: Mapping[tuple[str, int], pd.DataFrame]) -> dict[tuple[str, int], list[np.ndarray]]:
    """Return the AUC of every table without each group in turn; with donors also without each donor and each pair."""
    by = {name: clusterings(part["group"].to_numpy(str), donors_of(part)) for name, part in units.items()}
    ways = min(len(each) for each in by.values())  # the clean videos alone would have donors, or none has
    names = [np.unique(np.concatenate([each[way] for each in by.values()])) for way in range(ways)]
    return {
        name: [
            left_out(
                AUC,
                part["label"].to_numpy(),
                part["score"].to_numpy(),
                np.searchsorted(names[way], by[name][way]),
                len(names[way]),
            )["auc"]
            for way in range(ways)
        ]
        for name, part in units.items()
    }


def _mean(several: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Return the mean over conditions of what was computed without each group, for every way of grouping."""
    return [np.mean(each, 0) for each in zip(*several, strict=True)]


def curves(found: Robustness) -> list[tuple[str, str]]:
    """Draw AUC over levels: all kinds in one figure, then each with its band."""
    styles = {kind: f"c{1 + i % 7}" for i, kind in enumerate(found.each)}
    series = {kind: _series(found, kind, styles[kind]) for kind in found.each}
    low = min(0.5, *(float(np.min(line.y)) for line in series.values()))
    bottom = max(0.0, np.floor(10 * low) / 10)
    levels = sorted({level for line in series.values() for level in line.x})
    marks = [(level, "clean" if level == 0 else f"{level:g}") for level in levels]
    grid = [(float(v), f"{v:.1f}") for v in np.arange(bottom, 1.01, 0.1)]
    options = {"y_range": (bottom, 1.0), "ticks": (marks, grid)}
    plain = [line._replace(band=None) for line in series.values()]
    drawn = [("All kinds", lines(plain, "level", "AUC", **options))]  # type: ignore[arg-type]
    return drawn + [(kind, lines([line], "level", "AUC", **options)) for kind, line in series.items()]  # type: ignore[arg-type]


def markdown(found: Robustness, levels: Sequence[int]) -> str:
    """Return the matrix of kinds and levels."""
    body = [
        [
            kind,
            *(found.each[kind][level].short() if level in found.each[kind] else "-" for level in levels),
            str(number),
        ]
        for kind, number in found.kinds.items()
    ]
    header = ["AUC", *(f"level {level}" for level in levels), "mean"]
    ending = f"Clean {found.clean}; mean corrupted AUC {found.mean}; loss {found.loss}."
    return markdown_table(header, body) + f"\n\n{ending}\n"


def _series(found: Robustness, kind: str, style: str) -> Line:
    numbers = {0: found.clean, **found.each[kind]}
    low, high = ([getattr(number, side) for number in numbers.values()] for side in ("low", "high"))
    band = None if np.isnan(low).any() else (low, high)
    return Line(list(numbers), [number.value for number in numbers.values()], style, kind, band)
