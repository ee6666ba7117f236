"""Proposals and annotations in the formats of others: ActivityNet JSON, the 1M-Deepfakes challenge, LAV-DF's metadata.

ActivityNet: `{"results": {id: [{"segment": [start, end], "score": s, "label": l}]}}` and `{"database": {id: {"subset",
"duration", "annotations": [{"segment", "label"}]}}}`. The challenge: `{file: [[score, start, end], ...]}` with every
file present, best first, and lines `file;score` for whole files.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dfd.core import segments
from dfd.core.errors import DfdError
from dfd.core.records import FAKE, REAL, STREAMS
from dfd.evaluation.localisation.truth import Truth

LABEL = "Fake"
SUFFIXES = (".json", ".parquet", ".csv")


def read_proposals(path: Path, dataset: str = "unknown", per_second: float = 1.0) -> pd.DataFrame:
    """Read proposals: ActivityNet results, a challenge's JSON, or our own table.

    Args:
        path: the file.
        dataset: name of the dataset, which other formats do not say.
        per_second: 25 where the times of a challenge's JSON are frames.
    """
    if path.suffix != ".json":
        return segments.read(path)[0]
    held = _json(path)
    if "results" in held:
        rows = [
            (video, float(p["segment"][0]), float(p["segment"][1]), _stream(p.get("label")), float(p["score"]))
            for video, found in held["results"].items()
            for p in found
        ]
    elif all(isinstance(value, list) for value in held.values()):
        rows = [
            (video, float(start) / per_second, float(end) / per_second, "both", float(score))
            for video, found in held.items()
            for score, start, end in found
        ]
    else:
        raise DfdError(f"{path} holds neither ActivityNet's results nor a challenge's {{file: [[score, start, end]]}}")
    table = pd.DataFrame(rows, columns=["video", "start", "end", "stream", "score"])
    table.insert(0, "dataset", dataset)
    backwards = table["end"] <= table["start"]
    return segments.tidy(table[~backwards])


def write_results(proposals: pd.DataFrame, path: Path) -> None:
    """Write ActivityNet results; the stream of a proposal is its label where it is known."""
    results: dict[str, list[dict[str, Any]]] = {}
    for row in _best_first(proposals):
        label = LABEL if row.stream == "both" else str(row.stream)
        found = {"segment": [float(row.start), float(row.end)], "score": float(row.score), "label": label}
        results.setdefault(str(row.video), []).append(found)
    path.write_text(json.dumps({"version": "dfd", "results": results, "external_data": {}}))


def write_challenge(proposals: pd.DataFrame, truth: Truth | None, path: Path, suffix: str = "") -> None:
    """Write proposals as the 1M-Deepfakes challenge takes them, and beside them the scores of whole files as text.

    Args:
        proposals: a segment table.
        truth: whose every file must be present; None: only the files with proposals.
        path: of the JSON; the text lies beside it.
        suffix: of file names, which ids lack: e.g. .mp4.
    """
    names = list(truth.files["video"]) if truth is not None else sorted(set(proposals["video"]))
    found: dict[str, list[list[float]]] = {str(name): [] for name in names}
    for row in _best_first(proposals):
        found[str(row.video)].append([float(row.score), float(row.start), float(row.end)])
    path.write_text(json.dumps({name + suffix: rows for name, rows in found.items()}))
    lines = [f"{name}{suffix};{rows[0][0] if rows else 0.0}" for name, rows in found.items()]
    path.with_suffix(".txt").write_text("\n".join(lines) + "\n")


def read_annotations(path: Path, dataset: str = "unknown", subset: str | None = None) -> Truth:
    """Read what is true: ActivityNet's database, LAV-DF's or AV-Deepfake1M's metadata, or the folder of our tables.

    Args:
        path: the file, or a folder.
        dataset: name of the dataset.
        subset: only files of this split.
    """
    if path.is_dir():
        return Truth.read(path)
    held = _json(path)
    if isinstance(held, Mapping) and "database" in held:
        items = [
            _of_database(name, entry) for name, entry in held["database"].items() if _in(entry.get("subset"), subset)
        ]
    elif isinstance(held, list) and held and "file" in held[0]:
        items = [_of_metadata(entry) for entry in held if _in(entry.get("split"), subset)]
    else:
        raise DfdError(f"{path} holds neither ActivityNet's database nor a list of files like LAV-DF's metadata")
    if not items:
        raise DfdError(f"{path} holds no file" + (f" of subset {subset!r}" if subset else ""))
    files = pd.DataFrame(
        [
            {"dataset": dataset, "label": FAKE if rows else REAL, "method": "fake" if rows else "real", **f}
            for f, rows in items
        ]
    )
    rows = [(dataset, file["video"], *row) for file, found in items for row in found]
    stretches = pd.DataFrame(rows, columns=["dataset", "video", "start", "end", "stream"])
    return Truth(files, stretches.astype({"start": float, "end": float}))


def write_annotations(truth: Truth, path: Path, subset: str = "test") -> None:
    """Write what is true as ActivityNet's database."""
    found: dict[str, list[dict[str, Any]]] = {str(video): [] for video in truth.files["video"]}
    for row in truth.stretches.itertuples():
        found[str(row.video)].append({"segment": [float(row.start), float(row.end)], "label": str(row.stream)})
    durations = dict(zip(truth.files["video"].astype(str), truth.files["duration"].astype(float)))
    database = {
        video: {"subset": subset, "duration": durations[video], "annotations": rows} for video, rows in found.items()
    }
    path.write_text(json.dumps({"version": "dfd", "database": database}))


def _best_first(proposals: pd.DataFrame) -> Any:
    return proposals.sort_values(["video", "score"], ascending=[True, False], kind="stable").itertuples()


def _of_database(name: str, entry: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[float, float, str]]]:
    rows = [(float(a["segment"][0]), float(a["segment"][1]), _stream(a.get("label"))) for a in entry["annotations"]]
    return {"video": name, "group": name, "duration": float(entry["duration"])}, rows


def _of_metadata(entry: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[float, float, str]]]:
    periods = entry.get("fake_periods", entry.get("fake_segments", []))
    stream = "both"
    if "modify_video" in entry and entry["modify_video"] != entry.get("modify_audio"):
        stream = "video" if entry["modify_video"] else "audio"
    last = max([0.0, *(float(end) for _, end in periods)])
    duration = entry.get("duration") or (entry.get("video_frames") or 0) / 25 or last
    video = str(entry["file"]).removesuffix(".mp4")
    group = str(entry.get("original") or entry["file"]).removesuffix(".mp4")
    return {"video": video, "group": group, "duration": float(duration)}, [
        (float(s), float(e), stream) for s, e in periods
    ]


def _stream(label: Any) -> str:
    return label if label in STREAMS else "both"


def _in(split: Any, subset: str | None) -> bool:
    return subset is None or split == subset


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DfdError(f"{path} cannot be read as JSON: {error}") from error


def same_names(proposals: pd.DataFrame, truth: Truth) -> pd.DataFrame:
    """Return proposals whose files are named as in the truth: a suffix .mp4 on one side is no difference."""
    known = set(truth.files["video"].astype(str))
    names = proposals["video"].astype(str)
    bare = names.str.removesuffix(".mp4")
    chosen = np.where(names.isin(known), names, np.where(bare.isin(known), bare, names + ".mp4"))
    dataset = truth.files["dataset"].iloc[0]
    return segments.tidy(
        proposals.assign(video=np.where(pd.Series(chosen).isin(known), chosen, names), dataset=dataset)
    )
