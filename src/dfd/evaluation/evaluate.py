"""From a prediction table to metrics: by level, by manipulation, by attribute, each with its interval."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from dfd.core.predictions import COLUMNS, tidy
from dfd.evaluation.compatible import Pair, compare
from dfd.evaluation.numbers import (
    NAMES,
    Number,
    Numbers,
    can_be_read,
    chance,
    decisions,
    meant_rate,
    measure,
    noun_of,
)
from dfd.evaluation.operating import Operating
from dfd.evaluation.protocol import Protocol, by_level, by_video, limited, with_halves
from dfd.metrics.measures import RATES, judging
from dfd.metrics.measures import evaluate as values_of
from dfd.metrics.probabilities import are_probabilities, calibrated_ece

ATTRIBUTE_VALUES = 12  # of a column that a report is broken down by
NO_ATTRIBUTE = {*COLUMNS, "donor", "order", "track", "rows", "raw", "split", "frame", "path"}
FEW_GROUPS = 20  # below it a frame-level interval near 1 held the truth in 90 of 100 simulations only


@dataclass(frozen=True)
class Evaluation:
    """Everything a report says about one prediction table.

    `methods` holds each forgery against all reals, `slices` the values of every attribute, both at the protocol's
    level; `clips` says whether a row is a clip, `noun` what a unit is called (video or picture); `points` holds the
    decisions at each threshold, `calibrated` the losses of probabilities after each calibration.
    """

    protocol: Protocol
    video: Numbers
    frame: Numbers
    methods: dict[str, Numbers]
    counts: dict[str, int]
    clips: bool = False
    noun: str = "video"
    track: Numbers = field(default_factory=dict)
    slices: dict[str, dict[str, Numbers]] = field(default_factory=dict)
    points: dict[str, dict[str, Number]] = field(default_factory=dict)
    calibrated: dict[str, dict[str, float]] = field(default_factory=dict)
    compatible: list[Pair] = field(default_factory=list)
    baselines: dict[str, Numbers] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def threshold(self) -> float:
        """Return the threshold of the accuracy."""
        return self.protocol.threshold

    @property
    def headline(self) -> Numbers:
        """Return the numbers at the protocol's level."""
        level = self.protocol.level
        return self.track if level == "track" else self.video if level == "video" else self.frame

    def to_json(self) -> str:
        """Return JSON; what is undefined is null."""
        return json.dumps(_nan_to_none(asdict(self)), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Evaluation":
        """Read what `to_json` wrote."""
        data = _none_to_nan(json.loads(text))
        nested = {
            name: {key: _numbers(n) for key, n in data[name].items()} for name in ("methods", "points", "baselines")
        }
        slices = {name: {key: _numbers(n) for key, n in values.items()} for name, values in data["slices"].items()}
        own = {name: _numbers(data[name]) for name in ("video", "frame", "track")}
        pairs = [Pair(**pair) for pair in data["compatible"]]
        protocol = Protocol.of(data["protocol"])
        return cls(**data | nested | own | {"slices": slices, "compatible": pairs, "protocol": protocol})


def evaluate(
    table: pd.DataFrame,
    protocol: Protocol | None = None,
    *,
    missing: pd.DataFrame | None = None,
    operating: Operating | None = None,
    clips: bool = False,
    noun: str | None = None,
) -> Evaluation:
    """Evaluate a prediction table by a protocol.

    `missing` holds videos (the columns of a table but t and score) that have no row; `operating` what validation
    decided; `clips` whether a row is a clip, `noun` what a unit is called (else guessed from its name). Intervals leave
    out groups in turn (`metrics.intervals`).
    """
    protocol = protocol or Protocol()
    given = len(table)
    table = tidy(table)
    notes = [f"{given - len(table)} repeated rows were dropped"] if given > len(table) else []
    table, absent, remarks = _without_face(table, missing, protocol)
    every, table, notes = table, limited(table, protocol), notes + remarks
    videos = by_video(table, protocol)
    counts, noun = _counts(table, videos, absent), noun or noun_of(videos)
    abstained = absent if protocol.no_face == "abstain" else absent.head(0)
    units = by_level(table, protocol, protocol.level)
    of_video = measure(videos, protocol, abstained)
    same = len(table) == len(videos)  # a row each: pictures, or one view of every video
    of_row = of_video if same else measure(table, protocol, abstained)
    slices, remarks = _by_attribute(units, protocol, abstained)
    notes += _remarks(counts, noun) + _constant(videos, noun) + _rates(videos, noun) + remarks
    notes += [] if same else _rough(of_row, counts, clips)
    return Evaluation(
        protocol,
        of_video,
        of_row,
        _by_method(units, protocol, abstained),
        counts,
        clips,
        noun,
        track=measure(units, protocol, abstained) if protocol.level == "track" else {},
        slices=slices,
        points=_points(videos, abstained, protocol, operating),
        calibrated=_calibrated(videos, protocol, operating),
        compatible=compare(every, protocol, clips),
        baselines={"chance": chance(videos)},
        notes=notes,
    )


def _without_face(
    table: pd.DataFrame, missing: pd.DataFrame | None, protocol: Protocol
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Treat videos without a row as the protocol asks, and note it."""
    if missing is None or not len(missing):
        return table, pd.DataFrame(columns=list(COLUMNS)), []
    reals = int((missing["label"] == 0).sum())
    what = f"{len(missing)} videos ({reals} real, {len(missing) - reals} fake) have no prediction"
    if protocol.no_face == "half":
        return with_halves(table, missing), missing, [f"{what}: each scored 0.5"]
    ending = "not ranked, and wrong decisions" if protocol.no_face == "abstain" else "left out of every number"
    return table, missing, [f"{what}: {ending}"]


def _counts(table: pd.DataFrame, videos: pd.DataFrame, absent: pd.DataFrame) -> dict[str, int]:
    return {
        "rows": len(table),
        "videos": len(videos),
        "real": int((videos["label"] == 0).sum()),
        "fake": int((videos["label"] == 1).sum()),
        "groups": int(videos["group"].nunique()),
        "without_prediction": len(absent),
    }


def _by_method(units: pd.DataFrame, protocol: Protocol, abstained: pd.DataFrame) -> dict[str, Numbers]:
    """Return each forgery against all reals; one without a scored video has only wrong decisions."""
    reals, fakes = units[units["label"] == 0], units[units["label"] == 1]
    lost_reals, lost = abstained[abstained["label"] == 0], abstained[abstained["label"] == 1]
    found = {}
    for method in sorted({*fakes["method"], *lost["method"]}):
        some = pd.concat([reals, fakes[fakes["method"] == method]])
        unscored = pd.concat([lost_reals, lost[lost["method"] == method]])
        found[str(method)] = measure(some, protocol, unscored)
    return found


def _by_attribute(
    units: pd.DataFrame, protocol: Protocol, abstained: pd.DataFrame
) -> tuple[dict[str, dict[str, Numbers]], list[str]]:
    """Return metrics by the values of every attribute, and remarks.

    `dataset` is an attribute when there are several. Of videos without a row not every attribute is known.
    """
    names = [name for name in units.columns if name == "dataset" or name not in NO_ATTRIBUTE]
    names = [name for name in names if 2 <= units[name].nunique() <= ATTRIBUTE_VALUES]
    unknown = [name for name in names if name not in abstained.columns]
    found = {}
    for name in names:
        lost = abstained.head(0) if name in unknown else abstained
        found[name] = {
            str(value): measure(part, protocol, lost[lost[name] == value] if len(lost) else None)
            for value, part in units.groupby(name)
        }
    remark = f"videos without a prediction are in no table by {', '.join(unknown)}, which is not known of them"
    return found, [remark] if unknown and len(abstained) else []


def _points(
    videos: pd.DataFrame, abstained: pd.DataFrame, protocol: Protocol, operating: Operating | None
) -> dict[str, dict[str, Number]]:
    """Return the decisions about videos at the protocol's threshold and at those that validation chose."""
    thresholds = {f"{protocol.threshold:g}, fixed": Number(protocol.threshold)}
    if operating is not None:
        for name, threshold in operating.thresholds.items():
            words = "best on validation" if name == "balanced" else f"{float(name[4:]):.0%} FPR on validation"
            thresholds[words] = threshold
    found = {}
    for words, threshold in thresholds.items():
        at = decisions(videos, replace(protocol, threshold=threshold.value), abstained)
        chosen = ("accuracy", "balanced_accuracy", "f1", "fpr", "tpr")
        found[words] = {"threshold": threshold} | {name: at[name] for name in chosen}
        found[words] |= _confusion(videos, threshold.value)
    return found


def _confusion(videos: pd.DataFrame, threshold: float) -> dict[str, Number]:
    """Return the counts of right and wrong decisions about the videos that have a score."""
    fake, called = videos["label"].to_numpy() == 1, videos["score"].to_numpy() >= threshold
    counts = {"tn": ~fake & ~called, "fp": ~fake & called, "fn": fake & ~called, "tp": fake & called}
    return {name: Number(float(chosen.sum())) for name, chosen in counts.items()}


def _calibrated(videos: pd.DataFrame, protocol: Protocol, operating: Operating | None) -> dict[str, dict[str, float]]:
    if operating is None:
        return {}
    labels, scores = videos["label"].to_numpy(), videos["score"].to_numpy()
    found = {}
    for method in operating.calibrations:
        calibrated = operating.calibrate(scores, method)
        values = values_of(judging(protocol.clip), labels, calibrated)
        found[method] = {name: float(value) for name, value in values.items()}
        found[method]["ece_calibrated"] = calibrated_ece(calibrated) if are_probabilities(calibrated) else float("nan")
    return found


def _constant(videos: pd.DataFrame, noun: str) -> list[str]:
    values = videos["score"].unique()
    if len(values) != 1 or len(videos) < 2:
        return []
    return [f"every score is {values[0]:g}: no {noun} is ranked above another"]


def _remarks(counts: Mapping[str, int], noun: str) -> list[str]:
    remarks = []
    if not counts["real"] or not counts["fake"]:
        only = "fake" if not counts["real"] else "real"
        remarks.append(f"AUC, AP and EER are undefined: the table holds only {only} {noun}s ({counts['videos']})")
    if counts["groups"] < 2:
        remarks.append(f"no intervals: all {noun}s belong to one group, none can be left out")
    elif counts["groups"] < 6:
        remarks.append(f"intervals rest on {counts['groups']} groups only: take them as rough")
    return remarks


def _rates(videos: pd.DataFrame, noun: str) -> list[str]:
    """Say which TPR cannot be read with so few reals, and at which FPR the others really are."""
    reals = int((videos["label"] == 0).sum())
    if not reals or reals == len(videos):
        return []
    dashes = [f"{NAMES[name]} needs {1 / rate:.0f}" for name, rate in RATES.items() if not can_be_read(rate, reals)]
    meant = {rate: meant_rate(rate, reals) for rate in RATES.values() if can_be_read(rate, reals)}
    moved = [f"{100 * rate:.3g} % here means {100 * real:.3g} %" for rate, real in meant.items() if real > 1.05 * rate]
    remarks = []
    if dashes:
        remarks.append(f"too few real {noun}s ({reals}): {', '.join(dashes)}")
    if moved:
        remarks.append(f"FPR to expect on new real {noun}s: {', '.join(moved)}")
    return remarks


def _rough(rows: Numbers, counts: Mapping[str, int], clips: bool) -> list[str]:
    if not (counts["groups"] < FEW_GROUPS and 0.95 < rows["auc"].value < 1):
        return []
    level = "clip" if clips else "frame"
    return [f"the {level}-level intervals are rough: {counts['groups']} groups and an AUC near 1"]


def _numbers(values: Mapping[str, Mapping[str, float]]) -> Numbers:
    return {name: Number(**number) for name, number in values.items()}


def _nan_to_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _nan_to_none(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_nan_to_none(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def _none_to_nan(data: dict[str, Any]) -> dict[str, Any]:
    """Undo `_nan_to_none` but in the protocol, where null means none."""

    def back(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: back(item) for key, item in value.items()}
        return [back(item) for item in value] if isinstance(value, list) else float("nan") if value is None else value

    return back({key: value for key, value in data.items() if key != "protocol"}) | {"protocol": data["protocol"]}
