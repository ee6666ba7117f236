"""Jobs and what happens to them: every change is one transaction, and a job ends once."""

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from dfd.serving.tables import EVENTS, JOBS, METADATA, WORKERS, open_engine

RECEIVING, QUEUED, RUNNING = "receiving", "queued", "running"
DONE, FAILED, CANCELLED, EXPIRED = "done", "failed", "cancelled", "expired"
ENDED = (DONE, FAILED, CANCELLED, EXPIRED)
STAGES = ("probing", "decoding", "inference", "reporting")

InTransaction = Callable[[sa.Connection], None]


@dataclass(frozen=True)
class Job:
    """A row of the table of jobs."""

    id: str
    owner: str
    name: str
    state: str
    stage: str
    progress: float
    estimate: float | None
    size: int
    sha256: str
    fingerprint: str
    request: str | None
    options: dict[str, Any]
    created: float
    started: float | None
    finished: float | None
    attempts: int
    verdict: str | None
    code: str | None
    detail: str | None
    result: dict[str, Any] | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED

    @property
    def upload(self) -> str:
        """Where its file is stored until it was judged."""
        return f"uploads/{self.id}/file{self.options.get('suffix', '')}"

    @property
    def results(self) -> str:
        """Where its artefacts are stored."""
        return f"results/{self.id}"


@dataclass(frozen=True)
class Event:
    """Something that happened to a job; numbers grow."""

    number: int
    kind: str
    data: dict[str, Any]


COLUMNS = [JOBS.c[each.name] for each in fields(Job)]


class Store:
    """The tables of a server, for any number of processes on any number of machines."""

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)

    def create(self) -> None:
        """Make the tables that are missing."""
        METADATA.create_all(self.engine)

    def check(self) -> None:
        """Raise where the database cannot be reached."""
        with self.engine.connect() as connection:
            connection.execute(sa.select(sa.literal(1)))

    # jobs ------------------------------------------------------------------------------------------------------------

    def announce(self, owner: str, name: str, options: Mapping[str, Any], request: str | None = None) -> str:
        """Note that a file is being received, and return the id of its job."""
        job = secrets.token_hex(16)
        row = {"id": job, "owner": owner, "name": name, "state": RECEIVING, "created": time.time(), "request": request}
        with self.engine.begin() as connection:
            connection.execute(JOBS.insert().values(**row, options=json.dumps(dict(options))))
        return job

    def accept(self, job: str, size: int, sha256: str, fingerprint: str, enqueue: InTransaction) -> None:
        """Queue a job whose file has arrived: from here on it ends with a verdict, or says why not."""
        with self.engine.begin() as connection:
            values = {"state": QUEUED, "size": size, "sha256": sha256, "fingerprint": fingerprint}
            connection.execute(JOBS.update().where(JOBS.c.id == job, JOBS.c.state == RECEIVING).values(**values))
            self._note(connection, job, QUEUED, {})
            enqueue(connection)

    def withdraw(self, job: str) -> None:
        """Forget a job that never was accepted."""
        with self.engine.begin() as connection:
            connection.execute(JOBS.delete().where(JOBS.c.id == job, JOBS.c.state == RECEIVING))

    def job(self, job: str) -> Job | None:
        """Return a job."""
        found = self._jobs(JOBS.c.id == job)
        return found[0] if found else None

    def same(self, owner: str, sha256: str, fingerprint: str, options: Mapping[str, Any]) -> Job | None:
        """Return the owner's newest job for the same bytes, the same models and the same options."""
        alike = (
            JOBS.c.owner == owner,
            JOBS.c.sha256 == sha256,
            JOBS.c.fingerprint == fingerprint,
            JOBS.c.state.in_((QUEUED, RUNNING, DONE)),
        )
        found = [job for job in self._jobs(*alike) if job.options == dict(options)]
        return found[0] if found else None

    def requested(self, owner: str, request: str) -> Job | None:
        """Return the owner's job that an Idempotency-Key stands for."""
        found = self._jobs(JOBS.c.owner == owner, JOBS.c.request == request)
        return found[0] if found else None

    def listed(self, owner: str, limit: int, before: float | None = None) -> list[Job]:
        """Return the owner's jobs, newest first, from before a time."""
        where = [JOBS.c.owner == owner, JOBS.c.state != RECEIVING]
        if before is not None:
            where.append(JOBS.c.created < before)
        return self._jobs(*where, limit=limit)

    def received_before(self, moment: float) -> list[Job]:
        """Return jobs whose file never arrived whole."""
        return self._jobs(JOBS.c.state == RECEIVING, JOBS.c.created < moment)

    def finished_before(self, moment: float) -> list[Job]:
        """Return jobs that ended before a time and still have results."""
        return self._jobs(JOBS.c.finished < moment, JOBS.c.state.in_((DONE, FAILED, CANCELLED)))

    def waiting(self) -> int:
        """Return how many jobs are queued."""
        with self.engine.connect() as connection:
            return connection.execute(sa.select(sa.func.count()).where(JOBS.c.state == QUEUED)).scalar_one()

    def waiting_before(self, job: Job) -> int:
        """Return how many jobs will be looked at before this one."""
        query = sa.select(sa.func.count()).where(JOBS.c.state == QUEUED, JOBS.c.created < job.created)
        with self.engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def used(self, owner: str, since: float) -> tuple[int, int]:
        """Return the jobs and bytes of an owner since a time."""
        query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(JOBS.c.size), 0))
        with self.engine.connect() as connection:
            row = connection.execute(query.where(JOBS.c.owner == owner, JOBS.c.created >= since)).one()
        return int(row[0]), int(row[1])

    def counts(self) -> list[tuple[str, str, str, int]]:
        """Return (state, verdict, code, jobs)."""
        columns = (JOBS.c.state, JOBS.c.verdict, JOBS.c.code)
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(*columns, sa.func.count()).group_by(*columns)).all()
        return [(state, verdict or "", code or "", count) for state, verdict, code, count in rows]

    def _jobs(self, *where: Any, limit: int | None = None) -> list[Job]:
        query = sa.select(*COLUMNS).where(*where).order_by(JOBS.c.created.desc(), JOBS.c.id).limit(limit)
        with self.engine.connect() as connection:
            return [_job(dict(row._mapping)) for row in connection.execute(query)]

    # what happens to a job -------------------------------------------------------------------------------------------

    def begin(self, job: str) -> Job | None:
        """Note that a worker begins with a job, perhaps again; None where it has ended."""
        with self.engine.begin() as connection:
            values = {"state": RUNNING, "started": time.time(), "attempts": JOBS.c.attempts + 1, "progress": 0.0}
            going = JOBS.c.state.in_((QUEUED, RUNNING))
            begun = connection.execute(JOBS.update().where(JOBS.c.id == job, going).values(**values)).rowcount
        return self.job(job) if begun else None

    def progress(self, job: str, stage: str, share: float, estimate: float | None = None) -> bool:
        """Note how far a job is, never less than before; return whether it still is to be done."""
        data = {"stage": stage, "progress": share, "estimate": estimate}
        with self.engine.begin() as connection:
            further = JOBS.update().where(JOBS.c.id == job, JOBS.c.state == RUNNING, JOBS.c.progress <= share)
            if not connection.execute(further.values(**data)).rowcount:
                return False
            self._note(connection, job, "progress", data)
        return True

    def finish(self, job: str, state: str, **values: Any) -> bool:
        """End a job, if it has not ended; return whether this call did."""
        if "result" in values and values["result"] is not None:
            values["result"] = json.dumps(values["result"])
        values |= {"state": state, "finished": time.time(), "estimate": None}
        with self.engine.begin() as connection:
            open_ = JOBS.c.state.in_((RECEIVING, QUEUED, RUNNING))
            ended = connection.execute(JOBS.update().where(JOBS.c.id == job, open_).values(**values)).rowcount
            if ended:
                told = {name: values.get(name) for name in ("verdict", "code", "detail")}
                self._note(connection, job, state, told)
        return bool(ended)

    def expire(self, job: str) -> None:
        """Forget the result of a job; that there was one remains."""
        with self.engine.begin() as connection:
            gone = {"state": EXPIRED, "result": None, "name": "", "sha256": ""}
            connection.execute(JOBS.update().where(JOBS.c.id == job).values(**gone))
            connection.execute(EVENTS.delete().where(EVENTS.c.job == job))
            self._note(connection, job, EXPIRED, {})

    def erase(self, job: str) -> None:
        """Remove every trace of a job."""
        with self.engine.begin() as connection:
            connection.execute(EVENTS.delete().where(EVENTS.c.job == job))
            connection.execute(JOBS.delete().where(JOBS.c.id == job))

    def events(self, job: str, after: int = 0) -> list[Event]:
        """Return what happened to a job after an event."""
        query = sa.select(EVENTS).where(EVENTS.c.job == job, EVENTS.c.number > after).order_by(EVENTS.c.number)
        with self.engine.connect() as connection:
            return [Event(row.number, row.kind, json.loads(row.data)) for row in connection.execute(query)]

    def _note(self, connection: sa.Connection, job: str, kind: str, data: Mapping[str, Any]) -> None:
        row = {"job": job, "at": time.time(), "kind": kind, "data": json.dumps(dict(data))}
        connection.execute(EVENTS.insert().values(**row))

    # workers ---------------------------------------------------------------------------------------------------------

    def beat(self, worker: str, about: Mapping[str, Any]) -> None:
        """Note that a worker is alive."""
        now = time.time()
        with self.engine.begin() as connection:
            known = connection.execute(WORKERS.update().where(WORKERS.c.id == worker).values(beat=now)).rowcount
            if not known:
                row = {"id": worker, "started": now, "beat": now, "about": json.dumps(dict(about))}
                connection.execute(WORKERS.insert().values(**row))

    def workers(self, since: float) -> list[dict[str, Any]]:
        """Return the workers that gave a sign of life since a time."""
        return self._workers(WORKERS.c.beat >= since)

    def silent_workers(self, since: float) -> list[str]:
        """Return the workers that gave none."""
        return [worker["id"] for worker in self._workers(WORKERS.c.beat < since)]

    def forget_workers(self, workers: Sequence[str], since: float) -> None:
        """Strike out workers, unless they came back."""
        with self.engine.begin() as connection:
            connection.execute(WORKERS.delete().where(WORKERS.c.id.in_(workers), WORKERS.c.beat < since))

    def _workers(self, where: Any) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(WORKERS).where(where)).all()
        return [{"id": r.id, "started": r.started, "beat": r.beat, "about": json.loads(r.about)} for r in rows]


def _job(row: Mapping[str, Any]) -> Job:
    values = {column.name: row[column.name] for column in COLUMNS}
    values["options"] = json.loads(values["options"])
    values["result"] = json.loads(values["result"]) if values["result"] else None
    return Job(**values)
