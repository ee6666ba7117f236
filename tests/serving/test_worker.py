"""A job that two workers looked at ends once and keeps what the first found; an erased one leaves nothing."""

import json

import pytest

from dfd.serving.artifacts import RESULT
from dfd.serving.queue import Queue, migrate
from dfd.serving.settings import Settings
from dfd.serving.storage import Storage
from dfd.serving.store import Store
from dfd.serving.sweeping import Sweeper
from dfd.serving.worker import Worker, clean_scratch


@pytest.fixture
def worker(tmp_path):
    settings = Settings(["none"], output=str(tmp_path))
    worker = Worker.__new__(Worker)  # without runs, and without the queue's receiving end
    worker.settings, worker.store, worker.storage = (
        settings,
        Store(settings.database_url),
        Storage(settings.storage_url),
    )
    worker.store.create()
    migrate(settings.database_url)
    worker.queue, worker._scratch = Queue(settings.database_url), tmp_path / "scratch"
    yield worker
    worker.queue.close()


def accepted(worker: Worker) -> str:
    id = worker.store.announce("owner", "a.mp4", {"suffix": ".mp4"})
    worker.storage.write(f"uploads/{id}/file.mp4", b"video")
    worker.store.accept(id, 5, "hash", "print", lambda connection: worker.queue.put(connection, id))
    return id


def judged(worker: Worker, id: str) -> dict[str, str]:
    worker.store.begin(id)
    worker.storage.write(f"results/{id}/{RESULT}", json.dumps({"verdict": "fake", "runs": []}).encode())
    return {"verdict": "fake"}


def files(worker: Worker) -> list[str]:
    folder = worker.settings.folder / "files"
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_second_worker_that_came_too_late_takes_nothing_away(worker):
    id = accepted(worker)
    worker.finish(id, judged(worker, id))
    assert files(worker) == [RESULT]
    worker.finish(id, {"code": "lost_upload", "detail": ""})
    job = worker.store.job(id)
    assert (job.state, job.verdict, job.code) == ("done", "fake", None)
    assert files(worker) == [RESULT]
    assert [event.kind for event in worker.store.events(id)] == ["queued", "done"]
    assert worker.look(id) == {}


def test_a_job_that_was_cancelled_or_erased_meanwhile_leaves_nothing(worker):
    cancelled, erased = accepted(worker), accepted(worker)
    outcomes = [judged(worker, cancelled), judged(worker, erased)]
    worker.store.finish(cancelled, "cancelled")
    worker.store.erase(erased)
    for id, outcome in zip((cancelled, erased), outcomes, strict=True):
        worker.finish(id, outcome)
    assert files(worker) == []
    assert worker.store.job(cancelled).state == "cancelled"


def test_progress_never_goes_back(worker):
    id = accepted(worker)
    worker.store.begin(id)
    assert worker.store.progress(id, "decoding", 0.5)
    assert not worker.store.progress(id, "probing", 0.1)
    assert worker.store.job(id).stage == "decoding"


def test_what_is_left_behind_is_swept_up(worker):
    done, half = accepted(worker), worker.store.announce("owner", "b.mp4", {})
    worker.finish(done, judged(worker, done))
    worker.storage.write(f"uploads/{half}/file", b"half a vid")
    sweeper = Sweeper(worker.settings, worker.store, worker.storage, worker.queue)
    sweeper.sweep()
    assert worker.store.job(half) is not None
    sweeper._keep, later = -1.0, pytest.MonkeyPatch()
    later.setattr("dfd.serving.sweeping.ARRIVAL", -1.0)
    sweeper.sweep()
    later.undo()
    assert worker.store.job(half) is None
    job = worker.store.job(done)
    assert (job.state, job.result, job.name) == ("expired", None, "")
    assert files(worker) == []


def test_scratch_of_the_dead_is_removed(tmp_path):
    for name in ("host-999999999-ab", "my-host-1-ab"):
        (tmp_path / name).mkdir()
    clean_scratch(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["my-host-1-ab"]
