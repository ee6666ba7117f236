"""One job of a sweep: what became of it is written into its folder, where the next call of the sweep finds it."""

import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock
from omegaconf import DictConfig, OmegaConf

from dfd.cli.invocation import Invocation
from dfd.core.errors import DfdError, Stopped
from dfd.core.process_group import is_first

log = logging.getLogger("dfd")

FILE, LOCK = "job.json", ".job.lock"
HOW = ("sweep=", "hparams_search", "hydra.", "hydra/")  # overrides that do not decide what a job computes
RUNNING, DONE, PRUNED, FAILED, STOPPED = "running", "done", "pruned", "failed", "stopped"


class Pruned(Exception):
    """The search gave a run up; carries its best value so far."""


class Taken(DfdError):
    """The name of a sweep belongs to another command."""


@dataclass(frozen=True)
class Job:
    """What is known of one job; one that is `running` and holds no lock was killed."""

    number: int
    overrides: list[str] = field(default_factory=list)
    status: str = RUNNING
    value: float | None = None
    reason: str = ""
    seconds: float = 0.0
    starts: int = 1
    folder: str = ""

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do; what failed may be tried again."""
        return self.status in (DONE, PRUNED)

    @property
    def score(self) -> float:
        """The value, or NaN."""
        return math.nan if self.value is None else self.value


def read(folder: Path) -> Job | None:
    """Return the job that a folder is of, if it is of one."""
    try:
        return Job(**json.loads((folder / FILE).read_text()) | {"folder": str(folder)})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        log.warning("%s cannot be read (%s): the job is done again", folder / FILE, error)
        return None


def read_all(sweep: Path) -> list[Job]:
    """Return the jobs of a sweep in their order."""
    found = [read(path.parent) for path in sweep.glob(f"*/{FILE}")]
    return sorted((job for job in found if job is not None), key=lambda job: job.number)


def write(folder: Path, job: Job) -> None:
    """Write beside and rename: a job that is killed meanwhile leaves no half a file."""
    part = folder / f"{FILE}.part"
    part.write_text(json.dumps(asdict(replace(job, folder=""))))
    part.replace(folder / FILE)


def failed(job: Job, reason: str) -> Job:
    """Write down that a job failed, where it could not do so itself."""
    job = replace(job, status=FAILED, reason=reason)
    if job.folder:
        write(Path(job.folder), job)
    return job


def check_owner(job: Job, overrides: Sequence[str], axes: Collection[str] = ()) -> None:
    """Refuse what another command did under this name: paths, runs and names are no part of a job's folder name.

    `axes` are keys whose values a search chooses.
    """
    theirs, ours = (_deciding(texts, axes) for texts in (job.overrides, overrides))
    if job.overrides and theirs != ours:
        before, now = (" ".join(sorted(texts)) or "none" for texts in (theirs - ours, ours - theirs))
        name = Path(job.folder).parent.name
        raise Taken(
            f"sweep={name} belongs to another command: its job {job.number} has {before} where this one has {now}; "
            "choose another sweep="
        )


def at_least_one(key: str, value: Any, otherwise: str) -> int:
    """Return a value that counts things, or say what else the key takes."""
    if not isinstance(value, int) or value < 1:
        raise DfdError(f"{key}={value}: allowed are 1 and above, {otherwise}")
    return value


def run_job(
    task: Callable[[DictConfig], Any], cfg: DictConfig, called: Invocation, explain: Callable[[Exception], str]
) -> float:
    """Do a job unless it is done, and write down what became of it; an error is this job's alone.

    Two processes never do the same job: the second waits for the first, and takes its result.
    """
    assert called.sweep is not None
    folder, typed = called.sweep / called.job, list(called.overrides)
    if not is_first():
        return _follow(task, cfg, folder)
    with FileLock(folder / LOCK):
        before = read(folder)
        if before is not None:
            check_owner(before, typed)
        if before is not None and before.finished:
            log.info("job %d is done already (%s)", before.number, folder.name)
            return before.score
        job = Job(called.number, typed)
        if before is not None:
            # a start that was stopped, and not killed, does not count
            job = replace(job, starts=before.starts + (before.status != STOPPED))
            if not _go_on(cfg, folder):
                shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # what was left before a first epoch
        write(folder, job)
        job = _done(task, cfg, job, explain)
        write(folder, job)
    if job.status == STOPPED:
        raise KeyboardInterrupt(f"stopped in job {job.number} of the sweep; {how_to_go_on(called.sweep, cfg)}")
    return job.score


def how_to_go_on(sweep: Path, cfg: DictConfig) -> str:
    """Say which command goes on with a sweep."""
    named = cfg.sweep or cfg.get("hparams_search", {}).get("trial") is not None
    return "the same command goes on" if named else f"the same command with sweep={sweep.name} goes on"


def _done(task: Callable[[DictConfig], Any], cfg: DictConfig, job: Job, explain: Callable[[Exception], str]) -> Job:
    started = time.time()
    try:
        job = replace(job, status=DONE, value=_value(task(cfg)))
    except Pruned as pruned:
        job = replace(job, status=PRUNED, value=pruned.args[0], reason="no better than the others at that epoch")
    except Stopped as stopped:
        job = replace(job, status=STOPPED, reason=str(stopped))
    except Exception as error:
        job = replace(job, status=FAILED, reason=explain(error))
        log.error("%s (this job of the sweep failed, the others go on)", job.reason)
        log.debug("where it failed", exc_info=error)
    return replace(job, seconds=round(time.time() - started, 1))


def _follow(task: Callable[[DictConfig], Any], cfg: DictConfig, folder: Path) -> float:
    """Be one of the other processes of a job, whose first one keeps the book."""
    known = read(folder)
    if known is not None and known.finished:
        return known.score
    _go_on(cfg, folder)
    return _value(task(cfg))


def _go_on(cfg: DictConfig, folder: Path) -> bool:
    """Let a training that was killed go on from its last checkpoint, if it had come to one."""
    if "ckpt_path" not in cfg or cfg.ckpt_path is not None:
        return True
    found = (folder / "checkpoints" / "last.ckpt").is_file()
    if found:
        OmegaConf.update(cfg, "ckpt_path", "last")
    return found


def _deciding(overrides: Sequence[str], axes: Collection[str]) -> set[str]:
    texts, chosen = {text.lstrip("+") for text in overrides}, {key.lstrip("+") for key in axes}
    return {text for text in texts if not text.startswith(HOW) and text.partition("=")[0] not in chosen}


def _value(returned: Any) -> float:
    return float(returned) if isinstance(returned, (int, float)) else math.nan
