"""The queue, which is DBOS's: rows of the same database, claimed by one worker at a time, never lost.

A job is enqueued in the transaction that accepts it, so that there is no moment between the two. DBOS gives every
claim a token: a worker that was taken for dead and comes back writes nothing more about what others took over.
"""

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, Serializer

log = logging.getLogger("dfd")

NAME = "dfd"  # of the application, in DBOS's tables
QUEUE = WORKFLOW = "judge"
VERSION = "1"  # of the workflow's steps: raise it where workers of both kinds must not share jobs
ATTEMPTS = 5  # workers that one job may cost, after the first
POLL = 0.2  # seconds


class Json(Serializer):
    """What DBOS keeps is JSON: its own choice is pickle, which runs whatever the database holds."""

    def serialize(self, data: Any) -> str:
        """Return JSON."""
        return json.dumps(data, default=repr)

    def deserialize(self, serialized_data: str) -> Any:
        """Return what was serialised, tuples as lists."""
        return json.loads(serialized_data)

    def name(self) -> str:
        """Return the name that rows carry."""
        return "dfd_json"


def migrate(url: str) -> None:
    """Make DBOS's tables."""
    logging.getLogger("dbos").setLevel(logging.WARNING)
    DBOS.migrate(url)


class Queue:
    """The sending end of the queue."""

    def __init__(self, url: str) -> None:
        self._client = DBOSClient(
            system_database_url=url,
            serializer=Json(),
            application_name=NAME,
            lazy=True,
            retry_connection_errors=False,
        )

    def put(self, connection: sa.Connection, job: str) -> None:
        """Enqueue a job in the caller's transaction."""
        options: Any = {"workflow_name": WORKFLOW, "queue_name": QUEUE, "workflow_id": job}
        self._client.enqueue_in_transaction(connection, options, job)

    def cancel(self, job: str) -> None:
        """Take a job out of the queue, or stop it before its next step."""
        self._client.cancel_workflow(job)

    def forget(self, job: str) -> None:
        """Remove what DBOS knows of a job."""
        self._client.delete_workflow(job)

    def given_up(self) -> list[str]:
        """Return the jobs that DBOS will not try again."""
        dead: Any = ["ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
        found = self._client.list_workflows(name=WORKFLOW, status=dead, load_input=False, load_output=False)
        return [workflow.workflow_id for workflow in found]

    def close(self) -> None:
        """Let the connections go."""
        self._client.destroy()


class Claims:
    """The receiving end of the queue, in a worker process.

    Args:
        url: of the database.
        worker: a name that no other process has or had.
        look: judges a job and returns what is to be noted, as plain values.
        finish: notes it.
        at_a_time: jobs.
    """

    def __init__(
        self,
        url: str,
        worker: str,
        look: Callable[[str], dict[str, Any]],
        finish: Callable[[str, dict[str, Any]], None],
        at_a_time: int,
    ) -> None:
        self._at_a_time = at_a_time
        config: Any = {
            "name": NAME,
            "system_database_url": url,
            "application_version": VERSION,
            "executor_id": worker,
            "serializer": Json(),
            "log_level": "WARNING",
        }
        self._dbos = DBOS(config=config)
        retried: Any = {"retries_allowed": True, "max_attempts": 7, "interval_seconds": 1.0, "backoff_rate": 2.0}

        @DBOS.step(name="look", **retried)
        def first(job: str) -> dict[str, Any]:
            return look(job)

        @DBOS.step(name="finish", **retried)
        def second(job: str, outcome: dict[str, Any]) -> None:
            finish(job, outcome)

        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=ATTEMPTS)
        def judge(job: str) -> None:
            second(job, first(job))

    def open(self) -> None:
        """Begin to take jobs."""
        DBOS.listen_queues([QUEUE])
        DBOS.launch()
        DBOS.register_queue(
            QUEUE, worker_concurrency=self._at_a_time, polling_interval_sec=POLL, on_conflict="always_update"
        )

    def take_over(self, workers: Sequence[str]) -> None:
        """Put the jobs of dead workers back into the queue; each goes to one live worker, whoever asks how often."""
        # without DBOS's paid console nobody else does this; the method is private in 3.x, a test watches it
        DBOS._recover_pending_workflows(list(workers))

    def close(self, patience: int = 20) -> None:
        """Take no more jobs, and let those at work end."""
        DBOS.destroy(workflow_completion_timeout_sec=patience)
