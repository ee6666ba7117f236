"""A dataset compared with what its authors published: what was found, and what keeps their protocol from being kept."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dfd.core.build import Allowed, build, locate
from dfd.core.errors import DfdError
from dfd.preprocess.dataset import Source, indexed
from dfd.preprocess.doctor import compare, examine, problems
from dfd.preprocess.runner import Engine


@dataclass(frozen=True)
class Diagnosis:
    """What was found of one dataset.

    Args:
        source: where it lies.
        counts: (method, split, found, published; -1 where nothing was published).
        files: a row per file, from opening each.
        problems: what keeps the published protocol from being kept.
        notes: further remarks of the index.
    """

    source: Source
    counts: list[tuple[str, str, int, int]]
    files: pd.DataFrame
    problems: list[str]
    notes: list[str]

    @property
    def remarks(self) -> list[str]:
        """Problems and notes, without the counts that a table of counts shows anyway."""
        shown = {f"{method} {split}: {found} of {published}" for method, split, found, published in self.counts}
        return [*(line for line in self.problems if line not in shown), *self.notes]


def diagnose(data: Mapping[str, Any], data_dir: Path, allow: Allowed, engine: Engine) -> Diagnosis:
    """Open every file of a dataset, and compare its counts with the published ones."""
    index = data["index"]
    lenient = "allow_missing" in inspect.signature(locate(index["_target_"], allow, "index")).parameters
    found = {**data, "index": {**index, "allow_missing": True} if lenient else index}
    with indexed(found, data_dir, allow) as (source, records, notes):
        files = examine(records, source.processed, engine)
    counts = compare(records, {} if source.sample else _expected(data))
    failing = problems(counts, files)
    if lenient and not source.sample and not index.get("allow_missing"):
        missing = _missing(index, allow, source)
        notes = [note for note in notes if not missing or "is not complete" not in note]  # said once, with what to do
        failing += missing
    return Diagnosis(source, counts, files, failing, list(notes))


def _expected(data: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Return the published counts of those methods that the index is asked for."""
    asked = data["index"].get("methods")
    published = data.get("expected") or {}
    return {method: n for method, n in published.items() if asked is None or method in ("real", "fake", *asked)}


def _missing(index: Mapping[str, Any], allow: Allowed, source: Source) -> list[str]:
    """Return the index's own words on what is missing."""
    try:
        list(build({**index, "allow_missing": False}, allow, "index")(source.root))
    except DfdError as error:
        return [str(error)]
    return []
