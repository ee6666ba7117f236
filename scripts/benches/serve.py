"""A server under load against predict alone, and the memory of its API; scripts/bench.py serve."""

import dataclasses
import math
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from benches.figure import Figure
from benches.preprocess import photo_video
from dfd.core.card import Looking
from dfd.core.cores import cores
from dfd.inference.engine import Engine
from dfd.models.checkpoint import save_network
from dfd.models.meso import MesoInception4
from dfd.preprocess.crop import CropOptions
from dfd.serving.client import Client

KEY = "bench-bench-bench-bench-bench"
JOBS, CLIENTS, SMALL, LARGE = 40, 50, 1000, 2 * 2**30


def serve(folder: Path) -> Iterable[Figure]:
    """40 videos by one run on all cores while 50 clients ask; then 2 GiB at once, and 1,000 small files."""
    run, clip = small_run(folder / "run"), photo_video(folder / "clip.mp4", (640, 360))
    alone = predict_alone(run, clip)
    command = [sys.executable, "-m", "dfd.cli.serve", f"run={run}", f"output={folder / 'out'}", f"key={KEY}", "port=0"]
    roomy = [
        "traffic.requests=100000000",
        "traffic.uploads=1000000",
        "traffic.queue=100000",
        "bounds.upload=3000000000",
    ]
    with subprocess.Popen([*command, *roomy], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        address = next(line.strip() for line in server.stdout if "http://" in line)
        wait_until_ready(address)
        client = Client(address, KEY, timeout=300)
        client.judge(clip)  # warms up
        latencies: list[float] = []
        rate = jobs_a_minute(client, address, clip, latencies)
        yield Figure("jobs, one run", rate, alone, "jobs/min", "predict alone", 0.9)
        latencies.sort()
        p50, p95 = (1000 * latencies[int(share * len(latencies))] for share in (0.5, 0.95))
        yield Figure(f"API with {CLIENTS} clients, p50", p50, math.nan, "ms", "")
        yield Figure(f"API with {CLIENTS} clients, p95", p95, math.nan, "ms", "")
        before = memory(server.pid)
        send_large(client, folder / "large.mp4")
        yield Figure("memory of the API after 2 GiB", memory(server.pid), before, "MiB", "before")
        for number in range(SMALL):
            (folder / "small.mp4").write_text(f"no video {number}")
            client.send(folder / "small.mp4")
        yield Figure(f"memory of the API after {SMALL} jobs", memory(server.pid), before, "MiB", "before")
        server.terminate()


def small_run(run: Path) -> Path:
    """Write a run of a small network."""
    (run / "checkpoints").mkdir(parents=True)
    tree = {"_target_": "dfd.models.meso.MesoInception4", "size": 128, "logits": 1}
    facts = {"crops": dataclasses.asdict(CropOptions()), "looking": Looking(frames=8)}
    save_network(run / "checkpoints/best.ckpt", MesoInception4(128, logits=1), tree, **facts)
    return run


def predict_alone(run: Path, clip: Path) -> float:
    """Return the files a minute that the engine judges, its workers warm."""
    engine, started = Engine.load(run, "cpu", faces=4, explain=True), 0.0
    for number, _ in enumerate(engine.judge_all([clip] * (JOBS + 1), cores())):
        started = started if number else time.perf_counter()
    return 60 * JOBS / (time.perf_counter() - started)


def jobs_a_minute(client: Client, address: str, clip: Path, latencies: list[float]) -> float:
    """Send all jobs at once and return how many a minute are done, while clients poll."""
    done, since = threading.Event(), time.perf_counter()
    jobs = [client.send(clip, fresh=True)["id"] for _ in range(JOBS)]
    pollers = [threading.Thread(target=poll, args=(address, jobs[0], done, latencies)) for _ in range(CLIENTS)]
    for poller in pollers:
        poller.start()
    for job in jobs:
        assert client.wait(job)["state"] == "done"
    seconds = time.perf_counter() - since
    done.set()
    for poller in pollers:
        poller.join()
    return 60 * JOBS / seconds


def poll(address: str, job: str, done: threading.Event, latencies: list[float]) -> None:
    """Ask for a job once a second, as pages do, until told to stop."""
    client = Client(address, KEY)
    while not done.wait(1.0):
        start = time.perf_counter()
        client.job(job)
        latencies.append(time.perf_counter() - start)


def send_large(client: Client, path: Path) -> None:
    """Send as many zeros as a long video has bytes."""
    with path.open("wb") as file:
        file.truncate(LARGE)
    client.erase(client.send(path)["id"])
    path.unlink()


def wait_until_ready(address: str) -> None:
    """Return when a worker is alive."""
    while True:
        try:
            urllib.request.urlopen(f"{address}/readyz", timeout=10).close()
            return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.5)


def memory(process: int) -> float:
    """Return the resident MiB of a process, as the median of a few looks."""
    looks = []
    for _ in range(5):
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        looks.append(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024)
        time.sleep(0.2)
    return statistics.median(looks)
