"""Run folders: where a run writes, what it says about itself, and how a stopped one is found again."""

import json
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from dfd.cli.app import in_sweep
from dfd.cli.launched import JOB_NAME, is_first, job_name
from dfd.core.errors import DfdError

log = logging.getLogger("dfd")

CONFIG, FACTS, PATCH = "config.yaml", "facts.json", "uncommitted.patch"
PACKAGES = ("dfd", "torch", "torchvision", "timm", "pytorch-lightning", "hydra-core", "albumentations", "numpy", "av")
_LOG = "dfd-run"
_INHERITED = "DFD_RUN_DIR"  # processes that a DDP run starts write where the first one does


def run_folder(cfg: DictConfig, prefix: str) -> Path:
    """Decide the run folder: the user's, the sweep's, that of the run that goes on, or a new one."""
    if os.environ.get(_INHERITED) and int(os.environ.get("LOCAL_RANK", 0)) > 0:
        return Path(os.environ[_INHERITED])
    folder = _folder(cfg, prefix).absolute()
    if (folder / "checkpoints").is_dir() and cfg.ckpt_path is None and is_first():
        raise DfdError(f"{folder} holds a run already: go on with ckpt_path=last, or choose another name=")
    os.environ[_INHERITED] = str(folder)
    return folder


def _folder(cfg: DictConfig, prefix: str) -> Path:
    if cfg.run_dir:
        return Path(cfg.run_dir)
    if in_sweep():
        return Path(HydraConfig.get().sweep.dir) / HydraConfig.get().sweep.subdir
    outputs = Path(cfg.paths.output_dir)
    if cfg.name:
        return outputs / cfg.name
    if cfg.ckpt_path == "last":
        return newest(outputs, prefix)
    return outputs / f"{prefix}_{job_name()}"


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


def open_folder(folder: Path, cfg: DictConfig) -> str:
    """Make a run folder, log into it, and write the configuration as it really runs; return it as YAML."""
    folder.mkdir(parents=True, exist_ok=True)
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
    loaded = OmegaConf.load(path) if checkpoint.parent.name == "checkpoints" and path.is_file() else None
    return loaded if isinstance(loaded, DictConfig) else None


def environment() -> dict[str, str]:
    """Return what a reader needs to know of the machine and the software."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    facts = {"python": platform.python_version(), "system": platform.platform(), "device": device}
    facts["git"] = _git("describe", "--always", "--dirty") or "unknown"
    for name in PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "not installed"
    return facts


def device(trainer: Mapping[str, Any]) -> str:
    """Return the device that a trainer configuration means, for work outside a trainer."""
    import torch

    wanted, devices = trainer["accelerator"], trainer["devices"]
    if wanted != "cpu" and torch.cuda.is_available():
        return f"cuda:{devices[0]}" if isinstance(devices, Sequence) and not isinstance(devices, str) else "cuda"
    return "mps" if wanted in ("auto", "gpu", "mps") and torch.backends.mps.is_available() else "cpu"


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
    patch = _git("diff", "HEAD")
    if patch:
        (folder / PATCH).write_text(patch + "\n", encoding="utf-8")


def compare_data(run: str, manifest: str) -> None:
    """Say so where a run that is run again had other data."""
    path = Path(run) / FACTS
    before = json.loads(path.read_text()).get("manifest") if path.is_file() else None
    if before != manifest:
        log.warning("the data is not that of %s (manifest %s, now %s): the result will differ", run, before, manifest)


def _git(*arguments: str) -> str:
    try:
        here = Path(__file__).parent
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""
