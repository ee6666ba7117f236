"""What is left behind is swept up: uploads that never arrived, results that have expired, jobs that DBOS gave up."""

import logging
import time

from dfd.serving.problems import JOB_CODES
from dfd.serving.queue import Queue
from dfd.serving.settings import Settings
from dfd.serving.storage import Storage
from dfd.serving.store import FAILED, Store

log = logging.getLogger("dfd")

ARRIVAL = 6 * 3600.0  # seconds that an upload may take
DAY = 86400.0


class Sweeper:
    """Any number of processes may sweep at once: each step can be done twice."""

    def __init__(self, settings: Settings, store: Store, storage: Storage, queue: Queue) -> None:
        self._keep = settings.keep_days * DAY
        self._store, self._storage, self._queue = store, storage, queue

    def sweep(self) -> None:
        """Sweep once."""
        now = time.time()
        for id in self._queue.given_up():
            if self._store.finish(id, FAILED, code="worker_lost", detail=JOB_CODES["worker_lost"]):
                log.warning("job %s was given up", id)
                self._storage.erase(f"uploads/{id}")
            self._queue.forget(id)
        for job in self._store.received_before(now - ARRIVAL):
            self.withdraw(job.id)
        for job in self._store.finished_before(now - self._keep):
            self._storage.erase(job.results)
            self._store.expire(job.id)
            self._queue.forget(job.id)

    def withdraw(self, job: str) -> None:
        """Forget an upload that did not arrive whole."""
        self._storage.erase(f"uploads/{job}")
        self._store.withdraw(job)
