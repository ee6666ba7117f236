"""How a run's candidates are decoded: chosen on validation, stored with the run, used wherever its files are judged."""

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from dfd.core.errors import DfdError, did_you_mean
from dfd.metrics.proposals import Decoding

FILE = "decoding.json"  # in a run folder
MOST = 200  # combinations


def stored_decoding(run: Path | None) -> Decoding:
    """Return what a run's validation chose, or the default."""
    path = None if run is None else run / FILE
    if path is None or not path.is_file():
        return Decoding()
    return Decoding(**json.loads(path.read_text())["decoding"])


def grid(options: Mapping[str, Any] | None, base: Decoding) -> list[Decoding]:
    """Return every combination of the lists among the options over a base; one alone where there is no list."""
    known = [field.name for field in fields(Decoding)]
    given = {name: value for name, value in (options or {}).items() if value is not None}
    for name in given:
        if name not in known:
            raise DfdError(f"eval.decode has no {name!r}{did_you_mean(name, known)}")
    axes = [value if isinstance(value, (list, tuple)) else [value] for value in given.values()]
    combinations = [dict(zip(given, values)) for values in itertools.product(*axes)]
    if len(combinations) > MOST:
        raise DfdError(f"eval.decode names {len(combinations)} combinations, at most {MOST} are tried")
    return [Decoding(**{**asdict(base), **values}) for values in combinations]


def choose(options: list[Decoding], value_of: Callable[[Decoding], float]) -> tuple[Decoding, list[dict[str, Any]]]:
    """Return the decoding of the best value, and the value of each."""
    tried = [(how, value_of(how)) for how in options]
    best = max(tried, key=lambda one: -1.0 if one[1] != one[1] else one[1])[0]
    return best, [{**asdict(how), "map": value} for how, value in tried]


def store(run: Path, how: Decoding, tried: list[dict[str, Any]], facts: Mapping[str, Any]) -> None:
    """Keep a choice with its run, and what it was chosen among."""
    values = {"decoding": asdict(how), "tried": tried, "manifest": facts.get("manifest"), "chosen_by": "validation mAP"}
    (run / FILE).write_text(json.dumps(values, indent=2))


def for_test(options: Mapping[str, Any] | None, run: Path | None) -> Decoding:
    """Return how a split other than validation is decoded: what was given, over what the run chose; never a choice."""
    given = {name: value for name, value in (options or {}).items() if value is not None}
    lists = [name for name, value in given.items() if isinstance(value, (list, tuple))]
    if lists and (run is None or not (run / FILE).is_file()):
        raise DfdError(
            f"eval.decode.{lists[0]} lists several values: they are chosen among on validation, split=val first"
        )
    return grid({name: value for name, value in given.items() if name not in lists}, stored_decoding(run))[0]
