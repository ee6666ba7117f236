"""The routes of the systems that came before, as a thin layer: same addresses, same fields, the key as a header."""

import asyncio
import time
from pathlib import PurePosixPath
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from dfd.serving.api import FORM, PROBLEMS, artifact, key_of
from dfd.serving.desk import Desk
from dfd.serving.problems import Problem
from dfd.serving.store import DONE, Job
from dfd.serving.uploads import receive

PATIENCE = 25.0  # seconds: shorter than the time-out of any proxy; the job goes on and has an address
POLL = 0.2


def routes(desk: Desk) -> APIRouter:
    """Return `POST /detect`, `POST /api/detect` and `GET /download/visualization/{file}`."""
    api = APIRouter(responses=PROBLEMS)

    async def judge(request: Request) -> Job:
        received = await receive(request, desk.spool, desk.settings.bounds.upload)
        job = (await run_in_threadpool(desk.take, key_of(request), received)).job
        end = time.monotonic() + PATIENCE
        while not job.ended and time.monotonic() < end:
            await asyncio.sleep(POLL)
            job = await run_in_threadpool(desk.own, key_of(request), job.id)
        return job

    @api.post("/detect", openapi_extra={"requestBody": FORM}, responses={202: {}})
    async def detect(request: Request) -> Response:
        """Judge a file; `score` and `label` where that takes no longer than a proxy waits, else the job's address."""
        job = await judge(request)
        picture = f"/download/visualization/{job.id}_analysis.png"
        return _answer(
            job, lambda result: {"score": result["score"], "label": _label(result), "visualization": picture}
        )

    @api.post("/api/detect", openapi_extra={"requestBody": FORM}, responses={202: {}})
    async def api_detect(request: Request) -> Response:
        """Judge a file; `verdict` and `confidence`, the probability of the verdict where it is calibrated."""
        job = await judge(request)
        return _answer(job, lambda result: {"verdict": result["verdict"], "confidence": _confidence(result)})

    @api.get("/download/visualization/{file}")
    def visualization(request: Request, file: str) -> Response:
        """Return the picture of a job, `{job}_analysis.png`."""
        job = desk.own(key_of(request), file.removesuffix("_analysis.png"))
        pictures = [
            name for name in (job.result or {}).get("artifacts", []) if PurePosixPath(name).suffix in (".png", ".jpg")
        ]
        if job.state != DONE or not pictures:
            raise Problem("not_found", "this job has no picture")
        return artifact(desk, f"{job.results}/{sorted(pictures)[0]}", sorted(pictures)[0])

    return api


def _answer(job: Job, fields: Any) -> Response:
    here = f"/v1/jobs/{job.id}"
    if not job.ended:
        return JSONResponse({"job": job.id, "state": job.state, "location": here}, 202, {"Location": here})
    if job.state != DONE or job.result is None:
        raise Problem("invalid", job.detail or "", reason=job.code or job.state, job=job.id)
    return JSONResponse({**fields(job.result), "direction": job.result["direction"], "job": job.id})


def _label(result: dict[str, Any]) -> str:
    return {"fake": "FAKE", "real": "REAL"}.get(result["verdict"], "INCONCLUSIVE")


def _confidence(result: dict[str, Any]) -> float | None:
    probability = result["probability"]
    if probability is None:
        return None
    return float(1 - probability if result["verdict"] == "real" else probability)
