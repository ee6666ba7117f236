"""What the API does without any worker: keys, limits, jobs, errors; bodies are refused before they are read."""

import json
import socket
import threading
import time
from pathlib import Path

import pytest

from dfd.core.errors import DfdError
from dfd.serving.app import create_app
from dfd.serving.keys import Keys
from dfd.serving.settings import Bounds, Settings, Traffic
from dfd.serving.store import Store
from dfd.serving.uploads import clean_name
from tests.serving.conftest import KEY

testclient = pytest.importorskip("starlette.testclient")
HEAD = {"x-api-key": KEY}
HALF = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf'


@pytest.fixture(scope="module")
def app(small_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    settings = Settings([str(small_run)], output=str(folder / "out"), bounds=Bounds(upload=2**16))
    app = create_app(settings)
    app.state.keys.adopt(KEY)
    app.state.settings = settings
    return app


@pytest.fixture
def client(app):
    with testclient.TestClient(app, raise_server_exceptions=False) as client:
        yield client


def left(app) -> list[Path]:
    folder = app.state.settings.folder
    return [path for part in ("spool", "files") for path in (folder / part).rglob("*") if path.is_file()]


def test_a_key_is_needed_and_never_in_an_address(client):
    for answer in (client.get("/v1/jobs"), client.get(f"/v1/jobs?x-api-key={KEY}")):
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "no_key"
    assert client.get("/v1/jobs", headers={"x-api-key": "guess"}).json()["code"] == "wrong_key"
    assert client.get("/v1/jobs", headers=HEAD).json() == {"jobs": [], "next": None}


def test_a_file_becomes_a_job_and_the_same_bytes_the_same_job(app, client):
    first = client.put("/v1/uploads", content=b"one", headers={**HEAD, "x-filename": "..%2F..%2Fetc%2Fclip.mp4"})
    assert first.status_code == 202
    job = first.json()
    assert first.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["name"], job["state"], job["size"]) == ("clip.mp4", "queued", 3)
    again = client.post("/v1/jobs", files={"file": ("clip.mp4", b"one")}, headers=HEAD).json()
    assert again["id"] == job["id"]
    fresh = client.put("/v1/uploads?fresh=true", content=b"one", headers={**HEAD, "x-filename": "clip.mp4"}).json()
    assert fresh["id"] != job["id"]
    assert fresh["waiting"] == 1
    assert [each["id"] for each in client.get("/v1/jobs", headers=HEAD).json()["jobs"]] == [fresh["id"], job["id"]]
    assert len(left(app)) == 2
    for each in (job, fresh):
        assert client.delete(f"/v1/jobs/{each['id']}", headers=HEAD).status_code == 204
        assert client.get(f"/v1/jobs/{each['id']}", headers=HEAD).status_code == 404
    assert left(app) == []


def test_an_idempotency_key_stands_for_one_file(client):
    head = {**HEAD, "idempotency-key": "mine"}
    first = client.put("/v1/uploads", content=b"two", headers=head).json()
    assert client.put("/v1/uploads", content=b"two", headers=head).json()["id"] == first["id"]
    other = client.put("/v1/uploads", content=b"three", headers=head)
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    client.delete(f"/v1/jobs/{first['id']}", headers=HEAD)


def test_cancelled_jobs_say_so_and_events_go_on_behind_the_last(client):
    job = client.put("/v1/uploads", content=b"four", headers=HEAD).json()["id"]
    assert client.get(f"/v1/jobs/{job}/artifacts/result.json", headers=HEAD).json()["code"] == "not_ready"
    assert client.post(f"/v1/jobs/{job}/cancel", headers=HEAD).json()["state"] == "cancelled"
    assert client.post(f"/v1/jobs/{job}/cancel", headers=HEAD).json()["state"] == "cancelled"
    events = client.get(f"/v1/jobs/{job}/events", headers=HEAD).text
    assert [line for line in events.splitlines() if line.startswith("event")] == ["event: queued", "event: cancelled"]
    first = events.splitlines()[0].removeprefix("id: ")
    rest = client.get(f"/v1/jobs/{job}/events", headers={**HEAD, "last-event-id": first}).text
    assert "event: queued" not in rest
    assert "event: cancelled" in rest
    client.delete(f"/v1/jobs/{job}", headers=HEAD)


def test_others_jobs_do_not_exist(app, client):
    job = client.put("/v1/uploads", content=b"five", headers=HEAD).json()["id"]
    other = {"x-api-key": app.state.keys.make("other")}
    for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("DELETE", ""), ("GET", "/artifacts/a")):
        assert client.request(method, f"/v1/jobs/{job}{path}", headers=other).status_code == 404
    assert client.get("/v1/jobs", headers=other).json()["jobs"] == []
    assert client.get("/metrics", headers=other).json()["code"] == "forbidden"
    assert b"dfd_queue_length 1.0" in client.get("/metrics", headers=HEAD).content
    client.delete(f"/v1/jobs/{job}", headers=HEAD)


def test_errors_are_problems(client):
    asked = {
        ("GET", "/nowhere"): 401,
        ("GET", "/v1/jobs/nonsense"): 422,
        ("GET", f"/v1/jobs/{'0' * 32}"): 404,
        ("PATCH", "/v1/jobs"): 405,
        ("GET", "/v1/jobs?limit=0"): 422,
        ("GET", "/v1/models/none/card"): 404,
        ("GET", "/download/visualization/..%2F..%2Fetc%2Fpasswd"): 404,
    }
    for (method, path), status in asked.items():
        answer = client.request(method, path, headers={} if status == 401 else HEAD)
        assert (path, answer.status_code) == (path, status)
        assert answer.json()["status"] == status
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"", "application/octet-stream", "bad_request"),
        (b"--x\r\n", "multipart/form-data", "bad_request"),
        (b"no form", "multipart/form-data; boundary=x", "bad_request"),
        (HALF,"multipart/form-data; boundary=x", "bad_request"),
        (b"a" * (2**16 + 1), "application/octet-stream", "too_large"),
    ],
)  # fmt: skip
def test_bodies_that_are_no_file(app, client, body, kind, code):
    answer = client.post("/v1/jobs", content=body, headers={**HEAD, "content-type": kind})
    assert answer.json()["code"] == code
    assert left(app) == []


def test_the_page_allows_nothing_from_elsewhere(client):
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    for word in ("http://", "https://", "<style", "onclick", KEY):
        assert word not in page.text
    for file in ("page.js", "page.css", "result.js", "plots.js", "element.js", "icon.svg"):
        assert client.get(f"/static/{file}").status_code == 200
    assert client.get("/static/../app.py").status_code in (401, 404)


def test_health(client):
    assert client.get("/healthz").json()["status"] == "alive"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    checks = answer.json()["checks"]
    assert {name for name, told in checks.items() if told != "ok"} == {"workers"}


def test_the_document_names_the_key_and_every_route(client):
    document = client.get("/openapi.json").json()
    assert document["security"] == [{"key": []}]
    assert {"/v1/uploads", "/v1/jobs", "/v1/jobs/{id}/events", "/detect", "/api/detect"} <= set(document["paths"])


def test_the_old_routes_answer_with_an_address_when_it_takes_long(app, client, monkeypatch):
    monkeypatch.setattr("dfd.serving.legacy.PATIENCE", 0.1)
    for path in ("/detect", "/api/detect"):
        answer = client.post(path, files={"file": ("clip.mp4", b"six")}, headers=HEAD)
        assert answer.status_code == 202
        job = answer.json()["job"]
    client.delete(f"/v1/jobs/{job}", headers=HEAD)


@pytest.fixture
def strict(small_run, tmp_path):
    settings = Settings([str(small_run)], output=str(tmp_path / "out"))
    settings.traffic = Traffic(queue=1, uploads=3, refusals=2)
    app = create_app(settings)
    app.state.keys.adopt(KEY)
    with testclient.TestClient(app) as client:
        yield client, settings, app.state.keys


def test_a_full_queue_a_full_disk_too_many_requests(strict):
    client, settings, _ = strict
    assert client.put("/v1/uploads", content=b"one", headers=HEAD).status_code == 202
    full = client.put("/v1/uploads", content=b"two", headers=HEAD)
    assert (full.status_code, full.json()["code"]) == (503, "queue_full")
    assert int(full.headers["retry-after"]) > 0
    settings.traffic.queue, settings.traffic.reserve = 10, 2**62
    assert client.put("/v1/uploads", content=b"two", headers=HEAD).json()["code"] == "disk_full"
    assert client.get("/readyz").json()["checks"]["disk"] != "ok"
    assert client.put("/v1/uploads", content=b"two", headers=HEAD).json()["code"] == "too_many"
    for _ in range(2):
        assert client.get("/v1/jobs", headers={"x-api-key": "guess"}).status_code == 401
    assert client.get("/v1/jobs", headers={"x-api-key": "guess"}).status_code == 429


def test_quotas(strict):
    client, settings, keys = strict
    settings.traffic.queue = 10
    head = {"x-api-key": keys.make("small", jobs_a_day=1)}
    assert client.put("/v1/uploads", content=b"one", headers=head).status_code == 202
    assert client.put("/v1/uploads", content=b"two", headers=head).json()["code"] == "quota"
    head = {"x-api-key": keys.make("light", bytes_a_day=2)}
    assert client.put("/v1/uploads", content=b"one", headers=head).json()["code"] == "quota"


def test_keys_are_digests_and_end_when_revoked(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    store.create()
    keys = Keys(store)
    secret = keys.make("ann")
    key = keys.find(secret)
    assert key is not None
    assert key.name == "ann"
    assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    keys.revoke(key.id)
    assert keys.find(secret) is None
    for weak in ("short", "my_secret_key_my_secret_key"):
        with pytest.raises(DfdError, match="random"):
            keys.adopt(weak)


def test_a_file_name_is_for_people():
    assert clean_name("..\\..\\a\x00b\n.mp4") == "ab.mp4"
    assert clean_name("") == "unnamed"
    assert len(clean_name("a" * 1000 + ".mp4")) == 200


@pytest.fixture
def listening(small_run, tmp_path):
    import uvicorn

    app = create_app(Settings([str(small_run)], output=str(tmp_path / "out"), bounds=Bounds(upload=2**20)))
    app.state.keys.adopt(KEY)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield server.servers[0].sockets[0].getsockname()
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize(
    ("key", "length", "status"), [("guess-guess-guess", 100, 401), (KEY, 2**40, 413), (KEY, None, 411)]
)
def test_an_upload_is_refused_before_its_body(listening, key, length, status):
    with socket.create_connection(listening, timeout=20) as connection:
        size = "" if length is None else f"Content-Length: {length}\r\n"
        kind = "Content-Type: multipart/form-data; boundary=x\r\n"
        connection.sendall(
            f"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nX-Api-Key: {key}\r\n{kind}{size}\r\n".encode()
        )  # and no body, ever
        answer = connection.makefile("rb").read().decode()  # the server closes the connection
    assert answer.startswith(f"HTTP/1.1 {status}")
    head, _, body = answer.partition("\r\n\r\n")
    assert "connection: close" in head
    assert json.loads(body)["status"] == status
