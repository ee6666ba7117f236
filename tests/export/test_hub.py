"""A run goes to a hub and comes back, against a stand-in of its API; what is refused, and what was tampered with."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from dfd.core.errors import DfdError
from dfd.core.hub import DESCRIPTION, WEIGHTS, fetch
from dfd.export.hub import push, write_folder
from dfd.models.checkpoint import load_network, read_card, save_network
from dfd.models.meso import MesoInception4

METRICS = {
    "video": {"auc": {"value": 0.91, "low": 0.85, "high": 0.95}, "ap": {"value": 0.9, "low": None, "high": None}}
}
COMMIT = "c" * 40


class Hub(BaseHTTPRequestHandler):
    """The few calls that publishing and fetching a small repository make."""

    files: dict[str, bytes]

    def do_POST(self):
        body = self.body()
        if self.path.endswith("/repos/create"):
            return self.say({"url": f"{self.server.address}/owner/name", "name": "owner/name"})
        if self.path.endswith("/validate-yaml"):
            return self.say({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            return self.say({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        return self.say(
            {"commitUrl": f"https://huggingface.co/owner/name/commit/{COMMIT}", "commitOid": COMMIT, "success": True}
        )

    def body(self):
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []  # of a body that is sent in chunks
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_GET(self):
        if "/tree/" in self.path:
            return self.say(
                [{"type": "file", "path": n, "size": len(c), "oid": n} for n, c in self.server.files.items()]
            )
        if self.path.startswith("/api/"):
            listed = [{"rfilename": name} for name in self.server.files]
            if not listed:
                return self.say({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return self.say({"id": "owner/name", "sha": COMMIT, "siblings": listed, "private": False})
        name = self.path.partition("/resolve/")[2].partition("/")[2]
        content = self.server.files[name]
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        return self.say(content, 200, headers)

    do_HEAD = do_GET

    def say(self, content, status=200, headers=()):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **dict(headers)}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(monkeypatch, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.address = {}, f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()


def make_run(folder, **facts):
    torch.manual_seed(0)
    (folder / "checkpoints").mkdir(parents=True)
    tree = {"_target_": "dfd.models.meso.MesoInception4", "size": 32}
    known = {"model": "meso", "data": "ffpp", "initialised_from": "random weights", **facts}
    save_network(folder / "checkpoints" / "best.ckpt", MesoInception4(32), tree, **known)
    (folder / "eval" / "celebdf-test").mkdir(parents=True)
    (folder / "eval" / "celebdf-test" / "metrics.json").write_text(json.dumps(METRICS))
    return folder


def test_a_run_goes_to_the_hub_and_comes_back(hub, tmp_path):
    run = make_run(tmp_path / "run")
    address = push(run, "owner/name", licence="cc-by-nc-4.0")
    assert address == f"hf://owner/name@{COMMIT}"
    assert set(hub.files) == {DESCRIPTION, WEIGHTS, "README.md"}
    page = hub.files["README.md"].decode()
    assert "| celebdf-test | 0.910 [0.850, 0.950] | 0.900 | - | - |" in page
    assert "license: cc-by-nc-4.0" in page

    ours, theirs = load_network(run), load_network(Path(address))
    assert theirs.card == ours.card == read_card(Path(address))
    pixels = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(ours.network(pixels).logits, theirs.network(pixels).logits)


def test_what_was_tampered_with_is_refused(hub, tmp_path):
    address = push(make_run(tmp_path / "run"), "owner/name")
    weights = fetch(address) / WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    with pytest.raises(DfdError, match="is not what was published"):
        load_network(weights.parent)


def test_a_run_of_the_sample_is_not_published(hub, tmp_path):
    with pytest.raises(DfdError, match="rendered sample"):
        push(make_run(tmp_path / "run", sample=True), "owner/name")
    assert not hub.files


def test_what_is_not_there_is_said(hub, tmp_path):
    with pytest.raises(DfdError, match="could not be fetched"):
        load_network(Path("hf://owner/name"))
    with pytest.raises(DfdError, match="is written hf://owner/name"):
        load_network(Path("hf://owner"))
    hub.files["README.md"] = b"another library's"
    with pytest.raises(DfdError, match="was not published by dfd-hub push"):
        load_network(Path("hf://owner/name"))


def test_a_folder_that_is_damaged_says_so(tmp_path):
    write_folder(make_run(tmp_path / "run"), tmp_path / "out", "owner/name", None)
    described = tmp_path / "out" / DESCRIPTION
    described.write_text(described.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(DfdError, match="has format 9"):
        load_network(tmp_path / "out")
    described.write_text("[]")
    with pytest.raises(DfdError, match="does not describe a published run"):
        load_network(tmp_path / "out")
