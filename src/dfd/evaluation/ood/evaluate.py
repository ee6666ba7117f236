"""An OOD score table to numbers: detectors x sources, operating points, and what rejection does to accuracy."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from dfd.core.errors import DfdError
from dfd.evaluation.numbers import Number
from dfd.evaluation.ood.scores import BENIGN, OOD, PREFIX, TEST, by_video, detectors_in
from dfd.metrics import ood as m
from dfd.metrics.bootstrap import expanded_tail

POOLED = "all"
VISIBLE = 5e-4  # a difference that three digits show
Row = dict[str, Number]


@dataclass(frozen=True)
class OodEvaluation:
    """Everything a report says about a score table.

    `numbers[detector][source]` holds ranking metrics, `answers[detector]` what a threshold does: shares rejected of
    known, changed and strange videos, and accuracy under rejection. `best[source]` names detectors that no other can be
    said to equal, `alike` those that rank every video the same way.
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
    """Refuse what only the end of the work would find wrong."""
    if not 0 < options["id_kept"] < 1:
        raise DfdError(f"ood.id_kept={options['id_kept']:g}: expected a share between 0 and 1, such as 0.95")
    for name in ("resamples", "fit_limit", "benign_limit"):
        if options[name] < 1:
            raise DfdError(f"ood.{name}={options[name]}: expected at least 1")


def evaluate_ood(
    table: pd.DataFrame, thresholds: Mapping[str, float], *, resamples: int = 500, seed: int = 0
) -> OodEvaluation:
    """Evaluate every detector by video, against each source of strange videos and all of them."""
    videos, names = by_video(table), detectors_in(table)
    known, strange = videos[videos["role"] == TEST], videos[videos["role"] == OOD]
    pools = _pools(strange)
    numbers: dict[str, dict[str, Row]] = {name: {} for name in names}
    best: dict[str, str] = {}
    for pool, members in pools.items():
        rows, values = _compare(known, members, names, resamples, seed)
        for name in names:
            numbers[name][pool] = rows[name]
        winner = _winner(rows, values, names)
        if winner:
            best[pool] = winner
    counts = {"known": len(known), "strange": len(strange), "groups": int(videos["group"].nunique())}
    answers = {name: _answers(videos, known, strange, name, thresholds.get(name, np.nan)) for name in names}
    alike = _alike(pd.concat([known, strange]), names)
    return OodEvaluation(numbers, answers, best, alike, counts, float(known["right"].mean()), _remarks(known, strange))


def _pools(strange: pd.DataFrame) -> dict[str, pd.DataFrame]:
    pools = {POOLED: strange}
    if strange["label"].nunique() == 2:
        pools |= {
            f"{POOLED} {name}": strange[strange["label"] == label] for label, name in ((0, "reals"), (1, "fakes"))
        }
    sources = sorted(strange["source"].unique())
    return pools | ({source: strange[strange["source"] == source] for source in sources} if len(sources) > 1 else {})


def _compare(
    known: pd.DataFrame, strange: pd.DataFrame, names: Sequence[str], resamples: int, seed: int
) -> tuple[dict[str, Row], dict[str, np.ndarray]]:
    """Return each detector's numbers, and its AUROC in resamples that all detectors share."""
    both = pd.concat([known, strange])
    ood = np.repeat([0, 1], [len(known), len(strange)])
    groups = both["group"].to_numpy(str)
    weights = m.resampled_weights(groups, resamples, seed)
    count = len(np.unique(groups))
    rows, values = {}, {}
    for name in names:
        scores = both[PREFIX + name].to_numpy(float)
        values[name] = m.resampled_auroc(ood, scores, weights)
        right, inside, outside = known["right"].to_numpy(bool), scores[ood == 0], scores[ood == 1]
        rows[name] = {
            "auroc": _number(m.auroc(ood, scores), values[name], count),
            "aupr_in": Number(m.aupr_in(ood, scores)),
            "aupr_out": Number(m.aupr_out(ood, scores)),
            "fpr95_id_positive": Number(m.fpr95_id_positive(ood, scores)),
            "fpr95_ood_positive": Number(m.fpr95_ood_positive(ood, scores)),
            "detection_error": Number(m.detection_error(ood, scores)),
            "oscr": Number(m.oscr(right, inside, outside)),
        }
    return rows, values


def _number(value: float, resampled: np.ndarray, groups: int) -> Number:
    usable = resampled[np.isfinite(resampled)]
    if groups < 2 or len(usable) < 20:
        return Number(value)
    tail = expanded_tail(0.025, groups)
    return Number(value, *np.quantile(usable, [tail, 1 - tail]))


def _winner(rows: Mapping[str, Row], values: Mapping[str, np.ndarray], names: Sequence[str]) -> str | None:
    """Return the best detector if it beats every other that ranks differently in 97.5 % of the shared resamples."""
    best = max(names, key=lambda name: np.nan_to_num(rows[name]["auroc"].value, nan=-1))
    for name in names:
        if name == best or np.allclose(values[name], values[best], equal_nan=True):
            continue
        if not np.nanmean(values[best] > values[name] + VISIBLE) >= 0.975:
            return None
    return best if len(values[best]) and np.isfinite(values[best]).any() else None


def _answers(
    videos: pd.DataFrame, known: pd.DataFrame, strange: pd.DataFrame, name: str, threshold: float
) -> dict[str, float]:
    """Return what rejecting all above the threshold does."""
    column = PREFIX + name
    wrong, scores = ~known["right"].to_numpy(bool), known[column].to_numpy(float)
    accepted = scores <= threshold
    answers = {
        "threshold": float(threshold),
        "known rejected": float((~accepted).mean()),
        "strange rejected": float((strange[column] > threshold).mean()) if len(strange) else float("nan"),
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
    """Return sets of two or more detectors that rank all videos the same way (but for rounding)."""
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


def _remarks(known: pd.DataFrame, strange: pd.DataFrame) -> list[str]:
    notes = []
    if not len(strange):
        notes.append("no strange videos: nothing to tell apart")
    groups = pd.concat([known, strange])["group"].nunique()
    if groups < 10:
        notes.append(f"intervals rest on {groups} groups only: take them as rough")
    return notes


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
