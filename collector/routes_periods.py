"""Periods over HTTP: their states, closing and sealing them, and the proofs of what is sealed."""

import re
from dataclasses import dataclass
from typing import Final

from fastapi import Request
from fastapi.responses import JSONResponse, StreamingResponse

from ..model.decisions import PeriodClosed, PeriodSealed
from ..model.interval import Interval
from ..storage.projection_reader import Snapshot
from .bodies import read_body
from .exports.spool import Spool
from .instants import parse_instant
from .openapi_bodies import body_schema
from .parameters import take_all, take_number, take_zone
from .period_answers import answer_periods, answer_proof, write_leaves
from .periods import check_close, check_seal
from .problems import BadParameter, Problem
from .routes_decisions import read_json
from .routing import PAGE, Json, Routes, Told, operators_only, whole_site_only
from .tokens import Caller
from .turns import Turns
from .zone_data import zone_data

PERIODS: Final = "/v1/periods"
EDGES: Final = ("from", "to")
_TRIES: Final = 3
_LIMIT, _LARGEST_LIMIT, _LARGEST_OFFSET = 100, 1_000, 2**53
_KEY: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CloseAsked:
    from_ns: int
    to_ns: int
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class SealAsked:
    from_ns: int
    to_ns: int


def add_periods(routes: Routes, turns: Turns) -> None:
    routes.get(PERIODS, (*EDGES, *PAGE), lambda seen, told, who, _: _list(seen, told, who), required=())
    _add_close(routes)
    _add_seal(routes, turns)
    _add_proof(routes, turns)
    _add_leaves(routes, turns)


def _list(seen: Snapshot, told: Told, who: Caller) -> Json:
    span = take_edges(told) if told.keys() & set(EDGES) else None
    offset = take_number(told, "offset", 0, 0, _LARGEST_OFFSET)
    return answer_periods(seen, span, offset, take_number(told, "limit", _LIMIT, 1, _LARGEST_LIMIT), who.tenant)


def _add_close(routes: Routes) -> None:
    async def close(request: Request) -> JSONResponse:
        who = routes.caller(request)
        operators_only(who)
        asked, why = read_body(CloseAsked, await read_json(request))
        take_zone({"zone": asked.zone}, "zone")
        closed = PeriodClosed(asked.from_ns, asked.to_ns, asked.zone, zone_data(asked.zone))
        log_id = await routes.parts.decisions.make(closed, who.name, why, check_close)
        routes.note(who, request, log_id)
        return JSONResponse({"log_id": str(log_id), "zone_data": closed.zone_data}, 201)

    routes.post(f"{PERIODS}/close", close, body_schema(CloseAsked))


def _add_seal(routes: Routes, turns: Turns) -> None:
    async def seal(request: Request) -> JSONResponse:
        who = routes.caller(request)
        operators_only(who)
        asked, why = read_body(SealAsked, await read_json(request))
        async with turns.turn():
            log_id, made = await _seal(routes, asked, who, why)
        routes.note(who, request, log_id)
        told = {
            "as_of": str(made.as_of),
            "root": made.root.hex(),
            "leaves": made.leaves,
            "signed": bool(made.signature),
        }
        return JSONResponse({"log_id": str(log_id), **told}, 201)

    routes.post(f"{PERIODS}/seal", seal, body_schema(SealAsked))


async def _seal(routes: Routes, asked: SealAsked, who: Caller, why: str) -> tuple[int, PeriodSealed]:
    """A seal holds only if nothing of the period came between what it covers and itself. Raises Problem."""
    parts = routes.parts
    for _ in range(_TRIES):
        made = await parts.questions.ask(lambda seen: _sealed(routes, seen, asked))
        log_id = await parts.decisions.try_to(made, who.name, why, check_seal)
        if log_id is not None:
            return log_id, made
    raise Problem(409, "still-arriving", f"something of the period came at each of {_TRIES} attempts: try again later")


def _sealed(routes: Routes, seen: Snapshot, asked: SealAsked) -> PeriodSealed:
    check_seal(seen, PeriodSealed(asked.from_ns, asked.to_ns, seen.position, b"", 0))
    return routes.parts.sealer.seal(seen, Interval(asked.from_ns, asked.to_ns))


def _add_proof(routes: Routes, turns: Turns) -> None:
    parameters = (*EDGES, "usage_key")

    async def proof(request: Request) -> JSONResponse:
        who = routes.caller(request)
        told = take_all(request.query_params.multi_items(), parameters)
        span, key = take_edges(told), _take_key(told)
        sealer = routes.parts.sealer
        async with turns.turn():
            body = await routes.parts.questions.ask(lambda seen: answer_proof(seen, sealer, span, key, who.tenant))
        routes.note(who, request, body["as_of"])
        return JSONResponse(body)

    routes.add(f"{PERIODS}/proof", parameters, proof, EDGES)


def _add_leaves(routes: Routes, turns: Turns) -> None:
    async def leaves(request: Request) -> StreamingResponse:
        who = routes.caller(request)
        whole_site_only(who)
        span = take_edges(take_all(request.query_params.multi_items(), EDGES))
        async with turns.turn():
            spool, as_of = await routes.parts.questions.ask(
                lambda seen: (Spool.of(write_leaves(seen, span)), seen.position)
            )
        routes.note(who, request, as_of)
        return StreamingResponse(spool.chunks(), media_type="text/plain; charset=us-ascii")

    routes.add(f"{PERIODS}/leaves", EDGES, leaves, EDGES)


def take_edges(told: Told) -> Interval:
    """``from`` and ``to``, half-open. Raises BadParameter."""
    found: list[int] = []
    for name in EDGES:
        try:
            found.append(parse_instant(told.get(name, "")))
        except ValueError as error:
            raise BadParameter(name, str(error)) from None
    if not 0 <= found[0] < found[1] < 2**62:
        raise BadParameter("to", "must be later than from, and both from 1970 to 2115")
    return Interval(*found)


def _take_key(told: Told) -> bytes | None:
    text = told.get("usage_key")
    if text is None:
        return None
    if not _KEY.fullmatch(text):
        raise BadParameter("usage_key", "must be 32 hexadecimal digits, as /v1/records says them")
    return bytes.fromhex(text)
