"""How many cores this process may use."""

import os


def cores() -> int:
    """Return the cores that were granted: a scheduler or `taskset` may give fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
