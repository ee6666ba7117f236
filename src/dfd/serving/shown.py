"""What the API shows of jobs, as typed documents."""

from typing import Any

from pydantic import BaseModel, Field

from dfd.serving.store import QUEUED, Job


class JobShown(BaseModel):
    """A job: where it is, and what came out."""

    id: str = Field(description="random, not to be guessed")
    name: str = Field(description="of the file, as it was sent")
    state: str = Field(description="queued, running, done, failed, cancelled or expired")
    stage: str = Field(description="of a running job: probing, decoding, inference, reporting")
    progress: float = Field(description="share done, never less than before")
    estimate: float | None = Field(description="Unix time at which it is expected to end")
    waiting: int | None = Field(description="jobs before it in the queue")
    size: int
    sha256: str
    created: float
    started: float | None
    finished: float | None
    attempts: int = Field(description="how often a worker began with it")
    verdict: str | None = Field(description="fake, real, inconclusive or not judged")
    code: str | None = Field(description="why it was not judged: no_face, too_long, not_a_video, ...")
    detail: str | None
    result: dict[str, Any] | None = None
    links: dict[str, str]


class JobsShown(BaseModel):
    """One page of jobs, newest first."""

    jobs: list[JobShown]
    next: str | None = Field(description="cursor of the next page")


class ProblemShown(BaseModel):
    """A problem, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    code: str
    detail: str | None = None


class Ready(BaseModel):
    """Whether the server can take and judge files, and what is wrong where not."""

    ready: bool
    checks: dict[str, str]


def shown(job: Job, waiting: int | None = None, with_result: bool = True) -> JobShown:
    """Return what is shown of a job."""
    here = f"/v1/jobs/{job.id}"
    links = {"self": here, "events": f"{here}/events"}
    if job.result:
        links |= {name: f"{here}/artifacts/{name}" for name in job.result.get("artifacts", [])}
    names = set(JobShown.model_fields) - {"waiting", "result", "links"}
    return JobShown(
        **{name: getattr(job, name) for name in names},
        waiting=waiting if job.state == QUEUED else None,
        result=job.result if with_result else None,
        links=links,
    )
