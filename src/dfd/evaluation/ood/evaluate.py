"""From a table of OOD scores to metrics: detectors x sources, operating points, accuracy under rejection."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from dfd.core.errors import DfdError
from dfd.evaluation.numbers import Number
from dfd.evaluation.ood.scores import BENIGN, OOD, PREFIX, TEST, by_video, detectors_in
from dfd.metrics import ood as m
from dfd.metrics.intervals import limits, spread
from dfd.metrics.jackknife import coded, left_out
from dfd.metrics.jackknife import intervals as jackknife
from dfd.metrics.measures import AUC

POOLED = "all"
VISIBLE = 5e-4  # a difference that three digits show
Row = dict[str, Number]
NUMBERS: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "auroc": m.auroc,
    "aupr_in": m.aupr_in,
    "aupr_out": m.aupr_out,
    "aupr_in_trapezoid": partial(m.aupr_in, trapezoid=True),
    "aupr_out_trapezoid": partial(m.aupr_out, trapezoid=True),
    "fpr95_id_positive": m.fpr95_id_positive,
    "fpr95_ood_positive": m.fpr95_ood_positive,
}
INTERVALS = {"auroc": AUC["auc"], **m.STEPPING}


@dataclass(frozen=True)
class OodEvaluation:
    """Everything a report says about a score table.

    `numbers[detector][source]` holds ranking metrics, `answers[detector]` the effect of a threshold: shares rejected of
    in-distribution, benignly changed and out-of-distribution videos, and accuracy under rejection. `best[source]` names
    the detector that is better than every other, `alike` those that rank every video the same way.
    """

    numbers: dict[str, dict[str, Row]]
    answers: dict[str, dict[str, float]]
    best: dict[str, str]
    alike: list[list[str]]
    counts: dict[str, int]
    accuracy: float
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """Return JSON; what is undefined is null."""
        return json.dumps(_plain(asdict(self)), indent=2)

    @property
    def sources(self) -> list[str]:
        """The sources in order, the pool of all first."""
        return list(next(iter(self.numbers.values())))


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse wrong options before anything is computed."""
    if not 0 < options["id_kept"] < 1:
        raise DfdError(f"ood.id_kept={options['id_kept']:g}: expected a share between 0 and 1, such as 0.95")
    for name in ("resamples", "fit_limit", "benign_limit"):
        if options[name] < 1:
            raise DfdError(f"ood.{name}={options[name]}: expected at least 1")


def evaluate_ood(table: pd.DataFrame, thresholds: Mapping[str, float], *, resamples: int = 500) -> OodEvaluation:
    """Evaluate every detector by video, against each source of out-of-distribution videos and all of them.

    `resamples` draws give the standard error of the FPR95s, which step; other intervals leave out groups in turn.
    """
    videos, names = by_video(table), detectors_in(table)
    known, outliers = videos[videos["role"] == TEST], videos[videos["role"] == OOD]
    pools = _pools(outliers)
    numbers: dict[str, dict[str, Row]] = {name: {} for name in names}
    best: dict[str, str] = {}
    for pool, members in pools.items():
        rows, without = _compare(known, members, names, resamples)
        for name in names:
            numbers[name][pool] = rows[name]
        winner = _winner(rows, without, names)
        if winner:
            best[pool] = winner
    counts = {"known": len(known), "strange": len(outliers), "groups": int(videos["group"].nunique())}
    answers = {name: _answers(videos, known, outliers, name, thresholds.get(name, np.nan)) for name in names}
    alike = _alike(pd.concat([known, outliers]), names)
    return OodEvaluation(numbers, answers, best, alike, counts, float(known["right"].mean()), _remarks(known, outliers))


def _pools(outliers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    pools = {POOLED: outliers}
    if outliers["label"].nunique() == 2:
        pools |= {
            f"{POOLED} {name}": outliers[outliers["label"] == label] for label, name in ((0, "reals"), (1, "fakes"))
        }
    sources = sorted(outliers["source"].unique())
    return pools | ({source: outliers[outliers["source"] == source] for source in sources} if len(sources) > 1 else {})


def _compare(
    known: pd.DataFrame, outliers: pd.DataFrame, names: Sequence[str], resamples: int
) -> tuple[dict[str, Row], dict[str, np.ndarray]]:
    """Return each detector's numbers, and its AUROC without each group, the same for all detectors."""
    both = pd.concat([known, outliers])
    ood = np.repeat([0, 1], [len(known), len(outliers)])
    groups = both["group"].to_numpy(str)
    rows, without = {}, {}
    for name in names:
        scores = both[PREFIX + name].to_numpy(float)
        right, inside, outside = known["right"].to_numpy(bool), scores[ood == 0], scores[ood == 1]
        values = {metric: float(function(ood, scores)) for metric, function in NUMBERS.items()}
        ranges = jackknife(INTERVALS, values, ood, scores, groups, resamples=resamples) if len(outliers) else {}
        rows[name] = {metric: Number(value, *ranges.get(metric, ())) for metric, value in values.items()}
        rows[name] |= {
            "detection_error": Number(m.detection_error(ood, scores)),
            "oscr": Number(m.oscr(right, inside, outside)),
        }
        member = coded(groups)
        without[name] = left_out(AUC, ood, scores, member, int(member.max()) + 1)["auc"]
    return rows, without


def _winner(rows: Mapping[str, Row], without: Mapping[str, np.ndarray], names: Sequence[str]) -> str | None:
    """Return the best detector if the 95 % interval of its lead over every other that ranks differently is above 0."""
    best = max(names, key=lambda name: np.nan_to_num(rows[name]["auroc"].value, nan=-1))
    if not np.isfinite(rows[best]["auroc"].value):
        return None
    for name in names:
        lead = rows[best]["auroc"].value - rows[name]["auroc"].value
        if name == best or np.allclose(without[name], without[best], equal_nan=True):
            continue
        if not limits(lead, spread(without[best] - without[name]), "plain").low > VISIBLE:
            return None
    return best


def _answers(
    videos: pd.DataFrame, known: pd.DataFrame, outliers: pd.DataFrame, name: str, threshold: float
) -> dict[str, float]:
    """Return the effect of rejecting every video above the threshold."""
    column = PREFIX + name
    wrong, scores = ~known["right"].to_numpy(bool), known[column].to_numpy(float)
    accepted = scores <= threshold
    answers = {
        "threshold": float(threshold),
        "known rejected": float((~accepted).mean()),
        "strange rejected": float((outliers[column] > threshold).mean()) if len(outliers) else float("nan"),
        "accuracy when answering": float(1 - wrong[accepted].mean()) if accepted.any() else float("nan"),
        "aurc": m.aurc(wrong, scores),
        "coverage at 95 % accuracy": m.coverage_at_accuracy(wrong, scores, 0.95),
    }
    for role in sorted(set(videos["role"])):
        if role.startswith(BENIGN):
            changed = videos.loc[videos["role"] == role, column]
            answers[f"{role.removeprefix(BENIGN)} rejected"] = float((changed > threshold).mean())
    return answers


def _alike(videos: pd.DataFrame, names: Sequence[str]) -> list[list[str]]:
    """Return sets of two or more detectors that rank all videos the same way up to rounding."""
    ranks = {name: videos[PREFIX + name].rank().to_numpy() for name in names}
    sets: list[list[str]] = []
    for name in names:
        for members in sets:
            if np.abs(ranks[members[0]] - ranks[name]).mean() < 1e-3 * len(videos):
                members.append(name)
                break
        else:
            sets.append([name])
    return [members for members in sets if len(members) > 1]


def _remarks(known: pd.DataFrame, outliers: pd.DataFrame) -> list[str]:
    notes = []
    if not len(outliers):
        notes.append("no out-of-distribution videos: nothing is ranked")
    groups = pd.concat([known, outliers])["group"].nunique()
    if groups < 10:
        notes.append(f"intervals rest on {groups} groups only: take them as rough")
    return notes


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
