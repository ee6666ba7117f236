"""The evaluation protocol as data: written into every report, with named presets in `configs/eval/`."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

import numpy as np
import pandas as pd

from dfd.core.errors import DfdError, did_you_mean
from dfd.core.predictions import tidy
from dfd.metrics.measures import names as metric_names
from dfd.metrics.pooling import How, pool_scores, rounded

Level = Literal["video", "track", "clip", "frame"]
NoFace = Literal["exclude", "abstain", "half"]
Pick = Literal["spread", "first"]
Compatible = Literal["deepfakebench", "tall"]

REAL = "real"
UNIT = ("dataset", "video")


@dataclass(frozen=True)
class Protocol:
    """Units, pooling of a video's rows into one score, and the treatment of videos without a face.

    `frames` and `pick` limit the rows of a video; `tracks` joins the people of one video (their pooled scores).
    `no_face`: exclude (counted and listed, in no number), half (scored 0.5, as DFDC does), abstain (never ranked; a
    decision that was not made is a wrong one). `compatible` adds the numbers of other code.
    `resamples` draws stand behind bands and the intervals of metrics that step; others leave out groups in turn.
    """

    name: str = "video"
    level: Level = "video"
    pool: How = "mean"
    tracks: Literal["max", "mean"] = "max"
    frames: int | None = None
    pick: Pick = "spread"
    no_face: NoFace = "exclude"
    threshold: float = 0.5
    clip: float = 1e-7
    resamples: int = 500
    confidence: float = 0.95
    calibration: Literal["none", "temperature", "platt", "beta", "isotonic"] = "temperature"
    false_alarms: float = 0.05
    headline: tuple[str, ...] = ("auc", "ap", "eer", "accuracy", "log_loss")
    compatible: Compatible | None = None
    decode: Mapping[str, Any] | None = None  # of localisers: `metrics.proposals.Decoding`, values or lists to try

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for name in ("level", "pool", "tracks", "pick", "no_face", "calibration"):
            if getattr(self, name) not in get_args(hints[name]):
                allowed = ", ".join(get_args(hints[name]))
                raise DfdError(f"eval.{name}={getattr(self, name)!r}: allowed are {allowed}")
        if self.compatible not in (None, *get_args(Compatible)):
            raise DfdError(f"eval.compatible={self.compatible!r}: allowed are null, {', '.join(get_args(Compatible))}")
        for name in ("confidence", "false_alarms"):
            if not 0 < getattr(self, name) < 1:
                raise DfdError(f"eval.{name}={getattr(self, name)}: expected a share between 0 and 1")
        if not 0 <= self.clip < 0.5:
            raise DfdError(f"eval.clip={self.clip}: expected at least 0 and less than 0.5")
        if self.resamples < 0 or (self.frames is not None and self.frames < 1):
            raise DfdError("eval.resamples must be 0 or more, eval.frames 1 or more (or null)")
        object.__setattr__(self, "headline", tuple(self.headline))
        known = metric_names()
        for name in self.headline:
            if name not in known:
                hint = did_you_mean(name, known)
                raise DfdError(f"eval.headline: there is no metric {name!r}{hint}; there are {', '.join(known)}")

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Protocol":
        """Build from plain values; an unknown key is an error."""
        known = {field.name for field in fields(cls)}
        for key in values:
            if key not in known:
                raise DfdError(f"a protocol has no {key!r}{did_you_mean(key, known)}")
        return cls(**values)

    def plain(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"headline": list(self.headline)}

    def sentence(self) -> str:
        """Say the protocol in words."""
        budget = f", at most {self.frames} rows per video ({self.pick})" if self.frames else ""
        score = {
            "video": f"a video's score is the {self.pool.replace('_', ' ')} of its rows",
            "track": f"a person's score is the {self.pool.replace('_', ' ')} of their rows",
            "clip": "every clip counts",
            "frame": "every frame counts",
        }[self.level]
        face = {
            "exclude": "videos without a face are left out and listed",
            "half": "videos without a face score 0.5",
            "abstain": "videos without a face are not ranked and count as wrong decisions",
        }[self.no_face]
        return f"Protocol {self.name}: {score}{budget}; {face}."


def limited(table: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Return at most `frames` rows of every video."""
    if protocol.frames is None:
        return table
    groups = table.groupby(list(UNIT), sort=False)
    place, size = groups.cumcount().to_numpy(), groups["t"].transform("size").to_numpy()
    if protocol.pick == "first":
        return table[place < protocol.frames]
    if protocol.frames == 1:
        return table[place == (size - 1) // 2]
    # row i of n is kept if it is one of `frames` evenly spread ones, first and last included
    step = (size - 1) / (protocol.frames - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        nearest = np.where(step > 0, np.floor(np.ceil(place / step - 1e-9) * step + 1e-9), 0)
    return table[(size <= protocol.frames) | (place == nearest)]


def by_video(table: pd.DataFrame, protocol: Protocol | None = None) -> pd.DataFrame:
    """Return one row per video with its pooled score; people of a video are pooled one by one and then joined."""
    protocol = protocol or Protocol()
    if "track" not in table.columns:
        return pooled(table, UNIT, protocol)
    people = by_track(table, protocol)
    videos = pooled(people, UNIT, protocol)
    of_video = people.groupby(list(UNIT), sort=True)
    joined = of_video["score"].agg(protocol.tracks)
    return videos.assign(
        score=rounded(joined.to_numpy()), rows=people.groupby(list(UNIT), sort=True)["rows"].sum().to_numpy()
    )


def by_track(table: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Return one row per person of a video."""
    if "track" not in table.columns:
        raise DfdError("level=track: the prediction table has no column track (people of a video)")
    return pooled(table, (*UNIT, "track"), protocol)


def pooled(table: pd.DataFrame, key: Iterable[str], protocol: Protocol) -> pd.DataFrame:
    """Return one row per key, in the order of the key, with the pooled score and the first of every other column."""
    number = table.groupby(list(key), sort=True).ngroup().to_numpy()
    first = np.full(number.max() + 1 if len(number) else 0, -1)
    first[number[::-1]] = np.arange(len(number))[::-1]
    units = table.iloc[first].drop(columns="t", errors="ignore").reset_index(drop=True)
    return units.assign(score=pool_scores(number, table["score"].to_numpy(), protocol.pool), rows=np.bincount(number))


def units_of(table: pd.DataFrame, protocol: Protocol, missing: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the units that a protocol counts, of a table that may be untidy; `missing` videos score 0.5 if they do."""
    return by_level(_rows_of(table, protocol, missing), protocol, protocol.level)


def videos_of(table: pd.DataFrame, protocol: Protocol, missing: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the videos that a protocol counts, whatever its level, as `units_of` does."""
    return by_video(_rows_of(table, protocol, missing), protocol)


def with_halves(table: pd.DataFrame, missing: pd.DataFrame) -> pd.DataFrame:
    """Give every video without a row one that scores 0.5."""
    person = {"track": table["track"].iloc[0]} if "track" in table.columns and len(table) else {}  # any one will do
    rows = missing.assign(t=0.0, score=0.5, **person)
    return tidy(pd.concat([table, rows[[name for name in rows.columns if name in table.columns]]], ignore_index=True))


def by_level(table: pd.DataFrame, protocol: Protocol, level: str) -> pd.DataFrame:
    """Return the units that a level counts."""
    if level in ("clip", "frame"):
        return table
    return by_track(table, protocol) if level == "track" else by_video(table, protocol)


def _rows_of(table: pd.DataFrame, protocol: Protocol, missing: pd.DataFrame | None) -> pd.DataFrame:
    table = tidy(table)
    if protocol.no_face == "half" and missing is not None and len(missing):
        table = with_halves(table, missing)
    return limited(table, protocol)
