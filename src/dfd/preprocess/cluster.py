"""The stages on a Ray cluster: the same work, submitted to Ray instead of to local processes.

Every node must see the data and the folder of crops under the same paths, and have dfd installed.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from dfd.core.errors import DfdError


class RayExecutor(Executor):
    """An executor that gives its work to a Ray cluster: one at an address, or one started on this machine."""

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise DfdError('launcher=ray needs Ray: pip install -e ".[cluster]"') from error
        self._ray = ray
        if not ray.is_initialized():
            own = {"address": address} if address else {"num_cpus": workers, "include_dashboard": False}
            ray.init(**own, log_to_driver=False, logging_level=logging.ERROR)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Run a function on one core of the cluster; one that dies with its process is tried once more elsewhere."""
        task = self._ray.remote(num_cpus=1, max_retries=1)(_on_one_core)
        return task.remote(fn, *args, **kwargs).future()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster as it is for the next stage; one that was started here ends with this process."""


def _on_one_core(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Keep to the core that Ray has given: nodes differ in how many they have."""
    import cv2

    cv2.setNumThreads(1)
    return fn(*args, **kwargs)
