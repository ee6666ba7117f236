"""Predictions of other code joined with labels by name, into one prediction table."""

import os
import posixpath
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dfd.core.errors import DfdError
from dfd.core.predictions import COLUMNS, tidy
from dfd.evaluation.numbers import PICTURES
from dfd.evaluation.prediction_files import SCORE, SUFFIXES, Columns, read_file

__all__ = ["SUFFIXES", "Imported", "join", "read_all"]

CLASSES = {"real", "fake", "original", "originals", "reals", "fakes", "0_real", "1_fake", "0", "1"}
TRUTHS = ("label", "metadata", "truth", "target", "gt")  # in the name of a file of labels
SEPARATE = ("dataset", "track", "run")  # rows of one name that differ in these are other videos, people or scores
FILLED = {
    "dataset": "the name of the file is used",
    "method": "real or fake is used",
    "group": "each of these videos is a group of its own",
}


def _whole(name: str) -> str:
    return name


def _stem(name: str) -> str:
    return posixpath.splitext(posixpath.basename(name))[0]


def _folder_name(name: str) -> str:
    return posixpath.basename(posixpath.dirname(name))


class Match(NamedTuple):
    """A way to match names: the key of a prediction's name and of a label's, and the way in words."""

    of_prediction: Callable[[str], str]
    of_label: Callable[[str], str]
    words: str


MATCHES: Sequence[Match] = (
    Match(_whole, _whole, "as they are"),
    Match(posixpath.basename, posixpath.basename, "without folders"),
    Match(_stem, _stem, "without folders and endings"),
    # a frame lies in the folder of its video
    Match(posixpath.dirname, _whole, "by their folder"),
    Match(_folder_name, _stem, "by the name of their folder"),
)


class Imported(NamedTuple):
    """A prediction table, labelled videos without a prediction, remarks, and whether a row is a picture."""

    table: pd.DataFrame
    missing: pd.DataFrame
    notes: list[str]
    pictures: bool = False

    @property
    def noun(self) -> str | None:
        """Return what a unit is called, where the file tells."""
        return "picture" if self.pictures else None


def join(predictions: Columns, labels: Columns | None, name: str) -> Imported:
    """Join predictions with labels by name, and fill columns that are missing."""
    notes: list[str] = []
    rows, labelled, matched = predictions.rows, None, None
    if labels is not None:
        rows, labelled, matched, notes = _joined(rows.drop(columns="label", errors="ignore"), labels.rows)
    elif not predictions.has_label:
        raise DfdError(f"{name} holds no labels: give a second file with the columns video and label (0 real, 1 fake)")
    in_folders = "t" not in rows and _are_frames(rows["video"])
    rows, remarks = _with_videos(rows, in_folders)
    notes += remarks
    notes += [] if "group" in rows else ["no column group: intervals are as if no person were in two of the videos"]
    rows, remarks = _over_runs(rows)
    notes += remarks
    notes += _blank(rows)
    table = _completed(rows, name)
    kept = tidy(table)
    if len(kept) < len(table):
        notes.append(f"{len(table) - len(kept)} rows repeat the video and t of another and are left out")
    pictures = predictions.pictures and not in_folders and not kept["video"].duplicated().any()
    if labelled is None or matched is None:
        return Imported(kept, pd.DataFrame(columns=list(COLUMNS)).drop(columns=["t", "score"]), notes, pictures)
    missing = _completed(_missing(labelled, matched, in_folders), name)
    return Imported(kept, missing[[c for c in COLUMNS if c not in ("t", "score")]], notes, pictures)


def _joined(rows: pd.DataFrame, labels: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series, list[str]]:
    """Match names one by one, each in the first way that finds a label which no closer way has taken.

    Returns the labelled rows, all labels, which of these have a row, and remarks.
    """
    known = labels.drop(columns=["score", "t"], errors="ignore").drop_duplicates().reset_index(drop=True)
    twice = known["video"].duplicated()
    if twice.any():
        raise DfdError(f"{known.loc[twice, 'video'].iloc[0]!r} has two labels that contradict each other")
    code, names = pd.factorize(rows["video"])
    at, counts = _matched(pd.Index(names), known["video"])
    if (at < 0).all():
        raise DfdError(f"no prediction's name is among the labels: {names[0]!r} and {known['video'].iloc[0]!r}")
    of_row = at[code]
    shared = of_row >= 0
    more = known.drop(columns="video").take(of_row[shared])
    kept = [column for column in rows.columns if column not in more.columns]
    joined = pd.concat([rows.loc[shared, kept].reset_index(drop=True), more.reset_index(drop=True)], axis=1)
    notes = []
    if list(counts) != [MATCHES[0].words]:
        notes.append("names were matched " + ", ".join(f"{words} ({count})" for words, count in counts.items()))
    if not shared.all():
        first = rows.loc[~shared, "video"].iloc[0]
        notes.append(f"{int((~shared).sum())} predictions are of unknown videos and left out, e.g. {first!r}")
    return joined, known, pd.Series(np.isin(np.arange(len(known)), at), known.index), notes


def _matched(names: pd.Index, labelled: pd.Series) -> tuple[np.ndarray, dict[str, int]]:
    """Return the position of every name's label (-1: none), and how many names were matched in which way."""
    at, counts = np.full(len(names), -1), {}
    free = np.ones(len(labelled), bool)
    for match in MATCHES:
        open_names, open_labels = np.flatnonzero(at < 0), np.flatnonzero(free)
        if not len(open_names) or not len(open_labels):
            break
        keys = pd.Index([match.of_label(name) for name in labelled.iloc[open_labels]])
        alone = ~keys.duplicated(keep=False)  # of two labels of one key neither can be told from the other
        wanted = [match.of_prediction(name) for name in names[open_names]]
        found = pd.Index(keys[alone]).get_indexer(pd.Index(wanted))
        hit = found >= 0
        at[open_names[hit]] = open_labels[alone][found[hit]]
        free[at[open_names[hit]]] = False
        if hit.any():
            counts[match.words] = int(hit.sum())
    return at, counts


def _missing(known: pd.DataFrame, matched: pd.Series, in_folders: bool) -> pd.DataFrame:
    """Return labelled videos without a row; a picture that is a frame is missing only if its whole video is."""
    if not in_folders:
        return known[~matched]
    pictures = known["video"].str.lower().str.endswith(PICTURES)
    known = known.assign(video=known["video"].where(~pictures, known["video"].map(posixpath.dirname)))
    return known[~known["video"].isin(known.loc[matched, "video"])].drop_duplicates("video")


def _are_frames(names: pd.Series) -> bool:
    """Whether names are those of numbered pictures in several folders that are not classes."""
    folders = names.map(posixpath.dirname)
    pictures = names.str.lower().str.endswith(PICTURES).all()
    several = 1 < folders.nunique() < len(folders)
    classes = folders.map(lambda folder: posixpath.basename(folder).lower() in CLASSES).any()
    return bool(pictures and several and not classes and (names.map(_number) != "").all())


def _number(name: str) -> str:
    return re.sub(r"\D", "", _stem(name))


def _with_videos(rows: pd.DataFrame, in_folders: bool) -> tuple[pd.DataFrame, list[str]]:
    """Give rows a time: numbered pictures are frames of the video that their folder is; repeated names are frames."""
    if "t" in rows.columns:
        return rows, []
    if in_folders:
        folders = rows["video"].map(posixpath.dirname)
        remark = f"pictures are taken for frames: {len(rows)} in {folders.nunique()} folders, each a video"
        return rows.assign(video=folders, t=rows["video"].map(_number).astype(float)), [remark]
    order = rows.groupby([name for name in ("video", *SEPARATE) if name in rows], dropna=False).cumcount().astype(float)
    remark = "a name in several rows is a video, and they are its frames"
    return rows.assign(t=order), [remark] if order.any() else []


def _over_runs(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Average the scores of several runs for the same frame, as an ensemble does."""
    if "run" not in rows or rows["score"].isna().any():
        return rows, []
    key = [name for name in ("video", "t", *SEPARATE) if name in rows and name != "run"]
    own = rows.drop_duplicates([*key, "run"])
    kept = own.drop_duplicates(key).drop(columns="run")
    if len(kept) == len(own):
        return rows, []
    means = own.groupby(key, dropna=False)["score"].mean().rename("mean")
    remark = f"scores of {own['run'].nunique()} runs are averaged: {len(own)} rows became {len(kept)}"
    remark += (
        f"; {len(rows) - len(own)} rows repeat others of their run and are left out" if len(rows) > len(own) else ""
    )
    return kept.join(means, on=key).assign(score=lambda t: t["mean"]).drop(columns="mean"), [remark]


def _blank(rows: pd.DataFrame) -> list[str]:
    """Return remarks on empty cells and what they were filled with."""
    counts = {name: int(_is_blank(rows[name]).sum()) for name in FILLED if name in rows}
    return [f"{counts[name]} rows have an empty {name}: {FILLED[name]}" for name in counts if counts[name]]


def _is_blank(column: pd.Series) -> pd.Series:
    return column.isna() | (column.astype(str).str.strip() == "")


def _completed(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Fill columns that are missing, and empty cells."""
    defaults = {
        "dataset": pd.Series(name, rows.index, dtype=object),
        "method": rows["label"].map({0: "real", 1: "fake"}).astype(object),
        "group": rows["video"],
    }
    filled = {}
    for column, default in defaults.items():
        given = rows.get(column, default).astype(object)
        filled[column] = given.where(~_is_blank(given), default).astype(str)
    return rows.assign(**filled)


def read_all(paths: Sequence[Path]) -> dict[str, Imported]:
    """Read prediction files and at most one of labels; return the tables by the file's name."""
    files = {path: read_file(path) for path in paths}
    truth, notes = _labels_among(files)
    scored = {path: columns for path, columns in files.items() if path != truth}
    if not any(columns.has_score for columns in scored.values()):
        raise DfdError(f"{', '.join(map(str, paths))}: no column of scores ({', '.join(SCORE[:5])}, ...)")
    known, dataset = (files[truth], truth.stem) if truth else (None, None)
    found = {_name(path, list(scored)): join(columns, known, dataset or path.stem) for path, columns in scored.items()}
    for imported in found.values():
        imported.notes.extend(notes)
    return found


def _labels_among(files: dict[Path, Columns]) -> tuple[Path | None, list[str]]:
    """Return which file holds the labels; others of nothing but 0 and 1 become predictions of hard decisions."""
    hard = [path for path, columns in files.items() if columns.has_label and not columns.has_score]
    if len(hard) < 2:
        return (hard[0] if hard else None), []
    named = [p for p in hard if files[p].words] or [p for p in hard if any(word in p.stem.lower() for word in TRUTHS)]
    if len(named) > 1 or (not named and len(hard) < len(files)):
        raise DfdError(
            f"several files hold labels only, {', '.join(map(str, hard))}: give one, or call it labels.csv and the "
            "others are read as predictions that are 0 or 1"
        )
    truth = named[0] if named else hard[-1]
    for path in hard:
        if path != truth:
            rows = files[path].rows.rename(columns={"label": "score"}).astype({"score": float})
            files[path] = Columns(rows, True, False, files[path].pictures)
    others = ", ".join(path.name for path in hard if path != truth)
    return truth, [f"{others} holds nothing but 0 and 1: read as predictions, {truth.name} as labels"]


def _name(path: Path, paths: Sequence[Path]) -> str:
    """Return the name of a file: its stem, or where several have that, the part in which their paths differ."""
    same = [other.absolute() for other in paths if other.stem == path.stem]
    if len(same) == 1:
        return path.stem
    return path.absolute().relative_to(os.path.commonpath([other.parent for other in same])).as_posix()
