"""A teacher for the model that is trained: any run or checkpoint, given as teacher.run=."""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from dfd.core.build import Allowed, allowed_networks, build
from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.process_group import is_first
from dfd.core.run_folder import find_checkpoint
from dfd.models.checkpoint import Loaded, load_network
from dfd.training.run_split import score_split
from dfd.training.teaching import CachedOdds

log = logging.getLogger("dfd")

PLAIN = "dfd.training.classification.Classification"
TAUGHT = "dfd.training.distillation.Distillation"
SHOWN = ("view_margin", "align", "actors", "repair", "sampling")
ALL_FRAMES = 4096  # more than are stored of any video


def check_teacher(plain: Mapping[str, Any]) -> None:
    """Refuse a teacher for what is not trained by labels, and a run that is none, before any work is done."""
    if plain["teacher"]["run"] is None:
        return
    target = plain["model"]["objective"]["_target_"]
    if target not in (PLAIN, TAUGHT):
        raise DfdError(f"teacher.run: model={plain['model']['name']} trains by {target}, not by labels alone")
    find_checkpoint(Path(plain["teacher"]["run"]))


def taught_objective(
    plain: Mapping[str, Any], manifest: Manifest, allow: Allowed
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the objective's tree and further arguments: with a teacher, those of distillation from it."""
    tree, options = dict(plain["model"]["objective"]), dict(plain["teacher"])
    run, cache = options.pop("run"), options.pop("cache")
    if run is None:
        return tree, {}
    loaded = load_network(Path(run), allowed_networks(plain["plugins"]))
    if loaded.card.manifest != manifest.hash:
        log.warning("%s was trained on other data: it may have seen what this run is validated or tested on", run)
    log.info("taught by %s (%s)", loaded.path, loaded.card.model)
    odds = cached_odds(loaded, plain, manifest, allow) if cache else None
    return tree | {"_target_": TAUGHT} | options, {"teacher": None if odds else loaded.network, "odds": odds}


def teacher_note(plain: Mapping[str, Any]) -> list[str]:
    """Return the notes of a report about the teacher."""
    teacher = plain["teacher"]
    if teacher["run"] is None:
        return []
    settings = f"{teacher['kind']}, alpha {teacher['alpha']:g}, temperature {teacher['tau']:g}"
    return [f"taught by {teacher['run']} ({settings})"]


def cached_odds(loaded: Loaded, plain: Mapping[str, Any], manifest: Manifest, allow: Allowed) -> CachedOdds:
    """Return the teacher's log-odds of every stored frame of the training split, clean; they are computed once."""
    if loaded.network.input.kind != "image":
        raise DfdError("teacher.cache=true: only what an image teacher says of a frame can be kept")
    loader = dict(plain["data"]["loader"]) | {"eval_frames": ALL_FRAMES}
    seen = {key: loader.get(key) for key in SHOWN} | {"checkpoint": loaded.path.stat().st_mtime_ns}
    name = hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:8]
    path = loaded.path.parents[1] / "teacher" / f"{manifest.hash}-{loaded.path.stem}-{name}.npz"
    kept = _read(path)
    if kept is None:
        data = build(loader, allow, "loader")(manifest, loaded.network.input)
        rows = score_split(loaded.network, data, "train", plain["trainer"])
        kept = {"video": rows.video, "t": rows.t, "score": rows.score}
        if is_first():
            _write(path, kept)
            log.info("kept what the teacher says of %d views in %s", len(rows.video), path)
    probability = np.clip(kept["score"], 1e-7, 1 - 1e-7)
    return CachedOdds(kept["video"], kept["t"], np.log(probability / (1 - probability)))


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """Return what was kept; nothing where there is none, or only a part that a stopped run left."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in ("video", "t", "score")}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def _write(path: Path, kept: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(part, **kept)  # type: ignore[arg-type]
    part.replace(path)
