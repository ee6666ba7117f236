"""What Prometheus reads: jobs by state and verdict from the tables, requests of this process."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dfd.serving.settings import Settings
from dfd.serving.store import QUEUED, Store


class Measured:
    """Counts requests, and asks the tables for the rest when it is read."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store
        self.registry = CollectorRegistry()
        self.registry.register(self)
        labels = ("method", "route", "status")
        self._requests = Counter("dfd_requests", "Requests.", labels, registry=self.registry)
        self._seconds = Histogram("dfd_request_seconds", "Until the answer began.", ("route",), registry=self.registry)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        known = method if method in ("GET", "POST", "PUT", "DELETE", "HEAD") else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield what the tables say."""
        jobs = GaugeMetricFamily("dfd_jobs", "Jobs in the table.", labels=("state", "verdict", "code"))
        waiting = 0
        for state, verdict, code, count in self._store.counts():
            jobs.add_metric((state, verdict, code), count)
            waiting += count if state == QUEUED else 0
        yield jobs
        yield GaugeMetricFamily("dfd_queue_length", "Jobs that wait.", value=waiting)
        alive = self._store.workers(time.time() - 4 * self._settings.beat)
        yield GaugeMetricFamily("dfd_workers", "Workers that are alive.", value=len(alive))

    def text(self) -> bytes:
        """Return the exposition format."""
        return generate_latest(self.registry)


class Measuring:
    """Middleware that counts."""

    def __init__(self, app: ASGIApp, measured: Measured) -> None:
        self._app, self._measured = app, measured

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count it when its answer begins."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                self._measured.count(scope["method"], route, message["status"], time.perf_counter() - start)
            await send(message)

        await self._app(scope, receive, sending)
