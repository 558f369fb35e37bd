"""All about a tenant's usage in a range, in one answer: for a dispute."""

from typing import Final

from fastapi import Request
from fastapi.responses import JSONResponse

from ..storage.ledger_reader import LedgerReader
from ..storage.projection_reader import Snapshot
from .explaining import ExplainAsked, explain
from .parameters import take_all, take_flag, take_span
from .problems import BadParameter, Problem
from .routing import RANGE, Json, Routes, Told
from .tokens import Caller
from .turns import Turns

EXPLAIN: Final = "/v1/explain"
PARAMETERS: Final = (*RANGE, "tenant", "workload", "frames")


def add_explain(routes: Routes, turns: Turns) -> None:
    async def explained(request: Request) -> JSONResponse:
        who = routes.caller(request)
        asked = _read_explain(take_all(request.query_params.multi_items(), PARAMETERS), who)
        async with turns.turn():
            body = await routes.parts.questions.ask(lambda seen: _explain(routes, seen, asked))
        routes.note(who, request, body["as_of"])
        return JSONResponse(body)

    routes.add(EXPLAIN, PARAMETERS, explained, RANGE)


def _explain(routes: Routes, seen: Snapshot, asked: ExplainAsked) -> Json:
    with LedgerReader(routes.parts.ledger_folder) as ledger:
        return explain(asked, seen, ledger, routes.parts.sealer)


def _read_explain(told: Told, who: Caller) -> ExplainAsked:
    """A tenant may leave its name out, and gives no other."""
    tenant = told.get("tenant", who.tenant or "")
    if not tenant:
        raise BadParameter("tenant", "is missing: whose usage is to be explained")
    if who.tenant not in (None, tenant):
        raise Problem(403, "not-yours", "a tenant's token explains its own usage")
    frames = take_flag(told, "frames") if "frames" in told else who.tenant is None
    if frames and who.tenant is not None:
        raise BadParameter("frames", "hold other tenants' records too, and are not for a tenant: leave it out")
    return ExplainAsked(take_span(told), tenant, told.get("workload"), frames, who.tenant is not None)
