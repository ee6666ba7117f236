"""The desk of a server: takes files in, shows, cancels and erases jobs; what routes of any shape call."""

import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy.exc

from dfd.serving.keys import Key
from dfd.serving.problems import Problem
from dfd.serving.queue import Queue
from dfd.serving.settings import Settings
from dfd.serving.storage import Storage
from dfd.serving.store import CANCELLED, RUNNING, Job, Store
from dfd.serving.sweeping import Sweeper
from dfd.serving.uploads import Received

log = logging.getLogger("dfd")


@dataclass(frozen=True)
class Taken:
    """A job for a file that was sent, perhaps one that was there."""

    job: Job
    new: bool


class Desk:
    """Everything that happens between a request and the queue."""

    def __init__(self, settings: Settings, store: Store, storage: Storage, queue: Queue) -> None:
        self.settings, self.store, self.storage, self.queue = settings, store, storage, queue
        self.sweeper = Sweeper(settings, store, storage, queue)
        self.spool = settings.folder / "spool"
        self._fingerprint = settings.fingerprint() if settings.run else "remote"

    def take(self, key: Key, received: Received, request: str | None = None) -> Taken:
        """Queue a file that has arrived; the same bytes again are the same job."""
        try:
            return self._take(key, received, request)
        finally:
            received.discard()

    def _take(self, key: Key, received: Received, request: str | None) -> Taken:
        options = {"suffix": received.suffix, **_options(received.fields)}
        if "deblur" in options and self.settings.restorer is None:
            raise Problem("invalid", "deblur: this server restores nothing, its operator gave it no restorer=")
        known = self._known(key, received, options, request)
        if known is not None:
            return Taken(known, False)
        try:
            id = self.store.announce(key.id, received.name, options, request)
        except sqlalchemy.exc.IntegrityError:  # the same Idempotency-Key at the same moment
            raise Problem("conflict", "a request with this Idempotency-Key is being received", 2) from None
        try:
            self._store(received.path, f"uploads/{id}/file{received.suffix}")
            self.store.accept(id, received.size, received.sha256, self._fingerprint, lambda c: self.queue.put(c, id))
        except BaseException:
            with suppress(Exception):  # what cannot be withdrawn now is swept up later
                self.sweeper.withdraw(id)
            raise
        log.info("job %s accepted from key %s: %d bytes", id, key.id, received.size)
        return Taken(self.own(key, id), True)

    def _known(self, key: Key, received: Received, options: dict[str, Any], request: str | None) -> Job | None:
        if request is not None:
            before = self.store.requested(key.id, request)
            if before is not None and before.sha256 != received.sha256:
                raise Problem("conflict", "this Idempotency-Key was used for another file")
            if before is not None:
                return before
        if received.fields.get("fresh", "").lower() == "true":
            return None
        return self.store.same(key.id, received.sha256, self._fingerprint, options)

    def _store(self, path: Path, name: str) -> None:
        try:
            self.storage.put(path, name)
        except OSError as error:
            what = error.strerror or type(error).__name__
            raise Problem("storage", f"the file could not be stored ({what})", 30) from error

    def own(self, key: Key, id: str) -> Job:
        """Return a job of this key; others' do not exist for it."""
        job = self.store.job(id)
        if job is None or (job.owner != key.id):
            raise Problem("not_found", "no such job of this key")
        return job

    def waiting(self, job: Job) -> int | None:
        """Return how many jobs are before it."""
        return self.store.waiting_before(job) if job.state == "queued" else None

    def cancel(self, key: Key, id: str) -> Job:
        """Stop a job; one that has ended stays as it is."""
        job = self.own(key, id)
        if not job.ended and self.store.finish(id, CANCELLED):
            if job.started is None:  # else its worker is let come to its end, where it clears up
                self.queue.cancel(id)
            self.storage.erase(f"uploads/{id}")
        return self.own(key, id)

    def erase(self, key: Key, id: str) -> None:
        """Remove a job, its file, its results, and what the queue knows of it; a worker at it finds it gone."""
        at_work = self.own(key, id).state == RUNNING
        job = self.cancel(key, id)
        self.storage.erase(f"uploads/{id}")
        self.storage.erase(job.results)
        self.store.erase(id)
        if not at_work:
            self.queue.forget(id)
        log.info("job %s erased", id)


def _options(fields: dict[str, str]) -> dict[str, Any]:
    given = fields.get("deblur", "false").lower()
    if given not in ("auto", "true", "false"):
        raise Problem("invalid", f"deblur={given[:20]}: allowed are auto, true, false")
    return {} if given == "false" else {"deblur": given}
