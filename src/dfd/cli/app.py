"""One way into every Hydra command: configuration found, errors in one line, nothing heavy imported for `--help`."""

import functools
import hashlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dfd.cli.exits import left
from dfd.cli.help import help_of
from dfd.cli.invocation import Invocation
from dfd.cli.messages import in_one_line
from dfd.cli.schema import register
from dfd.cli.sweeps.jobs import Taken, run_job
from dfd.core.configs import config_dir
from dfd.core.errors import DfdError, Stopped
from dfd.core.process_group import is_first

log = logging.getLogger("dfd")

Task = Callable[[DictConfig, Invocation], Any]

QUIET = (
    ".*LeafSpec.*is deprecated.*",
    ".*overridden `(transfer_batch_to_device|on_after_batch_transfer)`.*",
    ".*does not have many workers.*",
    ".*number of training batches.*smaller than the logging interval.*",
    ".*WeightAveraging callback with a model that overrides.*",  # only to shard it, which averaging then refuses
    ".*module.s. in eval mode at the start of training.*",  # a frozen base is meant to be
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*recommended to use `self.log.'val/(auc|ap)'.*",  # computed once over the rows of all processes
    ".*your dataloader is not resumable.*",  # it is, by the seed and the position that the datamodule keeps
)


def prepare() -> None:
    """Register schemas and resolvers; tests that compose configurations call it too."""
    register()
    OmegaConf.register_new_resolver("best_precision", _best_precision, replace=True)
    OmegaConf.register_new_resolver("best_fused", _best_fused, replace=True)
    OmegaConf.register_new_resolver("config_groups", config_groups, replace=True)
    OmegaConf.register_new_resolver("sweep_folder", sweep_folder, replace=True)
    OmegaConf.register_new_resolver("sweep_name", lambda given, date: given or date, replace=True)


def command(name: str, task: Task, other: Callable[[Sequence[str]], str | None] | None = None) -> Callable[[], None]:
    """Return a console command that composes `<name>.yaml`, or what `other` makes of its arguments, for a task."""

    def main() -> None:
        prepare()
        if {"--help", "-h"} & set(sys.argv[1:]):
            print(help_of(name))  # noqa: T201
            return
        # Hydra then lets exceptions through instead of printing its own many lines
        os.environ.setdefault("HYDRA_FULL_ERROR", "1")
        if any(word.startswith("plugins=") for word in sys.argv[1:]):
            sys.path.insert(0, str(Path.cwd()))  # as `python train.py` has it, and an installed command has not
        guarded = functools.wraps(task)(functools.partial(_guard, task))
        try:
            chosen = (other(sys.argv[1:]) if other else None) or name
            hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=chosen)(guarded)()
        except (Exception, KeyboardInterrupt) as error:
            _leave_or_raise(error)

    return main


def config_groups(*names: str) -> str:
    """Return the configuration groups that a command uses, with their choices, for its help."""
    folders = {name: config_dir() / name for name in names}
    choices = {
        name: ", ".join(sorted(path.stem for path in folder.glob("*.yaml") if not path.stem.startswith("_")))
        for name, folder in folders.items()
    }
    return "\n".join(f"{name}: {choice}" for name, choice in choices.items()) or "none: every value is a key"


def sweep_folder(number: int, overrides: str, longest: int = 100) -> str:
    """Name the folder of one job of a sweep: its number and overrides, which a hash stands for where they are cut."""
    name = f"{number}_{re.sub(r'[^A-Za-z0-9_.+-]', '-', overrides)}"
    if len(name) <= longest:
        return name
    digest = hashlib.sha256(overrides.encode()).hexdigest()[:8]
    return f"{name[: longest - 9]}_{digest}"


def _guard(task: Task, cfg: DictConfig) -> Any:
    """Run a task; an error that the user can mend is one line, and in a sweep only this job fails."""
    _quiet()
    called = Invocation.current()
    if called.sweep is not None:
        try:
            return run_job(lambda changed: task(changed, called), cfg, called, in_one_line)
        except Taken as error:  # every job would say so: the sweep ends at the first
            _leave_or_raise(error)
    try:
        return task(cfg, called)
    except Exception as error:
        if isinstance(error, Stopped) and not is_first():  # all processes stop together, one says so
            raise SystemExit(0) from error
        _leave_or_raise(error)


def _quiet() -> None:
    """Leave out what Lightning says about itself; what it says about the run is said by us."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(
            lambda r: r.levelno > logging.INFO or not r.name.startswith(("pytorch_lightning", "matplotlib"))
        )
    for message in QUIET:
        warnings.filterwarnings("ignore", message=message)


def _leave_or_raise(error: BaseException) -> NoReturn:
    """End the command with one line and its exit status; a fault of ours is raised."""
    if str(error).startswith("Config group override must be"):
        error = DfdError(f"{error}: leave a group out with ~group (no logger: ~logger callbacks.learning_rate=null)")
    status = left(error, in_one_line, (DfdError, HydraException, OmegaConfBaseException))
    if status is None:
        raise error
    raise SystemExit(status) from error


def _best_precision() -> str:
    import torch

    if not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"


def _best_fused(precision: str) -> bool:
    """Fused optimisers unscale gradients of mixed precision themselves; Lightning then refuses to clip them."""
    import torch

    return torch.cuda.is_available() and not precision.endswith("-mixed")
