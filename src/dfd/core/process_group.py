"""What processes that torchrun or SLURM started know of each other before they can talk: who is first, which job."""

import os
import time
from collections.abc import Mapping
from datetime import timedelta

from dfd.core.errors import DfdError

PATIENCE = timedelta(minutes=5)


def is_first(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process speaks for the run: the one there is, or rank zero of those that a launcher started."""
    ranks = [environment.get(name) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK")]
    return next((rank for rank in ranks if rank), "0") == "0"


def job_name(environment: Mapping[str, str] = os.environ) -> str:
    """Return what tells this run from others and is the same in all of its processes: a date, or the job's number."""
    # outside srun there is no step: one job's commands, each alone, would share its number
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS") or environment.get("SLURM_NTASKS") or 1)
    if tasks > 1 and environment.get("SLURM_STEP_ID") and "SLURM_PROCID" in environment:
        return f"{environment['SLURM_JOB_ID']}-{environment['SLURM_STEP_ID']}"
    if "TORCHELASTIC_RUN_ID" in environment and int(environment.get("WORLD_SIZE") or 1) > 1:
        return _told_by_the_first(environment)
    if int(environment.get("NODE_RANK") or 0) > 0:
        raise DfdError("several machines without torchrun or SLURM: give name=, so that all write to one run folder")
    return _date()


def _told_by_the_first(environment: Mapping[str, str]) -> str:
    """Ask the store that torchrun keeps: rank zero of this attempt writes the date into it."""
    from torch.distributed import TCPStore

    address, port = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
    hosted = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if not hosted:
        raise DfdError("this torchrun keeps no store: give name=, so that all processes write to one run folder")
    store = TCPStore(address, port, is_master=False, timeout=PATIENCE)
    key = f"dfd-run-{environment.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    if is_first(environment):
        store.set(key, _date())
    return store.get(key).decode()


def _date() -> str:
    """Return the time, to the millisecond: a loop starts several runs in one second."""
    now = time.time()
    return f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}{int(now * 1000) % 1000:03d}"
