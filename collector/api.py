"""The HTTP API: routes, who may call them, and problems instead of tracebacks."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from .. import __version__
from ..storage.ledger_folder import LedgerError
from ..storage.ledger_reader import LedgerReader
from ..storage.projection_reader import Snapshot
from ..storage.usage_store import RecordPlace
from .asking import Questions
from .config import SkuConfig
from .conservation_answer import ConservationRequest, answer_conservation
from .intake import Intake
from .list_answers import RecordsRequest, answer_hosts, answer_quarantine, answer_records
from .parameters import take_all, take_number, take_span
from .problems import BadParameter, Problem, respond
from .projector import Projector
from .query import PARAMETERS, read_request
from .tokens import ANYBODY, Caller, Role, Token, find_caller
from .usage_answer import Asked, answer_usage
from .writer import LedgerWriter

_log = logging.getLogger(__name__)
_access = logging.getLogger("gputally.access")
USAGE_PATHS: Final = ("/v1/usage", "/apis/billing.envmgmt.io/v1/metrics/partner/profile/kind/compute/usage")
_LIMIT: Final = 100
_LARGEST_LIMIT: Final = 1_000
_LARGEST_OFFSET: Final = 2**53

Json = dict[str, Any]
Told = Mapping[str, str]
Answer = Callable[[Snapshot, Told, Caller, str], Json]


@dataclass(slots=True)
class Parts:
    """What the API asks."""

    questions: Questions
    ledger_folder: Path
    skus: Sequence[SkuConfig]
    tokens: Sequence[Token] | None
    """None: no authentication, which is for loopback only."""
    intake: Intake
    writer: LedgerWriter
    projector: Projector
    ready_at_log_id: int = 0
    """The end of the log at start: until the projection is there, sums could be smaller than yesterday's."""
    stopping: bool = field(default=False)


def make_api(parts: Parts) -> FastAPI:
    app = FastAPI(title="gputally collector", version=__version__, docs_url=None, redoc_url=None)
    for path in USAGE_PATHS:
        _route(app, parts, path, PARAMETERS, lambda seen, told, who, at: _usage(parts, seen, told, who, at))
    _route(app, parts, "/v1/records", (*_RANGE, "host", "after", "limit"), _records)
    _route(app, parts, "/v1/conservation", (*_RANGE, "host", *_PAGE), _conservation)
    _route(app, parts, "/v1/hosts", _PAGE, lambda seen, told, who, _: _hosts(parts, seen, told, who))
    _route(app, parts, "/v1/quarantine", _PAGE, _quarantine)
    _add_health(app, parts)
    _add_problems(app)
    return app


_RANGE: Final = ("range_from", "range_to")
_PAGE: Final = ("offset", "limit")


def _route(app: FastAPI, parts: Parts, path: str, parameters: Sequence[str], answer: Answer) -> None:
    async def handle(request: Request) -> JSONResponse:
        who = _caller(parts, request)
        told = take_all(request.query_params.multi_items(), parameters)
        body = await parts.questions.ask(lambda seen: answer(seen, told, who, path))
        _access.info("%s read %s as of %s", who.name, request.url, body["as_of"])
        return JSONResponse(body)

    described = [
        {"name": name, "in": "query", "required": name in _RANGE, "schema": {"type": "string"}} for name in parameters
    ]
    app.add_api_route(path, handle, methods=["GET"], openapi_extra={"parameters": described}, name=path)


def _caller(parts: Parts, request: Request) -> Caller:
    if parts.tokens is None:
        return ANYBODY
    caller = find_caller(request.headers.get("authorization"), parts.tokens)
    if caller is None:
        _access.warning("refused %s from %s: no known token", request.url.path, request.client and request.client.host)
        raise Problem(401, "no-token", "give a token of api.tokens: Authorization: Bearer TOKEN")
    return caller


def _whole_site_only(who: Caller) -> None:
    if who.role is Role.TENANT:
        raise Problem(403, "not-for-tenants", "this speaks of hosts, which are not a tenant's to see: ask /v1/usage")


def _usage(parts: Parts, seen: Snapshot, told: Told, who: Caller, path: str) -> Json:
    return answer_usage(Asked(read_request(told), path, dict(told), who.tenant), seen, parts.skus)


def _records(seen: Snapshot, told: Told, who: Caller, _path: str) -> Json:
    request = RecordsRequest(take_span(told), told.get("host"), _place(told), _limit(told))
    return answer_records(request, seen, who.tenant)


def _place(told: Told) -> RecordPlace:
    text = told.get("after", "0.0.0")
    parts = text.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdecimal() and len(part) < 18 for part in parts):
        raise BadParameter("after", f'is "{text}", must be what "next" of the page before says')
    log_id, segment, ordinal = map(int, parts)
    return log_id, segment, ordinal


def _conservation(seen: Snapshot, told: Told, who: Caller, _path: str) -> Json:
    _whole_site_only(who)
    request = ConservationRequest(take_span(told), told.get("host"), _offset(told), _limit(told))
    return answer_conservation(request, seen)


def _hosts(parts: Parts, seen: Snapshot, told: Told, who: Caller) -> Json:
    _whole_site_only(who)
    with LedgerReader(parts.ledger_folder) as ledger:
        return answer_hosts(seen, ledger, parts.intake.live_hosts, _offset(told), _limit(told))


def _quarantine(seen: Snapshot, told: Told, who: Caller, _path: str) -> Json:
    _whole_site_only(who)
    return answer_quarantine(seen, _offset(told), _limit(told))


def _offset(told: Told) -> int:
    return take_number(told, "offset", 0, 0, _LARGEST_OFFSET)


def _limit(told: Told) -> int:
    return take_number(told, "limit", _LIMIT, 1, _LARGEST_LIMIT)


def _add_health(app: FastAPI, parts: Parts) -> None:
    @app.get("/healthz")
    async def healthz() -> Json:  # pyright: ignore[reportUnusedFunction]
        return {"alive": True, "version": __version__}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        last_log_id = await asyncio.to_thread(_last_log_id, parts.ledger_folder)  # not behind long questions
        trouble = parts.writer.trouble or parts.projector.trouble
        caught_up = parts.projector.position >= parts.ready_at_log_id
        ready = caught_up and not trouble and not parts.stopping
        body = {
            "ready": ready,
            "trouble": trouble or None,
            "log_id": str(last_log_id),
            "projected_log_id": str(parts.projector.position),
            "tls": parts.intake.credentials.described() if parts.intake.credentials else None,
        }
        return JSONResponse(body, 200 if ready else 503)


def _last_log_id(folder: Path) -> int:
    with LedgerReader(folder) as ledger:
        return ledger.last_log_id()


def _add_problems(app: FastAPI) -> None:
    handlers: dict[type[Exception], Callable[[Exception], Problem]] = {
        Problem: _itself,
        HTTPException: _http,
        LedgerError: lambda error: Problem(503, "ledger", str(error)),
        Exception: lambda _: Problem(500, "internal", "something went wrong here; the collector's log says what"),
    }
    for kind, translate in handlers.items():
        app.add_exception_handler(kind, _handler(translate))


def _handler(translate: Callable[[Exception], Problem]) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    async def handle(request: Request, error: Exception) -> JSONResponse:
        problem = translate(error)
        if problem.status >= 500:
            _log.error("%s %s: %s", request.method, request.url.path, error, exc_info=problem.status == 500)
        return respond(request, problem)

    return handle


def _itself(error: Exception) -> Problem:
    assert isinstance(error, Problem)
    return error


def _http(error: Exception) -> Problem:
    assert isinstance(error, HTTPException)
    known = "known are " + ", ".join((*USAGE_PATHS, "/v1/records", "/v1/conservation", "/v1/hosts", "/v1/quarantine"))
    return Problem(error.status_code, "no-such-page", known if error.status_code == 404 else str(error.detail))
