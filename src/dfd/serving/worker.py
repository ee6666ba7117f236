"""A worker: takes jobs from the queue, looks at their files, notes what it found; and takes over from the dead."""

import json
import logging
import os
import secrets
import shutil
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import sqlalchemy.exc

from dfd.serving.artifacts import RESULT, SCORES, scores_csv
from dfd.serving.looking import Looker, NotJudged
from dfd.serving.processes import is_alive
from dfd.serving.queue import Claims, Queue
from dfd.serving.settings import Settings
from dfd.serving.storage import Storage
from dfd.serving.store import DONE, FAILED, RUNNING, Job, Store
from dfd.serving.sweeping import Sweeper

log = logging.getLogger("dfd")

SILENT = 4  # beats without which a worker is taken for dead
AHEAD = 2  # jobs at work beyond those that are decoded, so that the network is never without


class Worker:
    """One process that judges files of jobs."""

    def __init__(self, settings: Settings, looker: Looker) -> None:
        self.settings, self.looker = settings, looker
        self.name = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}"
        self.store, self.storage = Store(settings.database_url), Storage(settings.storage_url)
        self.queue = Queue(settings.database_url)
        self._claims = Claims(settings.database_url, self.name, self.look, self.finish, settings.decoding + AHEAD)
        self._sweeper = Sweeper(settings, self.store, self.storage, self.queue)
        self._scratch = settings.folder / "scratch" / self.name
        self._closing = threading.Event()

    def run(self) -> None:
        """Work until told to stop."""
        clean_scratch(self._scratch.parent)
        self._scratch.mkdir(parents=True)
        self.store.beat(self.name, self._about())
        beating = threading.Thread(target=self._beat, name="beat", daemon=True)
        self.looker.warm_up()
        self._claims.open()
        beating.start()
        self._closing.wait()
        self._claims.close()
        self.looker.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def stop(self) -> None:
        """Take no more jobs; `run` returns when those at work have ended."""
        self._closing.set()

    def look(self, id: str) -> dict[str, Any]:
        """Look at the file of a job, store the artefacts, and return what is to be noted."""
        job = self.store.begin(id)
        if job is None:
            return {}
        folder = self._scratch / id
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return self._outcome(job, folder)
        except FileNotFoundError:
            log.exception("job %s", id)
            return {"code": "lost_upload", "detail": "send the file again"}
        except NotJudged as refused:
            return {"code": refused.code, "detail": str(refused)}
        except (sqlalchemy.exc.OperationalError, OSError):
            raise  # of this machine, not of the file
        except Exception:
            log.exception("job %s", id)
            return {"code": "unexpected", "detail": "the server's log has more"}
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def finish(self, id: str, outcome: dict[str, Any]) -> None:
        """Note how a job ended, and let its file go."""
        job = self.store.job(id)
        if job is not None and job.state == RUNNING and "verdict" in outcome:
            result = json.loads(b"".join(self.storage.chunks(f"{job.results}/{RESULT}")))
            self.store.finish(id, DONE, result=result, verdict=result["verdict"], progress=1.0)
        if "code" in outcome:
            self.store.finish(id, FAILED, code=outcome["code"], detail=outcome["detail"], verdict="not judged")
        self.storage.erase(f"uploads/{id}")
        job = self.store.job(id)
        if job is None or job.state != DONE:  # erased or cancelled meanwhile, or not judged
            self.storage.erase(f"results/{id}")
        log.info("job %s ended: %s", id, outcome.get("code") or "judged")

    def _outcome(self, job: Job, folder: Path) -> dict[str, Any]:
        def report(stage: str, share: float, left: float | None) -> None:
            self.store.progress(job.id, stage, share, None if left is None else time.time() + left)

        path = self.storage.fetch(job.upload, folder)
        result, artifacts = self.looker.look(path, report, job.options.get("deblur", "false"))
        artifacts[SCORES] = scores_csv(result).encode()
        result["artifacts"] = sorted([*artifacts, RESULT])
        artifacts[RESULT] = json.dumps(result, indent=2).encode()
        for name, data in artifacts.items():
            self.storage.write(f"{job.results}/{name}", data)
        return {"verdict": result["verdict"]}  # DBOS keeps this: nothing that would have to be erased

    def _about(self) -> dict[str, Any]:
        about = {"device": self.looker.device, "runs": self.looker.about(), "fingerprint": self.settings.fingerprint()}
        return {**about, "host": socket.gethostname(), "at_a_time": self.settings.decoding}

    def _beat(self) -> None:
        about, turn = self._about(), 0
        while not self._closing.wait(self.settings.beat):
            try:
                self.store.beat(self.name, about)
                self._take_over()
                if turn % 10 == 0:
                    self._sweeper.sweep()
            except Exception as error:  # the database or the storage is away: the next beat tries again
                log.warning("%s: %s", type(error).__name__, " ".join(str(error).split())[:200])
            turn += 1

    def _take_over(self) -> None:
        since = time.time() - SILENT * self.settings.beat
        silent = [name for name in self.store.silent_workers(since) if name != self.name]
        if silent:
            log.warning("taking over from %s", ", ".join(silent))
            self._claims.take_over(silent)
            self.store.forget_workers(silent, since)


def clean_scratch(folder: Path) -> None:
    """Remove what workers of this machine left that were killed."""
    for left in folder.glob("*-*-*"):
        process = left.name.split("-")[-2]
        if not process.isdigit() or not is_alive(int(process)):
            shutil.rmtree(left, ignore_errors=True)


def run_worker(settings: Settings, lifeline: Any = None) -> None:
    """Load the runs and work; end on SIGTERM, or when the process that holds the other end of a pipe is gone."""
    worker = Worker(settings, Looker.load(settings))
    signal.signal(signal.SIGTERM, lambda number, frame: worker.stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN if lifeline is not None else lambda number, frame: worker.stop())
    if lifeline is not None:
        threading.Thread(target=_watch, args=(lifeline,), daemon=True).start()
    worker.run()


def _watch(lifeline: Any) -> None:
    """Leave at once when the server was killed: its next start takes the jobs over."""
    try:
        lifeline.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
