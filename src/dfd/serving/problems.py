"""What went wrong, as RFC 9457 has it: a status, a stable code, a sentence with the next step."""

from collections.abc import Mapping
from typing import Any

TYPE = "application/problem+json"

# status and title by code
CODES: Mapping[str, tuple[int, str]] = {
    "bad_request": (400, "The request is malformed"),
    "no_key": (401, "A key is needed"),
    "wrong_key": (401, "This key is not known, or was revoked"),
    "forbidden": (403, "This key may not do that"),
    "not_found": (404, "There is nothing here"),
    "method_not_allowed": (405, "This address does not take that method"),
    "conflict": (409, "This contradicts what was sent before"),
    "not_ready": (409, "The job has not ended"),
    "length_required": (411, "The size of the body is missing"),
    "too_large": (413, "The file is too large"),
    "not_media": (415, "This is neither a video nor an image"),
    "invalid": (422, "A value is not allowed"),
    "too_many": (429, "Too many requests"),
    "quota": (429, "The quota of this key is used up"),
    "internal": (500, "The server failed"),
    "queue_full": (503, "Too many jobs are waiting"),
    "database": (503, "The database cannot be reached"),
    "storage": (503, "The storage cannot be reached"),
    "disk_full": (507, "The disk is full"),
}

# why a job ended without a verdict; beside these, the reasons of decoding and cropping (no_face, too_long, ...)
JOB_CODES: Mapping[str, str] = {
    "worker_lost": "The workers that looked at this file died, every time; it may be the file.",
    "lost_upload": "The uploaded file is gone from the storage.",
    "unexpected": "Looking at this file failed in a way that nobody foresaw.",
}


class Problem(Exception):
    """A refusal that reaches the client as problem+json."""

    def __init__(self, code: str, detail: str = "", retry_after: float | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.code, self.detail, self.retry_after, self.more = code, detail, retry_after, more
        self.status, self.title = CODES[code]

    @property
    def body(self) -> dict[str, Any]:
        """The document that is sent."""
        told = {"type": "about:blank", "title": self.title, "status": self.status, "code": self.code}
        return {**told, **({"detail": self.detail} if self.detail else {}), **self.more}

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to it."""
        headers = {} if self.retry_after is None else {"Retry-After": str(max(1, round(self.retry_after)))}
        return {**headers, **({"WWW-Authenticate": "ApiKey"} if self.status == 401 else {})}
