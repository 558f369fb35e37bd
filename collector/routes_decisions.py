"""What operators decide: a path for each kind, to make one and to see all that were made."""

import json
from typing import Any, Final

from fastapi import Request
from fastapi.responses import JSONResponse

from ..model import decisions as d
from ..storage.projection_decisions import Stored, decided, decided_in_force
from ..storage.projection_reader import Snapshot
from .bodies import read_body, show
from .decision_checks import check_decision
from .openapi_bodies import body_schema
from .parameters import take_flag, take_number
from .problems import Problem
from .routing import PAGE, Json, Routes, Told, operators_only
from .tokens import Caller

MOST_BODY_BYTES: Final = 512 * 1024
_LIMIT, _LARGEST_LIMIT, _LARGEST_OFFSET = 100, 1_000, 2**53

PATHS: Final[dict[str, type[d.Decision]]] = {
    "/v1/hosts": d.HostSet,
    "/v1/device-swaps": d.DeviceSwapped,
    "/v1/tenants": d.TenantSet,
    "/v1/rules": d.RulesSet,
    "/v1/exclusions": d.ExclusionSet,
    "/v1/gaps": d.GapDeclared,
    "/v1/catalogues": d.CatalogueSet,
    "/v1/leases": d.LeaseSet,
    "/v1/reservations": d.ReservationSet,
    "/v1/quotas": d.QuotaSet,
    "/v1/adjustments": d.Adjusted,
}


LISTED_AT: Final = {"/v1/hosts", "/v1/exclusions", "/v1/adjustments"}
"""Where a GET answers more than what was decided; that is listed at ``PATH/decided``."""


def add_decisions(routes: Routes) -> None:
    for path, kind in PATHS.items():
        _add_kind(routes, path, kind)


def _add_kind(routes: Routes, path: str, kind: type[d.Decision]) -> None:
    async def make(request: Request) -> JSONResponse:
        who = routes.caller(request)
        operators_only(who)
        what, why = read_body(kind, await read_json(request))
        log_id = await routes.parts.decisions.make(what, who.name, why, check_decision)
        routes.note(who, request, log_id)
        return JSONResponse({"log_id": str(log_id)}, 201)

    routes.post(path, make, body_schema(kind))
    listed = f"{path}/decided" if path in LISTED_AT else path
    routes.get(listed, (*PAGE, "history"), lambda seen, told, who, _at: _list(kind, seen, told, who), required=())


def _list(kind: type[d.Decision], seen: Snapshot, told: Told, who: Caller) -> Json:
    """In force, or with ``history`` all there ever were, newest first. A tenant sees its own."""
    offset = take_number(told, "offset", 0, 0, _LARGEST_OFFSET)
    limit = take_number(told, "limit", _LIMIT, 1, _LARGEST_LIMIT)
    found: list[Stored[Any]]
    if take_flag(told, "history") and who.tenant is None:
        found, count = decided(seen, kind, offset, limit)
    else:
        mine = [each for each in decided_in_force(seen, kind) if _may_see(who, each.what)]
        found, count = list(reversed(mine))[offset : offset + limit], len(mine)
    return {
        "as_of": str(seen.position),
        "offset": offset,
        "limit": limit,
        "total_count": count,
        "items": [show(each, who.tenant) for each in found],
    }


def _may_see(who: Caller, what: Any) -> bool:
    return who.tenant is None or getattr(what, "tenant", None) == who.tenant


async def read_json(request: Request) -> object:
    """Raises Problem (400, 413)."""
    raw = b""
    async for part in request.stream():
        raw += part
        if len(raw) > MOST_BODY_BYTES:
            raise Problem(413, "too-large", f"the body has more than {MOST_BODY_BYTES} bytes")
    try:
        told: object = json.loads(raw, parse_float=_no_float, parse_constant=_no_float)
        json.dumps(told, ensure_ascii=False).encode()  # half a surrogate pair is JSON, and no text that can be kept
        return told
    except (ValueError, RecursionError) as error:
        raise Problem(400, "bad-body", f"the body is no JSON that can be taken: {error}") from None


def _no_float(text: str) -> object:
    raise ValueError(f"{text} is no whole number, and nothing here is a fraction")
