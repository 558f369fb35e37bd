"""The HTTP API: its first paths, and problems instead of tracebacks."""

import asyncio
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from .. import __version__
from ..storage.ledger_reader import LedgerReader
from ..storage.projection_reader import Snapshot
from .adjusted import add_adjustments
from .api_parts import Parts
from .api_problems import add_problems
from .catalogues import skus_at
from .conservation_answer import ConservationRequest, answer_conservation
from .guard import Guard
from .list_answers import Presence, RecordsRequest, answer_hosts, answer_quarantine, answer_records
from .openapi import document
from .parameters import take_number, take_place, take_span
from .query import PARAMETERS, read_request
from .routes_access import add_access
from .routes_allocation import add_allocation
from .routes_corrections import add_corrections
from .routes_decisions import add_decisions
from .routes_exclusions import add_exclusions_path
from .routes_explain import add_explain
from .routes_exports import MOST_OF_ONE, MOST_WAITING, add_exports
from .routes_money import add_money
from .routes_periods import add_periods
from .routes_policy import add_policy
from .routes_quota import add_quota
from .routes_slo import add_slo
from .routes_tenants import add_tenants
from .routes_workloads import add_workloads
from .routing import PAGE, RANGE, Json, Routes, Told
from .tokens import Caller
from .turns import Turns
from .uptime_answer import add_uptime, take_optional_span
from .usage_answer import Asked, answer_usage

USAGE_PATHS: Final = ("/v1/usage", "/apis/billing.envmgmt.io/v1/metrics/partner/profile/kind/compute/usage")
_LIMIT: Final = 100
_LARGEST_LIMIT: Final = 1_000
_LARGEST_OFFSET: Final = 2**53


def make_api(parts: Parts) -> FastAPI:
    app = FastAPI(
        title="gputally collector", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    routes = Routes(app, parts)
    for path in USAGE_PATHS:
        routes.get(path, PARAMETERS, lambda seen, told, who, at: _usage(parts, seen, told, who, at))
    routes.get("/v1/records", (*RANGE, "host", "workload", "after", "limit"), _records)
    routes.get("/v1/conservation", (*RANGE, "host", *PAGE), _conservation, tenants=False)
    routes.get(
        "/v1/hosts",
        (*PAGE, *RANGE),
        lambda seen, told, _who, _at: _hosts(parts, seen, told),
        tenants=False,
        required=(),
    )
    routes.get("/v1/quarantine", PAGE, _quarantine, tenants=False, required=())
    add_access(routes)
    add_decisions(routes)
    add_adjustments(routes)
    add_corrections(routes)
    add_money(routes)
    turns = Turns("exports and proofs", 1, MOST_WAITING, MOST_OF_ONE)
    add_exports(routes, turns)
    add_periods(routes, turns)
    add_explain(routes, turns)
    add_allocation(routes)
    add_exclusions_path(routes)
    add_workloads(routes)
    add_quota(routes)
    add_policy(routes)
    add_slo(routes)
    add_tenants(routes)
    _add_health(app, parts)
    add_problems(app)
    app.add_middleware(Guard, parts=parts)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
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
        span = take_optional_span(told)
        return add_uptime(answer_hosts(seen, ledger, now, _offset(told), _limit(told)), seen, span)


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
        trouble = parts.writer.trouble or parts.projector.trouble or parts.access.trouble
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
