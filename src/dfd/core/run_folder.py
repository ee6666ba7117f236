"""A run folder: its checkpoints, what it says about itself, how it is found again, and its log of test accesses."""

import json
import logging
import math
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfd.core.errors import DfdError
from dfd.core.hub import DESCRIPTION, fetch, is_address
from dfd.core.version_control import git

log = logging.getLogger("dfd")

CONFIG, FACTS, PATCH = "config.yaml", "facts.json", "uncommitted.patch"
CHECKPOINTS = "checkpoints"
BUNDLE = "bundle.json"  # of a run that was exported
JOB_NAME = re.compile(r"\d+(-\d+)?")  # what process_group.job_name() returns
TEST_ACCESSES = "test_touches.jsonl"  # in a run folder: every evaluation of a test split


def find_checkpoint(run: Path) -> Path:
    """Return the file that a run stands for: a path to a file, the best or last checkpoint of a folder, a bundle.

    `hf://owner/name` is fetched.
    """
    run = fetch(str(run)) if is_address(str(run)) else run.expanduser().absolute()
    if run.is_file():
        return run
    if not run.is_dir():
        raise DfdError(f"no run at {run}: give a run folder (outputs/...) or a checkpoint file")
    for name in (BUNDLE, DESCRIPTION):
        if (run / name).is_file():
            return run / name
    for name in ("best.ckpt", "last.ckpt"):
        if (run / CHECKPOINTS / name).is_file():
            return run / CHECKPOINTS / name
    raise DfdError(
        f"{run} holds no {CHECKPOINTS}/best.ckpt or last.ckpt: did its training end before the first validation?"
    )


def run_of(checkpoint: Path) -> Path:
    """Return the run folder that a checkpoint file belongs to; the file's own folder where it stands alone."""
    return checkpoint.parents[1] if checkpoint.parent.name == CHECKPOINTS else checkpoint.parent


def newest(outputs: Path, prefix: str) -> Path:
    """Return the newest run with that prefix that has a checkpoint to go on from."""
    stored = outputs.glob("*/checkpoints/last.ckpt")
    ours = [path for path in stored if _is_named(path.parents[1].name, prefix)]
    found = sorted(ours, key=lambda path: path.stat().st_mtime)
    if not found:
        raise DfdError(f"ckpt_path=last: no run {prefix}_* under {outputs} has a last.ckpt; name it with run_dir=")
    return found[-1].parents[1]


def _is_named(name: str, prefix: str) -> bool:
    """Whether a run was named by us with that prefix, and not with a longer one (vit, vit_autoencoder)."""
    return name.startswith(f"{prefix}_") and JOB_NAME.fullmatch(name, len(prefix) + 1) is not None


def command_line() -> str:
    """Return the command as it was typed."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write what a report says about a run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FACTS).write_text(json.dumps(facts, indent=2, default=str))


def start_notes(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write what is known when a run begins, and the code that no commit holds."""
    write_facts(folder, facts)
    patch = git("diff", "HEAD")
    if patch:
        (folder / PATCH).write_text(patch + "\n", encoding="utf-8")


def compare_data(run: str, manifest: str) -> None:
    """Say so where a run that is run again had other data."""
    path = Path(run) / FACTS
    before = json.loads(path.read_text()).get("manifest") if path.is_file() else None
    if before != manifest:
        log.warning("the data is not that of %s (manifest %s, now %s): the result will differ", run, before, manifest)


def log_access(run: Path, place: Mapping[str, str], auc: float | None) -> None:
    """Log one evaluation of a test split: its dataset, condition and command."""
    with (run / TEST_ACCESSES).open("a") as file:
        file.write(json.dumps(access_entry(place, auc)) + "\n")


def logged_accesses(run: Path, dataset: str, condition: str = "clean") -> list[dict[str, Any]]:
    """Return the logged evaluations of a run on a dataset's test split."""
    if not (run / TEST_ACCESSES).is_file():
        return []
    entries = [json.loads(line) for line in (run / TEST_ACCESSES).read_text().splitlines() if line.strip()]
    return [entry for entry in entries if (entry["dataset"], entry["condition"]) == (dataset, condition)]


def access_entry(place: Mapping[str, str], auc: float | None) -> dict[str, Any]:
    """Describe one evaluation of a test split, as it is logged."""
    return {"when": time.strftime("%Y-%m-%d %H:%M"), **place, "auc": None if auc is None or math.isnan(auc) else auc}
