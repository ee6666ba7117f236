"""Where the jobs of a multirun are done: processes of this machine (joblib), SLURM (submitit), a Ray cluster.

A job is packed on this side and done on the other by `Packed.__call__`; what became of it is in its folder, which both
sides must see under the same path. A job whose process dies takes no other with it.
"""

import importlib
import logging
import math
import os
import queue
import shutil
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from dfd.cli.sweeps import jobs
from dfd.core.cores import cores
from dfd.core.errors import DfdError

log = logging.getLogger("dfd")

OUTPUT, PACKED = "output.log", ".job.pickle"


@dataclass(frozen=True)
class Packed:
    """Everything that another process needs to do a job."""

    context: HydraContext
    task: TaskFunction
    config: DictConfig
    singletons: dict[Any, Any]
    cwd: Path
    folder: Path
    number: int

    def __call__(self) -> float:
        """Do the job, in a process that knows nothing yet."""
        from dfd.cli.app import prepare

        os.chdir(self.cwd)
        Singleton.set_state(self.singletons)
        setup_globals()
        prepare()
        done = run_job(
            hydra_context=self.context,
            task_function=self.task,
            config=self.config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        return float(done.return_value)

    def checkpoint(self) -> Any:
        """What submitit calls when SLURM takes the machine away: the same job again, which goes on where it was."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Elsewhere(Launcher):
    """A launcher that packs jobs, leaves out what is done, and gives the rest to an engine."""

    slots = 1  # how many jobs are done at a time, where that is known

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra knows of the command; fail now where the engine is not installed."""
        self.context, self.task, self.config = hydra_context, task_function, config
        self.ready()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Do jobs, and return what became of them."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        packed = [self._pack(initial_job_idx + i, list(texts)) for i, texts in enumerate(job_overrides)]
        open_jobs = [job for job in packed if not self._begun(job)]
        if len(open_jobs) < len(packed):
            log.info("%d of %d jobs are done already", len(packed) - len(open_jobs), len(packed))
        if open_jobs:
            self.run_all(open_jobs)
        return [self._returned(job) for job in packed]

    @abstractmethod
    def ready(self) -> None:
        """Make sure that the engine is there."""

    @abstractmethod
    def run_all(self, packed: Sequence[Packed]) -> None:
        """Do all jobs and wait for them; one that fails stops no other."""

    def _pack(self, number: int, overrides: list[str]) -> Packed:
        config = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        folder = Path(config.hydra.sweep.dir, str(OmegaConf.select(config, "hydra.sweep.subdir"))).absolute()
        return Packed(self.context, self.task, config, Singleton.get_state(), Path.cwd(), folder, number)

    def _begun(self, job: Packed) -> bool:
        """Whether a job is finished; note one that is not, so that it is listed even if its process never starts."""
        known, overrides = jobs.read(job.folder), list(job.config.hydra.overrides.task)
        if known is None:
            job.folder.mkdir(parents=True, exist_ok=True)
            jobs.write(job.folder, jobs.Job(job.number, overrides, starts=0))
        else:
            jobs.check_owner(known, overrides)
        return known is not None and known.finished

    def _returned(self, job: Packed) -> JobReturn:
        known = jobs.read(job.folder)
        value = math.nan if known is None else known.score
        texts = list(job.config.hydra.overrides.task)
        return JobReturn(overrides=texts, _return_value=value, status=JobStatus.COMPLETED)


class Joblib(Elsewhere):
    """Jobs side by side on this machine: joblib's threads hold the slots, each job is a fresh process with its GPU.

    joblib's own processes are not used: they end the whole sweep when one of them is killed, and keep GPU memory.
    """

    def __init__(self, n_jobs: int | None = None, gpus_per_job: int = 1) -> None:
        self.n_jobs = n_jobs
        self.gpus_per_job = gpus_per_job

    def ready(self) -> None:
        """Count the GPUs."""
        _needed("cloudpickle", "joblib", "sweep")
        joblib = _needed("joblib", "joblib", "sweep")
        hidden = "and CUDA_VISIBLE_DEVICES= hides the GPUs"
        gpus, each = visible_gpus(), jobs.at_least_one("hydra.launcher.gpus_per_job", self.gpus_per_job, hidden)
        self.gpus = [",".join(gpus[i : i + each]) for i in range(0, len(gpus) - each + 1, each)]
        if self.n_jobs is None:
            self.slots = max(1, len(self.gpus))
        elif self.n_jobs == -1:
            self.slots = len(self.gpus) or (1 if gpus else joblib.cpu_count())  # those that this process may use
        else:
            default = "null (as many as there are GPUs for), -1 (as null, but a job per core where there is no GPU)"
            self.slots = jobs.at_least_one("hydra.launcher.n_jobs", self.n_jobs, default)

    def run_all(self, packed: Sequence[Packed]) -> None:
        """Run as many processes at a time as there are slots."""
        from joblib import Parallel, delayed

        free: queue.Queue[int] = queue.Queue()
        for slot in range(self.slots):
            free.put(slot)

        def one(job: Packed) -> None:
            slot = free.get()
            try:
                log.info("job %d begins; its output: %s", job.number, job.folder / OUTPUT)
                code = run_process(job, self._environment(slot))
                known = jobs.read(job.folder)
                log.info("job %d: %s", job.number, known.status if known and not code else f"ended with code {code}")
            finally:
                free.put(slot)

        Parallel(n_jobs=self.slots, backend="threading")(delayed(one)(job) for job in packed)

    def _environment(self, slot: int) -> dict[str, str]:
        """Give a slot its GPU and its share of the cores."""
        threads = str(max(1, cores() // self.slots))
        given = {"OMP_NUM_THREADS": threads} | dict(os.environ)
        if self.gpus:
            given["CUDA_VISIBLE_DEVICES"] = self.gpus[slot % len(self.gpus)]
        return given


class Submitit(Elsewhere):
    """Jobs as one SLURM array; `cluster=local` does the same in processes of this machine, to try it out."""

    def __init__(self, cluster: str = "slurm", parameters: dict[str, Any] | None = None) -> None:
        self.cluster = cluster
        self.parameters = {key: value for key, value in (parameters or {}).items() if value is not None}

    def ready(self) -> None:
        """Look for SLURM."""
        if self.cluster not in ("slurm", "local", "debug"):
            raise DfdError(f"hydra.launcher.cluster={self.cluster}: allowed are slurm, local, debug")
        _needed("submitit", "submitit", "cluster")
        if self.cluster == "slurm" and shutil.which("srun") is None:
            raise DfdError("no SLURM here (srun is not found): hydra.launcher.cluster=local runs on this machine")
        key = "slurm_array_parallelism"
        self.slots = jobs.at_least_one(f"hydra.launcher.parameters.{key}", self.parameters.get(key, 1), "null: one")

    def run_all(self, packed: Sequence[Packed]) -> None:
        """Submit an array and wait for it."""
        import submitit

        folder = Path(self.config.hydra.sweep.dir).absolute() / "submitit" / "%j"
        executor = submitit.AutoExecutor(folder=folder, cluster=self.cluster)
        executor.update_parameters(name="dfd", **self.parameters)
        with executor.batch():
            submitted = [executor.submit(job) for job in packed]
        log.info("submitted %d jobs, the first %s; their output: %s", len(submitted), submitted[0].job_id, folder)
        for job, running in zip(packed, submitted, strict=True):
            _wait(job, running.result)


class Ray(Elsewhere):
    """Jobs on a Ray cluster: one at an address, or one that is started on this machine."""

    def __init__(self, address: str | None = None, num_cpus: int = 1, num_gpus: float | None = None) -> None:
        self.address, self.num_cpus, self.num_gpus = address, num_cpus, num_gpus

    def ready(self) -> None:
        """Look for Ray; it starts with the first job."""
        self.ray = _needed("ray", "ray", "cluster")

    def run_all(self, packed: Sequence[Packed]) -> None:
        """Give all jobs to Ray, each a process of its own, and wait for them."""
        if not self.ray.is_initialized():
            own = {"address": self.address} if self.address else {"include_dashboard": False}
            paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            self.ray.init(**own, runtime_env={"env_vars": paths}, log_to_driver=False, logging_level=logging.ERROR)
        gpus = self.num_gpus if self.num_gpus is not None else min(1, self.ray.cluster_resources().get("GPU", 0))
        remote = self.ray.remote(num_cpus=self.num_cpus, num_gpus=gpus, max_retries=0, max_calls=1)(_call)
        running = [remote.remote(job) for job in packed]
        for job, reference in zip(packed, running, strict=True):
            _wait(job, partial(self.ray.get, reference))


def run_process(job: Packed, environment: dict[str, str]) -> int:
    """Do a job in a fresh process, whose output goes into the job's folder; return its exit code."""
    import cloudpickle

    file = job.folder / PACKED
    file.write_bytes(cloudpickle.dumps(job))
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    with (job.folder / OUTPUT).open("ab") as output:
        code = subprocess.run(
            [sys.executable, "-m", "dfd.cli.sweeps.worker", str(file)],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        ).returncode
    file.unlink(missing_ok=True)
    return code


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def _call(job: Packed) -> float:
    return job()


def _wait(job: Packed, result: Callable[[], Any]) -> None:
    """Wait for a job; what became of it stands in its folder, unless its process died."""
    try:
        result()
    except Exception as error:
        log.warning("job %d: its process ended early (%s)", job.number, " ".join(str(error).split())[:300])


def _needed(module: str, launcher: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DfdError(f'hydra/launcher={launcher} needs {module}: pip install -e ".[{extra}]"') from error
