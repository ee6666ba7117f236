"""The web application: the page, the API, health and metrics, behind the guard."""

import logging
import shutil
import time
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from dfd import __version__
from dfd.serving import api, legacy
from dfd.serving.api import key_of
from dfd.serving.desk import Desk
from dfd.serving.guard import LOST, Guard
from dfd.serving.keys import Keys
from dfd.serving.measured import Measured, Measuring
from dfd.serving.problems import CODES, TYPE, Problem
from dfd.serving.queue import Queue, migrate
from dfd.serving.settings import Settings
from dfd.serving.shown import Ready
from dfd.serving.storage import Storage
from dfd.serving.store import Store
from dfd.serving.uploads import clean_spool

log = logging.getLogger("dfd")

PAGE = Path(__file__).with_name("page")
ABOUT = 600.0  # seconds that a worker's description serves, whether or not it is alive still


def create_app(settings: Settings) -> FastAPI:
    """Return the application; its tables exist afterwards."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    store, storage = Store(settings.database_url), Storage(settings.storage_url)
    store.create()
    migrate(settings.database_url)
    desk = Desk(settings, store, storage, Queue(settings.database_url))
    clean_spool(desk.spool)
    app = FastAPI(title="dfd", version=__version__, docs_url=None, redoc_url=None, summary="Judges videos and images")
    _describe_key(app)
    measured, keys = Measured(settings, store), Keys(store)
    app.state.keys = keys
    app.include_router(api.routes(desk, lambda: _about(settings, store), settings.restorer is not None))
    app.include_router(legacy.routes(desk))
    _add_health(app, settings, store, storage)
    _add_page(app)
    _add_metrics(app, measured)
    _add_errors(app)
    app.add_middleware(Guard, settings=settings, keys=keys, store=store)
    app.add_middleware(Measuring, measured=measured)
    return app


def _about(settings: Settings, store: Store) -> dict[str, Any]:
    """Return what the workers that are alive say of their runs."""
    told: dict[str, Any] = {}
    for worker in store.workers(time.time() - ABOUT):
        told |= worker["about"]["runs"]
    return told


def _describe_key(app: FastAPI) -> None:
    """Have the OpenAPI document say that every route wants the header."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        document = original()
        parts = document.setdefault("components", {})
        parts["securitySchemes"] = {"key": {"type": "apiKey", "in": "header", "name": "x-api-key"}}
        document["security"] = [{"key": []}]
        for path in ("/healthz", "/readyz"):
            document["paths"][path]["get"]["security"] = []
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _add_health(app: FastAPI, settings: Settings, store: Store, storage: Storage) -> None:
    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        """Answer that this process is alive."""
        return {"status": "alive", "version": __version__}

    @app.get("/readyz", response_model=Ready, responses={503: {"model": Ready}})
    def readyz() -> Response:
        """Say whether files can be taken and judged: database, storage, workers, disk."""
        checks = {
            "database": _tried(store.check),
            "storage": _tried(storage.check),
            "workers": _tried(lambda: _check_workers(settings, store)),
            "disk": _tried(lambda: _check_disk(settings)),
        }
        ready = all(told == "ok" for told in checks.values())
        return JSONResponse(Ready(ready=ready, checks=checks).model_dump(), 200 if ready else 503)


def _tried(check: Any) -> str:
    try:
        check()
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    return "ok"


def _check_workers(settings: Settings, store: Store) -> None:
    if not store.workers(time.time() - 4 * settings.beat):
        raise RuntimeError("no worker is alive: jobs wait")


def _check_disk(settings: Settings) -> None:
    free = shutil.disk_usage(settings.folder).free
    if free < settings.traffic.reserve:
        raise RuntimeError(f"{free >> 20} MiB are free, {settings.traffic.reserve >> 20} have to be")


def _add_page(app: FastAPI) -> None:
    app.mount("/static", StaticFiles(directory=PAGE))

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", media_type="text/html; charset=utf-8")

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> FileResponse:
        return FileResponse(PAGE / "icon.svg", media_type="image/svg+xml")


def _add_metrics(app: FastAPI, measured: Measured) -> None:
    @app.get("/metrics", include_in_schema=False)
    def metrics(request: Request) -> Response:
        if not key_of(request).admin:
            raise Problem("forbidden", "metrics want a key made with admin=true")
        return Response(measured.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_errors(app: FastAPI) -> None:
    """Answer every error as a problem."""
    by_status = {status: code for code, (status, _) in reversed(list(CODES.items()))}

    def problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return JSONResponse(error.body, error.status, error.headers, media_type=TYPE)

    def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        told = Problem(by_status.get(error.status_code, "bad_request"))
        headers = {**told.headers, **(error.headers or {})}
        return JSONResponse({**told.body, "status": error.status_code}, error.status_code, headers, media_type=TYPE)

    def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        where = [".".join(str(part) for part in each["loc"]) + ": " + each["msg"] for each in error.errors()]
        return problem(request, Problem("invalid", "; ".join(where)[:500]))

    def database(request: Request, error: Exception) -> Response:
        log.warning("database: %s", " ".join(str(error).split())[:200])
        return problem(request, Problem("database", "try again in a moment", 5))

    def unforeseen(request: Request, error: Exception) -> Response:
        return problem(request, Problem("internal", "the server's log has more"))

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    for lost in LOST:
        app.add_exception_handler(lost, database)
    app.add_exception_handler(Exception, unforeseen)
