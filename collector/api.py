"""The HTTP API: its first paths, and problems instead of tracebacks."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from .. import __version__
from ..storage.ledger_folder import LedgerError
from ..storage.ledger_reader import LedgerReader
from ..storage.projection_reader import Snapshot
from .api_parts import Parts
from .catalogues import skus_at
from .conservation_answer import ConservationRequest, answer_conservation
from .list_answers import Presence, RecordsRequest, answer_hosts, answer_quarantine, answer_records
from .parameters import take_number, take_place, take_span
from .problems import Problem, respond
from .query import PARAMETERS, read_request
from .routes_corrections import add_corrections
from .routes_decisions import add_decisions
from .routes_explain import add_explain
from .routes_exports import add_exports
from .routes_money import add_money
from .routes_periods import add_periods
from .routing import PAGE, RANGE, Json, Routes, Told
from .tokens import Caller
from .turn import Turn
from .usage_answer import Asked, answer_usage

_log = logging.getLogger(__name__)
USAGE_PATHS: Final = ("/v1/usage", "/apis/billing.envmgmt.io/v1/metrics/partner/profile/kind/compute/usage")
_LIMIT: Final = 100
_LARGEST_LIMIT: Final = 1_000
_LARGEST_OFFSET: Final = 2**53


def make_api(parts: Parts) -> FastAPI:
    app = FastAPI(title="gputally collector", version=__version__, docs_url=None, redoc_url=None)
    routes = Routes(app, parts)
    for path in USAGE_PATHS:
        routes.get(path, PARAMETERS, lambda seen, told, who, at: _usage(parts, seen, told, who, at))
    routes.get("/v1/records", (*RANGE, "host", "workload", "after", "limit"), _records)
    routes.get("/v1/conservation", (*RANGE, "host", *PAGE), _conservation, tenants=False)
    routes.get("/v1/hosts", PAGE, lambda seen, told, _who, _at: _hosts(parts, seen, told), tenants=False)
    routes.get("/v1/quarantine", PAGE, _quarantine, tenants=False)
    add_decisions(routes)
    add_corrections(routes)
    add_money(routes)
    turn = Turn()
    add_exports(routes, turn)
    add_periods(routes, turn)
    add_explain(routes, turn)
    _add_health(app, parts)
    _add_problems(app)
    return app


def _usage(parts: Parts, seen: Snapshot, told: Told, who: Caller, path: str) -> Json:
    request = read_request(told)
    skus = skus_at(seen, request.span.start_ns, request.as_of, parts.skus)
    return answer_usage(Asked(request, path, dict(told), who.tenant), seen, skus)


def _records(seen: Snapshot, told: Told, who: Caller, _path: str) -> Json:
    request = RecordsRequest(take_span(told), told.get("host"), told.get("workload"), take_place(told), _limit(told))
    return answer_records(request, seen, who.tenant)


def _conservation(seen: Snapshot, told: Told, _who: Caller, _path: str) -> Json:
    request = ConservationRequest(take_span(told), told.get("host"), _offset(told), _limit(told))
    return answer_conservation(request, seen)


def _hosts(parts: Parts, seen: Snapshot, told: Told) -> Json:
    now = Presence(parts.intake.live_hosts, parts.intake.doubles)
    with LedgerReader(parts.ledger_folder) as ledger:
        return answer_hosts(seen, ledger, now, _offset(told), _limit(told))


def _quarantine(seen: Snapshot, told: Told, _who: Caller, _path: str) -> Json:
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
