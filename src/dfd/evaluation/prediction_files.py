"""Files of predictions or labels that other code wrote: CSV, Parquet, JSON and pickles, read into one form.

Pickles are read without running what they hold: only plain containers and NumPy arrays are let in.
"""

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dfd.core.errors import DfdError

SUFFIXES = (".csv", ".tsv", ".parquet", ".json", ".pkl", ".pickle")
IMAGE = ("image", "img", "img_name", "img_path")  # columns whose name says that a row is a picture
NAME = ("video", "filename", "file", "name", "path", *IMAGE, "id")
SCORE = ("score", "prediction", "pred", "prob", "probability", "fake_prob", "p_fake", "output")
LABEL = ("label", "target", "is_fake", "gt", "ground_truth", "y", "y_true")
WORDS = {"real": 0, "fake": 1, "0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
DELIMITERS = ",;\t"
UNNAMED = "row "


class Columns(NamedTuple):
    """The content of one file: names, with scores or labels or both, and any other column as an attribute.

    `pictures` says whether names stand in a column called image or the like, `words` whether labels are REAL and FAKE.
    """

    rows: pd.DataFrame
    has_score: bool
    has_label: bool
    pictures: bool = False
    words: bool = False


def read_file(path: Path) -> Columns:
    """Read a file of predictions or labels, whatever its format."""
    if not path.is_file():
        raise DfdError(f"no predictions at {path}")
    try:
        if path.suffix == ".parquet":
            rows = pd.read_parquet(path)
        elif path.suffix in (".csv", ".tsv"):
            rows = _from_csv(path)
        elif path.suffix == ".json":
            rows = _from_json(json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_once))
        elif path.suffix in (".pkl", ".pickle"):
            rows = _from_results(_unpickle(path))
        else:
            raise DfdError(f"{path} is not a {', '.join(SUFFIXES)} file")
    except DfdError as error:
        raise DfdError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    except (ValueError, UnicodeDecodeError, EOFError, RecursionError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DfdError(f"{path} cannot be read ({reason}): is it damaged?") from error
    if not len(rows):
        raise DfdError(f"{path} has no rows: expected a name and a score, or a name and a label, per row")
    return _understood(rows, path)


def _understood(rows: pd.DataFrame, path: Path) -> Columns:
    """Rename columns known by other names; a `label` of other values than labels is a DFDC submission's score."""
    lower = rows.rename(columns={column: str(column).strip().lower() for column in rows.columns})
    found = {
        wanted: next((c for c in names if c in lower.columns), None)
        for wanted, names in (("video", NAME), ("score", SCORE), ("label", LABEL))
    }
    if found["video"] is None:
        have = ", ".join(map(str, rows.columns[:8]))
        raise DfdError(f"{path} has no column of names ({', '.join(NAME[:5])}, ...); it has {have}")
    pictures = found["video"] in IMAGE
    lower = lower.rename(columns={old: new for new, old in found.items() if old is not None})
    lower["video"] = _names(lower["video"], path)
    words = False
    if found["label"] is not None:
        labels = lower["label"].astype(str).str.strip().str.lower()
        if labels.isin(list(WORDS)).all():
            lower["label"], words = labels.map(WORDS).astype(int), bool(labels.isin(["real", "fake"]).any())
        elif found["score"] is None:
            lower = lower.rename(columns={"label": "score"})
        else:
            odd = labels[~labels.isin(list(WORDS))].iloc[0]
            raise DfdError(f"{path}: {odd!r} is not a label; labels are 0 (real) or 1 (fake)")
    for column in ("score", "t"):
        if column in lower.columns:
            lower[column] = _numbers(lower[column], column, path)
    lower = lower.drop(columns=[name for name in ("t", "track") if name in lower and lower[name].isna().all()])
    _refuse_mixed(lower, path)
    return Columns(lower, "score" in lower.columns, "label" in lower.columns, pictures, words)


def _names(column: pd.Series, path: Path) -> pd.Series:
    """Return names with forward slashes; NA, null and None are names like any other, an empty cell is an error."""
    names = column.where(column.notna(), "").astype(str)
    empty = np.flatnonzero(names.str.strip() == "")
    if len(empty):
        raise DfdError(f"{path}: row {empty[0] + 1} has no name ({len(empty)} in all): every row needs one")
    return names.str.replace("\\", "/", regex=False)


def _refuse_mixed(rows: pd.DataFrame, path: Path) -> None:
    for column, mixed in (("t", "frames and videos"), ("track", "people and whole videos")):
        if column in rows.columns and rows[column].isna().any():
            count = int(rows[column].isna().sum())
            raise DfdError(
                f"{path}: {count} rows have no {column}, the others have: {mixed} are mixed; one level a file"
            )


def _numbers(column: pd.Series, name: str, path: Path) -> pd.Series:
    values = pd.to_numeric(column, errors="coerce")
    odd = column[values.isna() & column.notna()]
    if len(odd):
        raise DfdError(f"{path}: {odd.iloc[0]!r} in column {name} is not a number")
    return values


def _from_csv(path: Path) -> pd.DataFrame:
    """Read text columns separated by comma, semicolon or tab; only an empty cell is a missing value."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = re.sub('"[^"]*"', "", file.readline())  # a quoted name may hold any of them
    delimiter = max(DELIMITERS, key=header.count)  # the comma, where none occurs
    rows = pd.read_csv(path, dtype=str, sep=delimiter, skipinitialspace=True, keep_default_na=False)
    rows = rows.replace("", np.nan)
    return rows.apply(_decimal_points) if delimiter == ";" else rows


def _decimal_points(column: pd.Series) -> pd.Series:
    """Read 0,5 as 0.5, where the comma does not separate columns."""
    given = column.dropna()
    if len(given) and given.str.fullmatch(r"[+-]?\d*,?\d+([eE][+-]?\d+)?").all():
        return column.str.replace(",", ".", regex=False)
    return column


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; a key that occurs twice is an error, since one of the two values would be lost."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise DfdError(f"{key!r} occurs twice in one JSON object: which one counts?")
        found[key] = value
    return found


def _from_json(data: Any) -> pd.DataFrame:
    """Read {name: score}, {name: {label: ...}} as DFDC has it, a list of objects, or a DeepfakeBench dataset index."""
    if isinstance(data, list):
        return pd.DataFrame(data)
    if not isinstance(data, dict) or not data:
        raise DfdError("a JSON file of predictions is a list of objects or an object by name")
    if {"pred", "label"} <= set(data) and isinstance(data["pred"], list):
        return _from_results(data)
    first = next(iter(data.values()))
    if not isinstance(first, dict):
        return pd.DataFrame({"video": list(data), "score": list(data.values())})
    if {*LABEL, *SCORE} & set(first):
        return pd.DataFrame([{"video": name, **_plain(values)} for name, values in data.items()])
    return _from_index(data)


def _from_index(data: Mapping[str, Any]) -> pd.DataFrame:
    """Read the labels of a DeepfakeBench index: dataset, class, split, perhaps compression, video."""
    rows = []
    for dataset, classes in data.items():
        for name, splits in _mapping(classes).items():
            for video, values in _videos(_mapping(_mapping(splits).get("test", {}))):
                real = name.lower().endswith("real")
                frames = [frame.replace("\\", "/") for frame in values.get("frames", [])]
                folder = PurePosixPath(frames[0]).parent.as_posix() if frames else video
                rows.append(
                    {"video": folder, "label": int(not real), "method": "real" if real else name, "dataset": dataset}
                )
    return pd.DataFrame(rows)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise DfdError(
            "neither predictions by name nor a DeepfakeBench index: expected {name: score} or a list of rows"
        )
    return value


def _videos(node: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    found: list[tuple[str, Mapping[str, Any]]] = []
    for name, value in node.items():
        found += [(name, value)] if "frames" in _mapping(value) else _videos(value)
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


def _plain(values: Any) -> dict[str, Any]:
    return {key: value for key, value in _mapping(values).items() if isinstance(value, (str, int, float, bool))}


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
        raise DfdError(f"{path} is damaged or not a pickle ({type(error).__name__}: {error})") from error
