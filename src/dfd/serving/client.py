"""A client of the API, typed, with nothing but the standard library.

job = Client("http://127.0.0.1:8000", key).judge("clip.mp4")
print(job["verdict"], job["result"]["probability"])
"""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

Document = dict[str, Any]
ENDED = ("done", "failed", "cancelled", "expired")


class Refused(Exception):
    """An answer that is a problem; `code` is stable, `retry_after` in seconds where waiting helps."""

    def __init__(self, status: int, problem: Document, retry_after: float | None) -> None:
        super().__init__(f"{status} {problem.get('code', '')}: {problem.get('detail') or problem.get('title', '')}")
        self.status, self.problem, self.retry_after = status, problem, retry_after
        self.code = str(problem.get("code", ""))


class Client:
    """A server and a key.

    Args:
        address: e.g. http://127.0.0.1:8000.
        key: sent as a header.
        timeout: seconds that an answer may take.
    """

    def __init__(self, address: str, key: str, timeout: float = 60.0) -> None:
        parts = urlsplit(address)
        make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._new = lambda: make(parts.netloc, timeout=timeout)
        self._key = key

    def send(
        self, file: str | Path, *, deblur: str = "false", fresh: bool = False, request: str | None = None
    ) -> Document:
        """Send a file and return its job."""
        path = Path(file)
        headers = {"x-filename": quote(path.name), "content-length": str(path.stat().st_size)}
        headers |= {"idempotency-key": request} if request else {}
        with path.open("rb") as body:
            return self._ask("PUT", f"/v1/uploads?deblur={deblur}&fresh={str(fresh).lower()}", body, headers)

    def job(self, id: str) -> Document:
        """Return a job."""
        return self._ask("GET", f"/v1/jobs/{id}")

    def jobs(self) -> Iterator[Document]:
        """Yield one's own jobs, newest first."""
        cursor: str | None = ""
        while cursor is not None:
            page = self._ask("GET", "/v1/jobs" + (f"?cursor={cursor}" if cursor else ""))
            yield from page["jobs"]
            cursor = page["next"]

    def events(self, id: str, after: int = 0) -> Iterator[tuple[int, str, Document]]:
        """Yield (number, kind, data) of a job until it ends; `after` goes on behind an event."""
        connection, answer = self._open("GET", f"/v1/jobs/{id}/events", None, {"last-event-id": str(after)})
        event: dict[str, str] = {}
        try:
            for line in answer:
                text = line.decode().rstrip("\n")
                if text and not text.startswith(":"):
                    name, _, value = text.partition(": ")
                    event[name] = value
                elif event:
                    yield int(event["id"]), event["event"], json.loads(event["data"])
                    event = {}
        finally:
            connection.close()

    def wait(self, id: str, timeout: float = 600.0) -> Document:
        """Return a job when it has ended."""
        end = time.monotonic() + timeout
        while (job := self.job(id))["state"] not in ENDED:
            if time.monotonic() > end:
                raise TimeoutError(f"job {id} is {job['state']} after {timeout:g} s")
            time.sleep(0.3)
        return job

    def judge(self, file: str | Path, **options: Any) -> Document:
        """Send a file, wait, and return its job with the result."""
        return self.wait(self.send(file, **options)["id"])

    def artifact(self, id: str, name: str) -> bytes:
        """Return a file that a job left."""
        connection, answer = self._open("GET", f"/v1/jobs/{id}/artifacts/{quote(name)}")
        with closing(connection):
            return answer.read()

    def cancel(self, id: str) -> Document:
        """Stop a job."""
        return self._ask("POST", f"/v1/jobs/{id}/cancel")

    def erase(self, id: str) -> None:
        """Remove every trace of a job."""
        self._ask("DELETE", f"/v1/jobs/{id}")

    def models(self) -> list[Document]:
        """Return what judges."""
        models: list[Document] = self._ask("GET", "/v1/models")["models"]
        return models

    def _ask(
        self, method: str, path: str, body: BinaryIO | None = None, headers: dict[str, str] | None = None
    ) -> Document:
        connection, answer = self._open(method, path, body, headers)
        with closing(connection):
            data = answer.read()
        told: Document = json.loads(data) if data else {}
        return told

    def _open(
        self, method: str, path: str, body: BinaryIO | None = None, headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = self._new()
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before the body was read: the answer says why
            connection.request(method, path, body, {"x-api-key": self._key, **(headers or {})})
        answer = connection.getresponse()
        if answer.status >= 400:
            with closing(connection):
                data = answer.read()
            wait = answer.getheader("retry-after")
            raise Refused(answer.status, json.loads(data or b"{}"), float(wait) if wait else None)
        return connection, answer
