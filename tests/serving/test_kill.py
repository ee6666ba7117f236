"""Killed at any moment, a server loses nothing and does nothing twice; a dead machine's jobs are done by another."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import sqlalchemy as sa

from dfd.serving.client import Client, Refused
from dfd.serving.store import Store
from dfd.serving.tables import EVENTS
from tests.serving.conftest import KEY, ROOT, Served

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("KILLS", "3"))  # 20 were tried; three fit into CI
JOBS_A_KILL = 2


def children(process: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def worker_of(server: Served) -> int | None:
    """Return the worker process: the child that has children of its own, or any but Python's resource tracker."""
    for child in children(server.process.pid):
        with contextlib.suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
    return None


def endings(store: Store, job: str) -> int:
    ended = EVENTS.c.kind.in_(("done", "failed", "cancelled"))
    with store.engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).where(EVENTS.c.job == job, ended)).scalar_one()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="Linux")
def test_killed_under_load(small_run, clip, tmp_path):
    random.seed(5)
    folder, jobs = tmp_path / "out", []
    server = Served(small_run, folder, "beat=0.5").wait_until_ready()
    for number in range(KILLS):
        client = Client(server.address, KEY)
        jobs += [client.send(clip, fresh=True)["id"] for _ in range(JOBS_A_KILL)]
        time.sleep(random.uniform(0.0, 4.0))
        victim = worker_of(server) if number % 2 == 0 else None
        if victim is not None:
            os.kill(victim, signal.SIGKILL)
        else:
            server.kill()
            server = Served(small_run, folder, "beat=0.5")
    server.wait_until_ready()
    client = Client(server.address, KEY)
    states = [client.wait(job, 300)["state"] for job in jobs]
    server.stop()
    assert states == ["done"] * len(jobs)
    store = Store(f"sqlite:///{folder / 'jobs.sqlite'}")
    assert [endings(store, job) for job in jobs] == [1] * len(jobs)
    for part in ("spool", "scratch", "files/uploads"):
        assert not [path for path in (folder / part).rglob("*") if path.is_file()]
    assert len(list((folder / "files/results").iterdir())) == len(jobs)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postgres_programs() -> Path | None:
    places = [Path(p).parent for p in [shutil.which("initdb")] if p] + sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in reversed(places) if (place / "initdb").is_file()), None)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """A server of the distribution's package, of this test alone."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    folder, port = tmp_path_factory.mktemp("postgres"), free_port()
    as_user = [] if os.getuid() else ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    if as_user:
        shutil.chown(folder, "nobody", "nogroup")
        for parent in (folder, *folder.parents[:3]):
            with contextlib.suppress(PermissionError):
                parent.chmod(parent.stat().st_mode | 0o055)
        folder.chmod(0o700)
    data = folder / "data"
    command = [*as_user, programs / "initdb", "-D", data, "-U", "dfd", "-A", "trust", "--no-sync"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    server = [*as_user, programs / "postgres", "-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1"]
    process = subprocess.Popen(server, cwd=folder, stderr=subprocess.DEVNULL)
    address = f"postgresql://dfd@127.0.0.1:{port}/postgres"
    engine = sa.create_engine(address.replace("postgresql", "postgresql+psycopg", 1))
    for _ in range(100):
        try:
            engine.connect().close()
            break
        except sa.exc.OperationalError:
            time.sleep(0.3)
    running = [process]

    def crash(seconds: float) -> None:
        running[0].send_signal(signal.SIGQUIT)  # no clean end: what was written is found in its log
        running[0].wait(30)
        time.sleep(seconds)
        running[0] = subprocess.Popen(server, cwd=folder, stderr=subprocess.DEVNULL)

    yield address, crash
    running[0].send_signal(signal.SIGINT)
    running[0].wait(30)


@pytest.fixture(scope="module")
def bucket(monkeypatch_module):
    """An S3 server in this process."""
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    import fsspec

    server = moto.ThreadedMotoServer(port=free_port())
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
    names = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": address}
    for name, value in names.items():
        monkeypatch_module.setenv(name, value)
    files = fsspec.filesystem("s3", endpoint_url=address, key="test", secret="test")
    files.mkdir("files")
    yield "s3://files/dfd", files
    server.stop()


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_another_machine_goes_on(small_run, clip, tmp_path, postgres, bucket):
    database, _ = postgres
    storage, files = bucket
    shared = [f"database={database}", f"storage={storage}", "beat=0.5", "decoders=1"]
    server = Served(small_run, tmp_path / "api", *shared, "workers=0")
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "dfd.cli.serve", "worker", f"run={small_run}", f"output={tmp_path / name}", *shared],
            cwd=ROOT,
            start_new_session=True,
        )
        for name in ("one", "two")
    ]
    try:
        server.wait_until_ready()
        client, store = Client(server.address, KEY), Store(database)
        end = time.monotonic() + 240
        while len(store.workers(time.time() - 2)) < 2 and time.monotonic() < end:
            time.sleep(0.5)
        jobs = [client.send(clip, fresh=True)["id"] for _ in range(8)]
        while not any(client.job(job)["state"] == "running" for job in jobs):
            time.sleep(0.1)
        os.killpg(workers[0].pid, signal.SIGKILL)  # a machine that is gone, with all its processes
        done = [client.wait(job, 300) for job in jobs]
        assert [job["state"] for job in done] == ["done"] * len(jobs)
        assert [endings(store, job) for job in jobs] == [1] * len(jobs)
        left = [name for name in files.find("files") if "/uploads/" in name]
        assert left == []
        assert client.artifact(jobs[0], "faces-0.jpg").startswith(b"\xff\xd8\xff")
        client.erase(jobs[0])
        assert not [name for name in files.find("files") if jobs[0] in name]
    finally:
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        server.stop()


def test_a_lost_database_comes_back(small_run, clip, tmp_path, postgres):
    database, crash = postgres
    server = Served(small_run, tmp_path / "out", f"database={database}", "beat=0.5").wait_until_ready()
    client, store, seen = Client(server.address, KEY), Store(database), set()
    jobs = [client.send(clip, fresh=True)["id"] for _ in range(3)]
    down = threading.Thread(target=crash, args=(4.0,))
    down.start()
    while down.is_alive():
        try:
            client.jobs().__next__()
        except Refused as refused:
            seen.add(refused.code)
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(f"{server.address}/readyz"):
            pass
        time.sleep(0.1)
    assert seen == {"database"}
    end = time.monotonic() + 300
    states = {}
    while len(states) < len(jobs) and time.monotonic() < end:
        with contextlib.suppress(Refused):
            states |= {job: client.wait(job, 300)["state"] for job in jobs}
        time.sleep(0.2)
    server.stop()
    assert set(states.values()) == {"done"}
    assert [endings(store, job) for job in jobs] == [1] * len(jobs)
