"""What is known to a run, and what may be shown to it as unknown: another dataset, or what was left out of its own."""

import inspect
import logging
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from dfd.core.build import Allowed, locate
from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.records import FAKE, REAL, Record
from dfd.inference.ood import IdOodData
from dfd.preprocess.dataset import Prepared, prepare_data

log = logging.getLogger("dfd")

SHOWN_ALIKE = ("view_margin", "align", "eval_frames", "sampling")


def id_and_ood(
    known_node: dict[str, Any],
    data_dir: Path,
    allow: Allowed,
    typed: Mapping[str, Any],
    given: dict[str, Any] | None = None,
    crops: Mapping[str, Any] | None = None,
) -> IdOodData:
    """Prepare in-distribution data, what the run was trained on, and out-of-distribution data.

    Args:
        known_node: the run's own data configuration.
        data_dir: folder of datasets.
        allow: packages whose classes may be built.
        typed: values that the user gave by key; those of `data.` go on top of the run's own.
        given: the dataset that the user named as out-of-distribution; None takes what was left out of the run's own.
        crops: how the run cuts faces.
    """
    same = given is None or given["name"] == known_node["name"]
    whole = _as_typed(known_node, ("",), typed) if same else {}
    known_node = _as_typed(known_node, ("loader.", "root") if same else ("loader.",), typed)
    known = prepare_data(part_of(known_node, "id", allow), data_dir, allow, crops)
    if same:
        node = part_of(whole, "ood", allow)
    else:
        assert given is not None
        node = part_of(given, "all", allow)
        # shown alike: a detector must not tell them apart by how they are cut
        node["loader"] |= {key: known_node["loader"][key] for key in SHOWN_ALIKE if key in known_node["loader"]}
    unknown = prepare_data(node, data_dir, allow, crops if node["crops"] is not None else None)
    return IdOodData(known, _unseen(unknown, known.manifest), known_node, node, allow)


def part_of(whole: Mapping[str, Any], part: str, allow: Allowed) -> dict[str, Any]:
    """Return a data configuration that asks its index for one part, where it knows parts."""
    node: dict[str, Any] = deepcopy(dict(whole))
    if node["index"] and "part" in inspect.signature(locate(node["index"]["_target_"], allow, "index")).parameters:
        node["index"]["part"] = part
    return node


def outliers_for(prepared: Prepared, plain: Mapping[str, Any], data_dir: Path, allow: Allowed) -> Prepared:
    """Return what an abnormality module trains on: known records (0) and outliers (1), synthetic and of other sources.

    The test split is left out: nothing out of distribution that is tested on may be seen.
    """
    from dfd.data.outliers import outliers_of

    if "classes" in plain["data"]["loader"]:
        plain["data"]["loader"]["classes"] = "label"
    options = plain["model"]["outliers"]
    known = [replace(record, label=REAL) for record in prepared.manifest.records if record.split != "test"]
    train = _some([record for record in known if record.split == "train"], options["limit"])
    known = [*train, *(record for record in known if record.split == "val")]
    outliers = outliers_of(known, options["kinds"]) if options["kinds"] else []
    real = _real_outliers(plain["data"], data_dir, allow)
    if not outliers and not real:
        raise DfdError("nothing to learn from: name model.outliers.kinds=[...] or data.index.outliers=[...]")
    outliers += [replace(record, label=FAKE) for record in real if record.split != "test"]
    if real:
        log.info("outliers of other sources: %s", ", ".join(sorted({record.method for record in real})))
    return replace(prepared, manifest=Manifest((*known, *outliers), prepared.manifest.folder))


def _as_typed(saved: dict[str, Any], within: tuple[str, ...], typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run's own data configuration with what the user typed of some of its parts on top."""
    node = deepcopy(saved)
    for key, value in typed.items():
        if not key.startswith(tuple(f"data.{part}" for part in within)):
            continue
        *path, name = key.removeprefix("data.").split(".")
        inner = node
        for part in path:
            inner = inner.setdefault(part, {})
        inner[name] = value
    return node


def _unseen(unknown: Prepared, known: Manifest) -> Prepared:
    """Leave out what is not for testing, and every source that the run has seen in training."""
    seen = {(record.dataset, record.method) for record in known.records if record.split == "train"}
    kept = [r for r in unknown.manifest.records if r.split == "test" and (r.dataset, r.method) not in seen]
    if not kept:
        methods = sorted({record.method for record in unknown.manifest.records})
        raise DfdError(
            f"nothing in {unknown.source.tag} is unknown to the run, which has seen {', '.join(methods)}; name another "
            "dataset (data=...) or what was left out of training (data.index.methods=[...], data.index.ood=[...])"
        )
    return replace(unknown, manifest=Manifest(tuple(kept), unknown.manifest.folder))


def _real_outliers(node: Mapping[str, Any], data_dir: Path, allow: Allowed) -> list[Record]:
    asked = node["index"] or {}
    if not asked.get("outliers"):
        return []
    if asked.get("oracle_outliers"):
        log.warning("oracle outliers: trained on what it is tested on. This is not open-set detection")
    return list(prepare_data(part_of(node, "outliers", allow), data_dir, allow).manifest.records)


def _some(records: list[Record], limit: int | None) -> list[Record]:
    if limit is None or len(records) <= limit:
        return records
    return [records[row * len(records) // limit] for row in range(limit)]
