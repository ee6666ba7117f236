"""What acts before a body is read: keys, rates, sizes, quotas, a full queue, a full disk; and headers of every answer.

A form parameter of FastAPI reads the whole body before anything else is asked, so these checks are ASGI middleware:
they see the headers alone.
"""

import json
import logging
import shutil
import time

import sqlalchemy.exc
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dfd.serving.keys import Key, Keys
from dfd.serving.problems import TYPE, Problem
from dfd.serving.settings import Settings
from dfd.serving.store import Store

log = logging.getLogger("dfd")

LOST = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.TimeoutError)  # the database
OPEN = ("/", "/static", "/healthz", "/readyz", "/openapi.json", "/favicon.ico")  # without a key
UPLOADS = {("PUT", "/v1/uploads"), ("POST", "/v1/jobs"), ("POST", "/detect"), ("POST", "/api/detect")}
SLACK = 2**20  # bytes of a form beside its file
DAY = 86400.0
SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """The checks of one server process.

    Args:
        app: what is guarded.
        settings: bounds and traffic.
        keys: who may enter.
        store: asked for quotas and the length of the queue.
    """

    def __init__(self, app: ASGIApp, settings: Settings, keys: Keys, store: Store) -> None:
        self._app, self._settings, self._keys, self._store = app, settings, keys, store
        self._rates = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            if not _is_open(scope["path"]):
                scope["state"]["key"] = await run_in_threadpool(self._admit, scope)
            await self._app(scope, receive, _with_headers(send, scope["path"]))
        except Problem as problem:
            await answer(problem, _with_headers(send, scope["path"]))
        except LOST as error:
            log.warning("database: %s", " ".join(str(error).split())[:200])
            await answer(Problem("database", "try again in a moment", 5), _with_headers(send, scope["path"]))

    def _admit(self, scope: Scope) -> Key:
        headers, traffic = Headers(scope=scope), self._settings.traffic
        key = self._key(headers, scope)
        self._rate("requests", key.id, traffic.requests)
        if (scope["method"], scope["path"]) in UPLOADS:
            self._rate("uploads", key.id, traffic.uploads)
            self._check_upload(headers, key)
        return key

    def _key(self, headers: Headers, scope: Scope) -> Key:
        address = (scope.get("client") or ("?",))[0]
        limit = RateLimitItemPerMinute(self._settings.traffic.refusals)
        if not self._rates.test(limit, "refused", address):
            raise Problem("too_many", "too many wrong keys from this address: wait a minute", 60)
        given = headers.get("x-api-key")
        if not given:
            raise Problem("no_key", "send your key as the header x-api-key; never in an address")
        key = self._keys.find(given)
        if key is None:
            self._rates.hit(limit, "refused", address)
            raise Problem("wrong_key", "dfd-serve keys lists and makes keys")
        return key

    def _rate(self, what: str, key: str, most: int) -> None:
        limit = RateLimitItemPerMinute(most)
        if not self._rates.hit(limit, what, key):
            reset = self._rates.get_window_stats(limit, what, key).reset_time
            raise Problem("too_many", f"at most {most} {what} a minute", reset - time.time())

    def _check_upload(self, headers: Headers, key: Key) -> None:
        most = self._settings.bounds.upload
        length = headers.get("content-length")
        if length is None and headers.get("transfer-encoding", "").lower() != "chunked":
            raise Problem("length_required", "send Content-Length, or the body in chunks")
        size = int(length) if length is not None and length.isdigit() else 0
        if size > most + SLACK:
            raise Problem("too_large", f"{size} bytes: at most {most} are taken")
        waiting = self._store.waiting()
        if waiting >= self._settings.traffic.queue:
            raise Problem("queue_full", f"{waiting} jobs are waiting", 30)
        free = shutil.disk_usage(self._settings.folder).free
        if free - size < self._settings.traffic.reserve:
            raise Problem("disk_full", "the server has no room for this file now; its operator has to make some")
        self._check_quota(key, size)

    def _check_quota(self, key: Key, size: int) -> None:
        if key.jobs_a_day is None and key.bytes_a_day is None:
            return
        jobs, used = self._store.used(key.id, time.time() - DAY)
        if key.jobs_a_day is not None and jobs >= key.jobs_a_day:
            raise Problem("quota", f"this key may send {key.jobs_a_day} files a day", 3600)
        if key.bytes_a_day is not None and used + size > key.bytes_a_day:
            raise Problem("quota", f"this key may send {key.bytes_a_day} bytes a day", 3600)


async def answer(problem: Problem, send: Send) -> None:
    """Send a problem without reading the request's body; the connection ends, for a body may still be on its way."""
    body = json.dumps(problem.body).encode()
    told = {"Content-Type": TYPE, "Content-Length": str(len(body)), "Connection": "close", **problem.headers}
    headers = [(name.lower().encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith("/static/")


def _with_headers(send: Send, path: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-cache" if path.startswith("/static/") else "no-store")
        await send(message)

    return sending
