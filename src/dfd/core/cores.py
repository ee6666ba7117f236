"""How many cores this process may use, and how it leaves them to its workers."""

import os
import sys


def cores() -> int:
    """Return the cores that were granted: a scheduler or `taskset` may give fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_cores() -> None:
    """Let threads sleep, not spin, while they wait for work: spinning, they keep cores from worker processes.

    OpenMP reads this when torch is imported, and not later. Training spins: its steps are too short to fall asleep in.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
