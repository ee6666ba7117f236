"""Version 1 of the API: files in, jobs, events, results; every route acts for the key that asks."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from dfd.serving.artifacts import NAMES, media_type
from dfd.serving.desk import Desk
from dfd.serving.keys import Key
from dfd.serving.problems import TYPE, Problem
from dfd.serving.shown import JobShown, JobsShown, ProblemShown, shown
from dfd.serving.store import DONE, ENDED, Event
from dfd.serving.uploads import receive

POLL = 0.4  # seconds between two looks for events
HEARTBEAT = 15.0  # seconds without an event after which a proxy might close the connection
PAGE = 50
Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="of a job")]
FILE: Any = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
FORM: Any = {
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    "deblur": {"type": "string", "enum": ["auto", "true", "false"]},
                    "fresh": {"type": "string", "enum": ["true", "false"]},
                },
            }
        }
    }
}
PROBLEMS: Any = {
    status: {"model": ProblemShown, "content": {TYPE: {}}}
    for status in (400, 401, 404, 405, 409, 411, 413, 422, 429, 503, 507)
}


def key_of(request: Request) -> Key:
    """Return the key that the guard let in."""
    key: Key = request.scope["state"]["key"]
    return key


def routes(desk: Desk, about: Callable[[], dict[str, Any]], restores: bool) -> APIRouter:
    """Return the routes; `about` describes the runs that are served, `restores` whether jobs may ask for deblurring."""
    api = APIRouter(prefix="/v1", responses=PROBLEMS)
    _add_uploads(api, desk)
    _add_jobs(api, desk)
    _add_results(api, desk)
    _add_models(api, about, restores)
    return api


def _add_uploads(api: APIRouter, desk: Desk) -> None:
    request_key = Header(None, max_length=200, description="the same key and file again are the same job")

    async def take(request: Request, idempotency_key: str | None) -> Response:
        received = await receive(request, desk.spool, desk.settings.bounds.upload)
        received.fields.update(
            {name: request.query_params[name] for name in ("deblur", "fresh") if name in request.query_params}
        )
        taken = await run_in_threadpool(desk.take, key_of(request), received, idempotency_key)
        waiting = await run_in_threadpool(desk.waiting, taken.job)
        headers = {"Location": f"/v1/jobs/{taken.job.id}"}
        status = 202 if not taken.job.ended else 200
        return JSONResponse(shown(taken.job, waiting).model_dump(), status, headers)

    @api.put("/uploads", status_code=202, response_model=JobShown, openapi_extra={"requestBody": FILE})
    async def send_file(
        request: Request,
        x_filename: str | None = Header(None, description="percent-encoded"),
        idempotency_key: str | None = request_key,
        deblur: str = Query("false", pattern="^(auto|true|false)$", description="restore blurred faces and judge both"),
        fresh: bool = Query(False, description="judge again what was judged before"),
    ) -> Response:
        """Send a file as the body and get a job; the same bytes again give the same job."""
        return await take(request, idempotency_key)

    @api.post("/jobs", status_code=202, response_model=JobShown, openapi_extra={"requestBody": FORM})
    async def send_form(request: Request, idempotency_key: str | None = request_key) -> Response:
        """Send a file as the field `file` of a form and get a job."""
        return await take(request, idempotency_key)


def _add_jobs(api: APIRouter, desk: Desk) -> None:
    @api.get("/jobs")
    def list_jobs(
        request: Request,
        limit: int = Query(PAGE, ge=1, le=200),
        cursor: str | None = Query(None, pattern=r"^\d{1,12}(\.\d{1,9})?$", description="`next` of the page before"),
    ) -> JobsShown:
        """List one's own jobs, newest first."""
        found = desk.store.listed(key_of(request).id, limit, float(cursor) if cursor else None)
        following = repr(found[-1].created) if len(found) == limit else None
        return JobsShown(jobs=[shown(job, with_result=False) for job in found], next=following)

    @api.get("/jobs/{id}")
    def show_job(request: Request, id: Id) -> JobShown:
        """Show a job and, when it has ended, its result."""
        job = desk.own(key_of(request), id)
        return shown(job, desk.waiting(job))

    @api.post("/jobs/{id}/cancel")
    def cancel_job(request: Request, id: Id) -> JobShown:
        """Stop a job; one that has ended stays as it is."""
        return shown(desk.cancel(key_of(request), id))

    @api.delete("/jobs/{id}", status_code=204)
    def erase_job(request: Request, id: Id) -> Response:
        """Stop a job and remove every trace of it."""
        desk.erase(key_of(request), id)
        return Response(status_code=204)

    @api.get(
        "/jobs/{id}/events", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}}
    )
    def follow_job(
        request: Request,
        id: Id,
        last_event_id: str | None = Header(None, pattern=r"^\d{1,18}$", description="the last event that one has seen"),
    ) -> StreamingResponse:
        """Follow a job as server-sent events, until it ends."""
        desk.own(key_of(request), id)
        return StreamingResponse(_events(desk, id, int(last_event_id or 0)), media_type="text/event-stream")


async def _events(desk: Desk, id: str, after: int) -> AsyncIterator[str]:
    quiet = 0.0
    while True:
        events = await run_in_threadpool(desk.store.events, id, after)
        for event in events:
            yield _event(event)
            after = event.number
        if any(event.kind in ENDED for event in events):
            return
        quiet = 0.0 if events else quiet + POLL
        if quiet >= HEARTBEAT:
            yield ": still here\n\n"
            quiet = 0.0
            job = await run_in_threadpool(desk.store.job, id)
            if job is None or (job.ended and not await run_in_threadpool(desk.store.events, id, after)):
                return
        await asyncio.sleep(POLL)


def _event(event: Event) -> str:
    return f"id: {event.number}\nevent: {event.kind}\ndata: {json.dumps(event.data)}\n\n"


def _add_results(api: APIRouter, desk: Desk) -> None:
    @api.get("/jobs/{id}/artifacts/{name}", response_class=StreamingResponse)
    def get_artifact(request: Request, id: Id, name: str) -> Response:
        """Return a file that a job left: `result.json`, `scores.csv`, pictures."""
        job = desk.own(key_of(request), id)
        if not job.ended:
            raise Problem("not_ready", "follow its events, or ask again later", 2)
        if job.state != DONE or job.result is None or not NAMES.fullmatch(name) or name not in job.result["artifacts"]:
            raise Problem("not_found", "this job has no such artefact")
        return artifact(desk, f"{job.results}/{name}", name)


def artifact(desk: Desk, stored: str, name: str) -> Response:
    """Return a stored file as a download."""
    chunks = desk.storage.chunks(stored)
    try:
        first = next(chunks, b"")
    except FileNotFoundError as error:
        raise Problem("not_found", "this artefact is gone") from error

    def all_chunks() -> Any:
        yield first
        yield from chunks

    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(all_chunks(), media_type=media_type(name), headers=headers)


def _add_models(api: APIRouter, about: Callable[[], dict[str, Any]], restores: bool) -> None:
    @api.get("/models")
    def list_models() -> dict[str, Any]:
        """List the runs that judge every file, with their operating points."""
        return {"models": [{"id": name, **told} for name, told in about().items()], "restores": restores}

    @api.get("/models/{id}/card")
    def show_card(id: str) -> dict[str, Any]:
        """Show what a run is, what it was trained on, and what it does not know."""
        known = about()
        if id not in known:
            raise Problem("not_found", "no such model: /v1/models lists them")
        return {"id": id, **known[id]}
