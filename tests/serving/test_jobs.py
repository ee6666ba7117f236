"""A file through a whole server: from the client to the worker and back, each in a process of its own."""

import csv
import io
import json
import time
from pathlib import Path

import pytest

from dfd.serving.client import Client, Refused
from dfd.serving.store import STAGES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(served):
    return Client(served.address, served.key)


def left(served) -> list[str]:
    parts = ("spool", "scratch", "files/uploads")
    return [str(path) for part in parts for path in (served.folder / part).rglob("*") if path.is_file()]


def test_a_verdict_with_what_it_rests_on(served, client, clip):
    job = client.send(clip)
    events = list(client.events(job["id"]))
    assert [kind for _, kind, _ in events] == ["queued", *["progress"] * len(STAGES), "done"]
    assert [data["stage"] for _, kind, data in events if kind == "progress"] == list(STAGES)
    shares = [data["progress"] for _, kind, data in events if kind == "progress"]
    assert shares == sorted(shares)
    assert list(client.events(job["id"], after=events[-2][0])) == events[-1:]

    job = client.job(job["id"])
    told = job["result"]
    assert (job["state"], job["name"], job["attempts"]) == ("done", "a head.mp4", 1)
    assert told["verdict"] in ("fake", "real")
    assert told["direction"] == "higher = fake"
    (run,) = told["runs"]
    assert (run["kind"], run["run"], run["operating"]["calibrated"]) == ("views", "small", False)
    assert len(run["people"][0]["t"]) == len(run["people"][0]["score"]) == 4
    assert told["media"]["frames"] == 25
    rows = list(csv.reader(io.StringIO(client.artifact(job["id"], "scores.csv").decode())))
    assert len(rows) == 5
    assert client.artifact(job["id"], run["artifacts"]["faces"]["name"]).startswith(b"\xff\xd8\xff")
    assert client.artifact(job["id"], run["artifacts"]["evidence"]["name"]).startswith(b"\x89PNG")
    assert json.loads(client.artifact(job["id"], "result.json"))["verdict"] == told["verdict"]
    assert left(served) == []
    for name in ("..%2fjobs.sqlite", "result.json.partial", "evidence-9.png"):
        with pytest.raises(Refused, match="not_found"):
            client.artifact(job["id"], name)
    client.erase(job["id"])
    assert not list((served.folder / "files/results").rglob("*.json"))
    assert list(client.jobs()) == []


def test_it_says_what_the_engine_says(client, clip, small_run):
    from dfd.inference.engine import Engine

    expected = Engine.load(small_run, "cpu", faces=4).judge(clip)
    job = client.judge(clip)
    assert job["result"]["score"] == pytest.approx(expected.score, abs=1e-6)
    client.erase(job["id"])


@pytest.mark.parametrize(
    ("data", "code"), [(b"no video", "decode_error"), (b"#EXTM3U\nhttp://a/b.ts\n", "not_a_video")]
)
def test_a_file_that_cannot_be_judged_is_an_answer(served, client, tmp_path, data, code):
    path = tmp_path / "odd.mp4"
    path.write_bytes(data)
    job = client.judge(path)
    assert (job["state"], job["verdict"], job["code"]) == ("failed", "not judged", code)
    assert str(served.folder) not in job["detail"]
    assert left(served) == []


def test_a_clip_without_a_face(client, tmp_path):
    import numpy as np

    from tests.conftest import write_video

    job = client.judge(write_video(tmp_path / "grey.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 5))
    assert job["code"] == "no_face"


def test_the_routes_of_older_systems(served, client, clip):
    httpx = pytest.importorskip("httpx")
    with httpx.Client(base_url=served.address, headers={"x-api-key": served.key}, timeout=60) as http:
        answer = http.post("/detect", files={"file": ("a.mp4", clip.read_bytes())})
        if answer.status_code == 202:  # a slow machine
            client.wait(answer.json()["job"])
            answer = http.post("/detect", files={"file": ("a.mp4", clip.read_bytes())})
        told = answer.json()
        assert told["label"] in ("FAKE", "REAL")
        assert http.get(told["visualization"]).headers["content-type"] in ("image/png", "image/jpeg")
        other = http.post("/api/detect", files={"file": ("a.mp4", clip.read_bytes())}).json()
        assert other["verdict"] == told["label"].lower()
        client.erase(told["job"])


def test_an_erased_job_leaves_nothing_whenever_it_was_erased(served, client, clip):
    for pause in (0.0, 1.0, 3.0):
        job = client.send(clip, fresh=True)["id"]
        time.sleep(pause)
        client.erase(job)
    done = client.judge(clip, fresh=True)  # those before it have ended
    client.erase(done["id"])
    end = time.monotonic() + 60
    while time.monotonic() < end and any(Path(served.folder / "files").rglob("*.*")):
        time.sleep(0.5)
    assert not [path for path in (served.folder / "files").rglob("*") if path.is_file()]


def test_no_answer_is_a_server_error(served):
    schemathesis = pytest.importorskip("schemathesis")
    schema = schemathesis.openapi.from_url(f"{served.address}/openapi.json")
    for operation in schema.get_all_operations():
        ok = operation.ok()
        for case in (ok.as_strategy().example() for _ in range(4)):
            answer = case.call(base_url=served.address, headers={"x-api-key": served.key}, timeout=60)
            assert answer.status_code < 500 or answer.status_code in (503, 507), (case.method, case.path, answer.text)
