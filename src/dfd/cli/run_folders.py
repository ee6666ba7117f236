"""Run folders of this command: where a run writes, and what its reports say of it."""

import logging
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dfd.cli.foreign_yaml import read_yaml
from dfd.cli.invocation import Invocation
from dfd.cli.recipe import differences, training_hash
from dfd.core.card import Card
from dfd.core.errors import DfdError
from dfd.core.locks import alone_in
from dfd.core.process_group import is_first, job_name
from dfd.core.resources import environment
from dfd.core.run_folder import CONFIG, command_line, newest
from dfd.preprocess.dataset import Prepared

log = logging.getLogger("dfd")

_LOG = "dfd-run"
_held = ExitStack()  # the lock of the run folder: a process trains one run at a time
_INHERITED = "DFD_RUN_DIR"  # processes that a DDP run starts write where the first one does


def run_folder(cfg: DictConfig, prefix: str, called: Invocation) -> Path:
    """Decide the run folder: the user's, the sweep's, that of the run that goes on, or a new one."""
    if os.environ.get(_INHERITED) and int(os.environ.get("LOCAL_RANK", 0)) > 0:
        return Path(os.environ[_INHERITED])
    folder = _folder(cfg, prefix, called).absolute()
    if (folder / "checkpoints").is_dir() and cfg.ckpt_path is None and is_first():
        raise DfdError(f"{folder} holds a run already: go on with ckpt_path=last, or choose another name=")
    os.environ[_INHERITED] = str(folder)
    return folder


def _folder(cfg: DictConfig, prefix: str, called: Invocation) -> Path:
    if cfg.run_dir:
        return Path(cfg.run_dir)
    if called.sweep is not None:
        return called.sweep / called.job
    outputs = Path(cfg.paths.output_dir)
    if cfg.name:
        return outputs / cfg.name
    if cfg.ckpt_path == "last":
        return _newest_alike(outputs, prefix, cfg)
    return outputs / f"{prefix}_{job_name()}"


def _newest_alike(outputs: Path, prefix: str, cfg: DictConfig) -> Path:
    """Return the newest run of this model and data to resume; one with other settings is not this one."""
    folder = newest(outputs, prefix)
    other = differences(folder, cfg)
    if other:
        some = ", ".join(other[:5]) + (" ..." if len(other) > 5 else "")
        raise DfdError(
            f"ckpt_path=last: the newest run is {folder}, which has other settings ({some}): name the one to resume "
            "with name= or run_dir=, or repeat its settings"
        )
    log.info("ckpt_path=last resumes %s", folder)
    return folder


def open_folder(folder: Path, cfg: DictConfig) -> str:
    """Make a run folder for this process alone, log into it, and write its configuration; return that as YAML."""
    folder.mkdir(parents=True, exist_ok=True)
    _held.close()  # that of the job before this one, in a sweep
    if is_first():
        _held.enter_context(alone_in(folder, otherwise="wait until it ends, or choose another name="))
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if handler.name == _LOG]:
        root.removeHandler(handler)  # that of the job before this one, in a sweep
    handler = logging.FileHandler(folder / "run.log", encoding="utf-8")
    handler.name = _LOG
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root.addHandler(handler)
    text = OmegaConf.to_yaml(cfg, resolve=True)
    (folder / CONFIG).write_text(text, encoding="utf-8")
    return text


def saved_config(checkpoint: Path) -> DictConfig | None:
    """Return the configuration beside a checkpoint, if the run folder is still around it."""
    path = checkpoint.parents[1] / CONFIG
    return read_yaml(path) if checkpoint.parent.name == "checkpoints" and path.is_file() else None


def evaluation_facts(prepared: Prepared, title: str, card: Card, folder: Path) -> dict[str, Any]:
    """Return what the reports of training and of evaluation say alike."""
    return {
        "title": f"{card.model} on {title}" + (" (rendered sample)" if prepared.source.sample else ""),
        "model": card.model,
        "dataset": prepared.source.tag,
        "sample": prepared.source.sample,
        "trained_on": card.data,
        "run": folder.name,
        "initialised_from": card.initialised_from,
        "manifest": prepared.manifest.hash,
        "seed": card.seed,
        "recipe": training_hash(folder),
        "command": command_line(),
        "started": time.strftime("%Y-%m-%d %H:%M"),
        "environment": environment(),
        "failures": [failure.__dict__ for failure in prepared.failures],
        "notes": prepared.notes,
        "probe": card.is_baseline,
    }
