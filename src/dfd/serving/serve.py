"""Start a server: the application in this process, and workers beside it that are started again when they die."""

import logging
import multiprocessing
import socket
import threading
from dataclasses import dataclass
from typing import Any

import uvicorn

from dfd.core.errors import DfdError
from dfd.serving.app import create_app
from dfd.serving.keys import Keys
from dfd.serving.settings import Settings

log = logging.getLogger("dfd")

PAUSE = 2.0  # seconds before a dead worker is followed by another
PATIENCE = 30.0  # seconds that workers get to end their jobs


@dataclass(frozen=True)
class Opened:
    """A server that listens: its address, and the key that was made for it, if one was."""

    address: str
    made_key: str | None


class Workers:
    """Worker processes that are kept alive."""

    def __init__(self, settings: Settings, count: int) -> None:
        self._settings, self._count = settings, count
        self._context = multiprocessing.get_context("spawn")
        self._closing = threading.Event()
        self._running: list[tuple[Any, Any]] = []
        self._thread = threading.Thread(target=self._keep, name="workers", daemon=True)

    def start(self) -> None:
        """Start all of them, and another for each that dies."""
        self._running = [self._one() for _ in range(self._count)]
        self._thread.start()

    def stop(self) -> None:
        """Let them end their jobs."""
        self._closing.set()
        self._thread.join()
        for process, _ in self._running:
            process.terminate()
        for process, lifeline in self._running:
            process.join(PATIENCE)
            lifeline.close()

    def _one(self) -> tuple[Any, Any]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(self._settings, theirs), name="dfd-worker")
        process.start()
        theirs.close()
        return process, ours

    def _keep(self) -> None:
        while not self._closing.wait(PAUSE):
            for at, (process, lifeline) in enumerate(self._running):
                if not process.is_alive() and not self._closing.is_set():
                    log.warning("a worker ended (exit status %s): another takes its place", process.exitcode)
                    lifeline.close()
                    self._running[at] = self._one()


def _work(settings: Settings, lifeline: Any) -> None:
    """Run a worker in a process of its own: the server's holds neither torch nor weights."""
    from dfd.serving.worker import run_worker

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    run_worker(settings, lifeline)


def provide_key(settings: Settings, keys: Keys) -> str | None:
    """Make the first key, or take the operator's own; return it where it was made."""
    if settings.key:
        keys.adopt(settings.key)
    elif not any(key.revoked is None for key in keys.all()):
        if settings.beyond_loopback:
            raise DfdError(
                f"host={settings.host} can be reached by others, and no key exists: dfd-serve keys new, or key=..."
            )
        return keys.make("first", admin=True)
    return None


def serve(settings: Settings, on_open: Any) -> None:
    """Serve until stopped; `on_open` is called with what was opened."""
    settings.names()
    settings.fingerprint()  # what is no run is refused before anything listens
    app = create_app(settings)
    made = provide_key(settings, app.state.keys)
    listening = _listen(settings)
    workers = Workers(settings, settings.workers)
    workers.start()
    try:
        port = listening.getsockname()[1]
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        on_open(Opened(f"http://{host}:{port}", made))
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=5, server_header=False
        )
        uvicorn.Server(config).run([listening])
    finally:
        workers.stop()


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise DfdError(
            f"{settings.host}:{settings.port} cannot be listened on ({error.strerror}): choose another port="
        ) from error
    listening.listen(512)
    return listening
