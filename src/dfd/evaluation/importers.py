"""Predictions that others made: CSV, JSON and pickles of any code, joined with labels by name, into one table.

Pickles are read without running what they hold: only plain containers and NumPy arrays are let in.
"""

import json
import os
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dfd.core.errors import DfdError
from dfd.core.predictions import COLUMNS, tidy

SUFFIXES = (".csv", ".parquet", ".json", ".pkl", ".pickle")
NAME = ("video", "filename", "file", "name", "path", "image", "img", "img_name", "img_path", "id")
SCORE = ("score", "prediction", "pred", "prob", "probability", "fake_prob", "p_fake", "output")
LABEL = ("label", "target", "is_fake", "gt", "ground_truth", "y", "y_true")
WORDS = {"real": 0, "fake": 1, "0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
CLASSES = {"real", "fake", "original", "originals", "reals", "fakes", "0_real", "1_fake", "0", "1"}
UNNAMED = "row "
SEPARATE = ("dataset", "track", "run")  # of one name are other videos, people, or scores
FILLED = {
    "dataset": "the file's name stands in",
    "method": "real or fake stands in",
    "group": "each of these videos is resampled on its own",
}
MATCHES: Sequence[tuple[Callable[[str], str], Callable[[str], str]]] = (
    (str, str),
    (lambda name: PurePosixPath(name).name, lambda name: PurePosixPath(name).name),
    (lambda name: PurePosixPath(name).stem, lambda name: PurePosixPath(name).stem),
    # a frame lies in the folder of its video
    (lambda name: PurePosixPath(name).parent.as_posix(), str),
    (lambda name: PurePosixPath(name).parent.name, lambda name: PurePosixPath(name).stem),
)


class Imported(NamedTuple):
    """A prediction table, labelled videos without a prediction, and what a reader must know."""

    table: pd.DataFrame
    missing: pd.DataFrame
    notes: list[str]


class Columns(NamedTuple):
    """What one file says: names, and scores or labels or both, and anything else as attributes."""

    rows: pd.DataFrame
    has_score: bool
    has_label: bool


def read_file(path: Path) -> Columns:
    """Read any file of predictions or labels."""
    if not path.is_file():
        raise DfdError(f"no predictions at {path}")
    try:
        if path.suffix == ".parquet":
            rows = pd.read_parquet(path)
        elif path.suffix == ".csv":
            rows = pd.read_csv(path, dtype=str, skipinitialspace=True)
        elif path.suffix == ".json":
            rows = _from_json(json.loads(path.read_text(encoding="utf-8")))
        elif path.suffix in (".pkl", ".pickle"):
            rows = _from_results(_unpickle(path))
        else:
            raise DfdError(f"{path} is no {', '.join(SUFFIXES)} file")
    except (ValueError, UnicodeDecodeError, EOFError) as error:
        raise DfdError(f"{path} cannot be read ({str(error).splitlines()[0]}): is it damaged?") from error
    return _understood(rows, path)


def join(predictions: Columns, labels: Columns | None, name: str) -> Imported:
    """Join predictions with labels by name, and give the columns that are missing sensible values."""
    notes: list[str] = []
    rows, labelled, matched = predictions.rows, None, None
    if labels is not None:
        rows, labelled, matched, notes = _joined(rows.drop(columns="label", errors="ignore"), labels.rows)
    elif not predictions.has_label:
        raise DfdError(f"{name} holds no labels: give a second file with the columns video and label (0 real, 1 fake)")
    in_folders = "t" not in rows and _are_frames(rows["video"])
    rows, said = _with_videos(rows, in_folders)
    notes += said
    notes += [] if "group" in rows else ["no column group: videos are resampled, as if no person were in two of them"]
    rows, said = _over_runs(rows)
    notes += said
    notes += _blank(rows)
    table = _completed(rows, name)
    kept = tidy(table)
    if len(kept) < len(table):
        notes.append(f"{len(table) - len(kept)} rows repeat the video and t of another and are left out")
    if labelled is None or matched is None:
        return Imported(kept, pd.DataFrame(columns=list(COLUMNS)).drop(columns=["t", "score"]), notes)
    missing = _completed(_missing(labelled, matched, in_folders), name)
    return Imported(kept, missing[[column for column in COLUMNS if column not in ("t", "score")]], notes)


def _understood(rows: pd.DataFrame, path: Path) -> Columns:
    """Rename what is known by other names; a `label` that is no label is a DFDC submission's score."""
    lower = rows.rename(columns={column: str(column).strip().lower() for column in rows.columns})
    found = {wanted: next((c for c in names if c in lower.columns), None) for wanted, names in
             (("video", NAME), ("score", SCORE), ("label", LABEL))}  # fmt: skip
    if found["video"] is None:
        have = ", ".join(map(str, rows.columns[:8]))
        raise DfdError(f"{path} has no column of names ({', '.join(NAME[:5])}, ...); it has {have}")
    lower = lower.rename(columns={old: new for new, old in found.items() if old is not None})
    lower["video"] = lower["video"].astype(str).str.replace("\\", "/", regex=False)
    if found["label"] is not None:
        words = lower["label"].astype(str).str.strip().str.lower()
        if words.isin(list(WORDS)).all():
            lower["label"] = words.map(WORDS).astype(int)
        elif found["score"] is None:
            lower = lower.rename(columns={"label": "score"})
        else:
            odd = words[~words.isin(list(WORDS))].iloc[0]
            raise DfdError(f"{path}: {odd!r} is no label; labels are 0 (real) or 1 (fake)")
    for column in ("score", "t"):
        if column in lower.columns:
            lower[column] = _numbers(lower[column], column, path)
    lower = lower.drop(columns=[name for name in ("t", "track") if name in lower and lower[name].isna().all()])
    for column, mixed in (("t", "frames and videos"), ("track", "people and whole videos")):
        if column in lower.columns and lower[column].isna().any():
            count = int(lower[column].isna().sum())
            raise DfdError(
                f"{path}: {count} rows have no {column}, the others have: {mixed} are mixed; one level a file"
            )
    return Columns(lower, "score" in lower.columns, "label" in lower.columns)


def _numbers(column: pd.Series, name: str, path: Path) -> pd.Series:
    values = pd.to_numeric(column, errors="coerce")
    odd = column[values.isna() & column.notna()]
    if len(odd):
        raise DfdError(f"{path}: {odd.iloc[0]!r} in column {name} is no number")
    return values


def _joined(rows: pd.DataFrame, labels: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series, list[str]]:
    """Match names in the first way that finds any and in which no two labelled names are one.

    Returns the labelled rows, all that is labelled, which of that has a row, and what was left out.
    """
    known = labels.drop(columns=["score", "t"], errors="ignore").drop_duplicates()
    twice = known["video"].duplicated()
    if twice.any():
        raise DfdError(f"{known.loc[twice, 'video'].iloc[0]!r} has two labels that contradict each other")
    for of_prediction, of_label in MATCHES:
        theirs, ours = rows["video"].map(of_prediction), known["video"].map(of_label)
        shared = theirs.isin(set(ours))
        if shared.any() and not ours.duplicated().any():
            break
    else:
        raise DfdError(
            f"no prediction's name is among the labels: {rows['video'].iloc[0]!r} and {known['video'].iloc[0]!r}"
        )
    more = known.drop(columns="video").set_index(ours)
    columns = [column for column in rows.columns if column not in more.columns]
    joined = rows.loc[shared, columns].join(more, on=theirs[shared].rename("key"))
    notes = []
    if not shared.all():
        first = rows.loc[~shared, "video"].iloc[0]
        notes.append(f"{int((~shared).sum())} predictions are of unknown videos and left out, the first of {first!r}")
    return joined, known, ours.isin(set(theirs)), notes


def _missing(known: pd.DataFrame, matched: pd.Series, in_folders: bool) -> pd.DataFrame:
    """Return what is labelled and has no row; a picture that is a frame is missing only if its whole video is."""
    if not in_folders:
        return known[~matched]
    pictures = known["video"].str.lower().str.endswith(PICTURES)
    known = known.assign(video=known["video"].where(~pictures, known["video"].map(_folder)))
    return known[~known["video"].isin(known.loc[matched, "video"])].drop_duplicates("video")


def _folder(name: str) -> str:
    return PurePosixPath(name).parent.as_posix()


def _are_frames(names: pd.Series) -> bool:
    """Whether names are those of numbered pictures in several folders that are no classes."""
    folders = names.map(_folder)
    pictures = names.str.lower().str.endswith(PICTURES).all()
    several = 1 < folders.nunique() < len(folders)
    classes = folders.map(lambda folder: PurePosixPath(folder).name.lower() in CLASSES).any()
    return bool(pictures and several and not classes and (names.map(_number) != "").all())


def _number(name: str) -> str:
    return re.sub(r"\D", "", PurePosixPath(name).stem)


def _with_videos(rows: pd.DataFrame, in_folders: bool) -> tuple[pd.DataFrame, list[str]]:
    """Give rows a time: numbered pictures are frames of the video that their folder is; repeated names are frames."""
    if "t" in rows.columns:
        return rows, []
    if in_folders:
        folders = rows["video"].map(_folder)
        said = f"pictures are taken for frames: {len(rows)} in {folders.nunique()} folders, each a video"
        return rows.assign(video=folders, t=rows["video"].map(_number).astype(float)), [said]
    place = rows.groupby([name for name in ("video", *SEPARATE) if name in rows], dropna=False).cumcount().astype(float)
    said = "a name that stands in several rows is a video, and they are its frames"
    return rows.assign(t=place), [said] if place.any() else []


def _over_runs(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Average what several runs say about the same frame, as an ensemble does."""
    if "run" not in rows or rows["score"].isna().any():
        return rows, []
    key = [name for name in ("video", "t", *SEPARATE) if name in rows and name != "run"]
    own = rows.drop_duplicates([*key, "run"])
    kept = own.drop_duplicates(key).drop(columns="run")
    if len(kept) == len(own):
        return rows, []
    means = own.groupby(key, dropna=False)["score"].mean().rename("mean")
    said = f"scores of {own['run'].nunique()} runs are averaged: {len(own)} rows became {len(kept)}"
    said += f"; {len(rows) - len(own)} rows repeat others of their run and are left out" if len(rows) > len(own) else ""
    return kept.join(means, on=key).assign(score=lambda t: t["mean"]).drop(columns="mean"), [said]


def _blank(rows: pd.DataFrame) -> list[str]:
    """Say what stands in for empty cells."""
    counts = {name: int(_is_blank(rows[name]).sum()) for name in FILLED if name in rows}
    return [f"{counts[name]} rows have an empty {name}: {FILLED[name]}" for name in counts if counts[name]]


def _is_blank(column: pd.Series) -> pd.Series:
    return column.isna() | (column.astype(str).str.strip() == "")


def _completed(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Give columns that are missing, and empty cells, sensible values."""
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


def _from_json(data: Any) -> pd.DataFrame:
    """Read {name: score}, {name: {label: ...}} as DFDC has it, a list of objects, or a DeepfakeBench dataset index."""
    if isinstance(data, list):
        return pd.DataFrame(data)
    if not isinstance(data, dict) or not data:
        raise DfdError("a JSON file of predictions is a list of objects or an object by name")
    if {"pred", "label"} <= set(data):
        return _from_results(data)
    first = next(iter(data.values()))
    if not isinstance(first, dict):
        return pd.DataFrame({"video": list(data), "score": list(data.values())})
    if "label" in first or "is_fake" in first:
        return pd.DataFrame([{"video": name, **_plain(values)} for name, values in data.items()])
    return _from_index(data)


def _from_index(data: Mapping[str, Any]) -> pd.DataFrame:
    """Read the labels of a DeepfakeBench index: dataset, class, split, perhaps compression, video."""
    rows = []
    for dataset, classes in data.items():
        for name, splits in classes.items():
            for video, values in _videos(splits.get("test", {})):
                real = name.lower().endswith("real")
                frames = [frame.replace("\\", "/") for frame in values.get("frames", [])]
                folder = PurePosixPath(frames[0]).parent.as_posix() if frames else video
                rows.append(
                    {"video": folder, "label": int(not real), "method": "real" if real else name, "dataset": dataset}
                )
    return pd.DataFrame(rows)


def _videos(node: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    found: list[tuple[str, Mapping[str, Any]]] = []
    for name, value in node.items():
        found += [(name, value)] if "frames" in value else _videos(value)
    return found


def _from_results(data: Any) -> pd.DataFrame:
    """Read a dictionary of arrays as DeepfakeBench saves it: pred, label, and names if it kept them."""
    if not isinstance(data, Mapping):
        raise DfdError(f"a pickle of predictions holds a dictionary, this one a {type(data).__name__}")
    scores = next((data[key] for key in ("pred", "score", "prob") if key in data), None)
    names = next((data[key] for key in ("img_names", "image", "name", "video", "path") if key in data), None)
    if scores is None and names is None:
        raise DfdError(f"this file holds neither pred nor names, but {', '.join(map(str, list(data)[:8]))}")
    length = len(scores if scores is not None else names)  # type: ignore[arg-type]
    columns: dict[str, Any] = {
        "video": [_first(n) for n in names] if names is not None else [f"{UNNAMED}{i}" for i in range(length)]
    }
    if scores is not None:
        columns["score"] = np.asarray(scores, float).reshape(length, -1)[:, -1]
    if "label" in data:
        columns["label"] = np.asarray(data["label"], float).reshape(length, -1)[:, -1].astype(int).astype(str)
    wrong = {name: len(column) for name, column in columns.items() if len(column) != length}
    if wrong:
        raise DfdError(f"columns differ in length: {length} and {wrong}")
    return pd.DataFrame(columns)


def _first(name: Any) -> str:
    """Return a clip's first frame."""
    return str(name[0]) if isinstance(name, (list, tuple, np.ndarray)) else str(name)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if isinstance(value, (str, int, float, bool))}


ALLOWED = {
    ("numpy", "ndarray"), ("numpy", "dtype"),
    *((module, name) for module in ("numpy.core.multiarray", "numpy._core.multiarray")
      for name in ("_reconstruct", "scalar")),
    *((module, "_frombuffer") for module in ("numpy.core.numeric", "numpy._core.numeric")),
    ("collections", "OrderedDict"), ("_codecs", "encode"),
}  # fmt: skip


class _Plain(pickle.Unpickler):
    """Lets in arrays and containers, and nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed class, or refuse the file."""
        if (module, name) not in ALLOWED:
            raise DfdError(f"this pickle asks for {module}.{name}: only arrays and plain containers are read")
        return super().find_class(module, name)


def _unpickle(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return _Plain(file).load()
    except DfdError as error:
        raise DfdError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle raises nearly anything
        raise DfdError(f"{path} is damaged or no pickle ({type(error).__name__}: {error})") from error


def read_all(paths: Sequence[Path]) -> dict[str, Imported]:
    """Read prediction files and at most one of labels; return the tables by the file's name."""
    files = {path: read_file(path) for path in paths}
    labels = [path for path, columns in files.items() if columns.has_label and not columns.has_score]
    if len(labels) > 1:
        raise DfdError(f"two files hold labels only, {labels[0]} and {labels[1]}: give one")
    scored = {path: columns for path, columns in files.items() if columns.has_score}
    if not scored:
        raise DfdError(f"{', '.join(map(str, paths))}: no column of scores ({', '.join(SCORE[:5])}, ...)")
    known, dataset = (files[labels[0]], labels[0].stem) if labels else (None, None)
    return {_name(path, list(scored)): join(columns, known, dataset or path.stem) for path, columns in scored.items()}


def _name(path: Path, paths: Sequence[Path]) -> str:
    """Return what a file is called: its stem, or where several have that, what their paths differ in."""
    same = [other.absolute() for other in paths if other.stem == path.stem]
    if len(same) == 1:
        return path.stem
    return path.absolute().relative_to(os.path.commonpath([other.parent for other in same])).as_posix()
