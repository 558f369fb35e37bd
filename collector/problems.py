"""What we answer when we cannot: RFC 9457 problem details that name the parameter and the cure."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import Request
from fastapi.responses import JSONResponse

MEDIA_TYPE: Final = "application/problem+json"
_TITLES: Final = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    429: "Too many requests",
    500: "Internal error",
    503: "Not available",
    507: "No room",
}


class Problem(Exception):
    """An answer that is none; ``more`` are further members of the problem object."""

    def __init__(self, status: int, kind: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.more = more
        self.headers: Mapping[str, str] = {"WWW-Authenticate": "Bearer"} if status == 401 else {}

    def body(self, instance: str) -> dict[str, Any]:
        title = _TITLES.get(self.status, "Error")
        told = {"type": f"urn:gputally:problem:{self.kind}", "title": title, "status": self.status}
        return {**told, "detail": self.detail, "instance": instance, **self.more}


class BadParameter(Problem):
    """A parameter that cannot be taken: ``what`` says why and what to write instead."""

    def __init__(self, parameter: str, what: str, kind: str = "bad-parameter") -> None:
        super().__init__(400, kind, f"{parameter} {what}", parameter=parameter)


class TryLater(Problem):
    """Not now: the same request may be answered in a while."""

    def __init__(self, status: int, kind: str, detail: str, retry_after_s: int) -> None:
        super().__init__(status, kind, f"{detail}: ask again in {retry_after_s} s")
        self.headers = {"Retry-After": str(retry_after_s)}


def respond(request: Request, problem: Problem) -> JSONResponse:
    body = problem.body(request.url.path)
    return JSONResponse(body, problem.status, headers=dict(problem.headers), media_type=MEDIA_TYPE)
