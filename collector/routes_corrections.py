"""POST /v1/corrections: whose a record is, or that it does not count. The records themselves are never changed."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from fastapi.responses import JSONResponse

from ..model.decisions import MOST_OVERLAYS, Corrected, Overlay, OverlayKind
from ..model.interval import Interval
from ..model.workload import UNATTRIBUTED
from ..storage.ledger_folder import LedgerError
from ..storage.projection_lists import Picked, records, records_at
from ..storage.projection_reader import Snapshot
from ..storage.usage_query import Scope
from ..storage.usage_store import RecordPlace, StoredRecord
from .bodies import as_object, take_why
from .decision_checks import check_decision
from .instants import parse_instant
from .openapi_bodies import WHY
from .openapi_parameters import DATE_TIME
from .parameters import parse_place
from .problems import BadParameter, Problem
from .routes_decisions import read_json
from .routing import Json, Routes, operators_only

_EVER: Final = Interval(0, 2**62)
_MOST_RECORDS: Final = 50_000
_MOST_NAMED: Final = 1_000
_MEMBERS: Final = ("do", "why", "to_tenant", "to_project", "records", "from", "to", "host", "workload", "tenant")
_LONGEST: Final = 255
_NAME: Final = {"type": "string", "maxLength": _LONGEST}
_PLACE: Final = {"type": "string", "pattern": r"^[0-9]{1,17}\.[0-9]{1,17}\.[0-9]{1,17}$"}
_BODY: Final[Json] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["do", "why"],
    "properties": {
        "do": {"type": "string", "enum": [kind.value for kind in OverlayKind]},
        "why": WHY,
        "records": {"type": "array", "items": _PLACE, "maxItems": _MOST_NAMED},
        "from": DATE_TIME,
        "to": DATE_TIME,
        **dict.fromkeys(("to_tenant", "to_project", "host", "workload", "tenant"), _NAME),
    },
}


@dataclass(frozen=True, slots=True)
class Correction:
    """What to do, to which records: those named, or all of a range that fit."""

    kind: OverlayKind
    why: str
    tenant: str
    project: str
    places: Sequence[RecordPlace]
    scope: Interval
    of_tenant: str | None
    picked: Picked


def add_corrections(routes: Routes) -> None:
    async def correct(request: Request) -> JSONResponse:
        who = routes.caller(request)
        operators_only(who)
        asked = read_correction(await read_json(request))
        overlays = await routes.parts.questions.ask(lambda seen: find_overlays(seen, asked))

        async def make(part: Corrected) -> int:
            log_id = await routes.parts.decisions.make(part, who.name, asked.why, check_decision)
            routes.note(who, request, log_id)
            return log_id

        log_ids = await make_all(overlays, make)
        return JSONResponse({"log_ids": list(map(str, log_ids)), "records": len(overlays)}, 201)

    routes.post("/v1/corrections", correct, _BODY)


async def make_all(overlays: Sequence[Overlay], make: Callable[[Corrected], Awaitable[int]]) -> list[int]:
    """Their log ids. Raises Problem, which says which parts stand where a later one fails."""
    log_ids: list[int] = []
    for part in _parts(overlays):
        try:
            log_ids.append(await make(Corrected(part)))
        except (Problem, LedgerError) as error:
            problem = error if isinstance(error, Problem) else Problem(503, "ledger", str(error))
            raise _half_done(problem, log_ids, len(overlays)) if log_ids else problem from None
    return log_ids


def _half_done(problem: Problem, log_ids: Sequence[int], wanted: int) -> Problem:
    done = len(log_ids) * MOST_OVERLAYS
    problem.detail += f"; the first {done} of {wanted} records are corrected and stay so"
    problem.more |= {"log_ids": list(map(str, log_ids)), "records": done}
    return problem


def read_correction(told: object) -> Correction:
    """Raises BadParameter."""
    body = as_object(told)
    for name in body:
        if name not in _MEMBERS:
            raise BadParameter(name, f"is unknown here; known are {', '.join(_MEMBERS)}")
    kind = _kind(body.get("do"))
    tenant, project = _name(body, "to_tenant"), _name(body, "to_project")
    if (kind is OverlayKind.REASSIGN) != bool(tenant):
        raise BadParameter("to_tenant", "must be given to reassign, and for nothing else")
    if tenant == UNATTRIBUTED:
        raise BadParameter("to_tenant", f'cannot be "{UNATTRIBUTED}": void the record, or lift what was decided')
    places = _places(body)
    picked = Picked(_name(body, "host") or None, _name(body, "workload") or None, kind is OverlayKind.LIFT)
    of_tenant = _name(body, "tenant") or None
    return Correction(kind, take_why(body), tenant, project, places, _scope(body, places), of_tenant, picked)


def find_overlays(seen: Snapshot, asked: Correction) -> list[Overlay]:
    """Raises Problem (404, 409) if a record that is named is not in force, or none fits."""
    scope = Scope(asked.scope, seen.position, asked.of_tenant)
    if asked.places:
        found = records_at(seen, scope, asked.places, voided=asked.picked.voided)
        gone = set(asked.places) - {each.place for each in found}
        if gone:
            named = ", ".join(".".join(map(str, place)) for place in sorted(gone)[:10])
            raise Problem(409, "not-in-force", f"records that are not in force, ask for them again: {named}")
    else:
        found = records(seen, scope, (0, 0, 0), _MOST_RECORDS + 1, asked.picked)
    if not found:
        raise Problem(404, "no-such-records", "no record in force fits: nothing was decided")
    if len(found) > _MOST_RECORDS:
        raise BadParameter("to", f"spans more than {_MOST_RECORDS} records: correct a shorter range at once")
    return [_overlay(each, asked) for each in found]


def _overlay(stored: StoredRecord, asked: Correction) -> Overlay:
    record, segment = stored.record, stored.record.segment
    return Overlay(
        usage_key=stored.usage_key,
        host_id=stored.host_id,
        boot_id=stored.boot_id,
        device_id=segment.device_id,
        generation=segment.generation,
        boot_start_ns=segment.boot.start_ns,
        workload_kind=record.workload.kind,
        workload_id=record.workload.id,
        session_id=record.session_id,
        window_start_ns=segment.window_start_ns,
        revision=record.revision,
        digest=stored.digest,
        kind=asked.kind,
        tenant=asked.tenant,
        project=asked.project,
    )


def _parts(overlays: Sequence[Overlay]) -> Iterator[tuple[Overlay, ...]]:
    for start in range(0, len(overlays), MOST_OVERLAYS):
        yield tuple(overlays[start : start + MOST_OVERLAYS])


def _kind(told: object) -> OverlayKind:
    if told not in list(OverlayKind):
        raise BadParameter("do", f"is {told!r}, must be one of {', '.join(OverlayKind)}")
    return OverlayKind(str(told))


def _name(body: Json, name: str) -> str:
    told = body.get(name, "")
    if not isinstance(told, str) or len(told) > _LONGEST or not told.isprintable():
        raise BadParameter(name, f"must be a printable text of at most {_LONGEST} characters")
    return told


def _places(body: Json) -> list[RecordPlace]:
    told: Any = body.get("records", [])
    if not isinstance(told, list) or len(told) > _MOST_NAMED:  # pyright: ignore[reportUnknownArgumentType]
        raise BadParameter("records", f"must be a list of at most {_MOST_NAMED} places, as /v1/records says them")
    places = [parse_place("records", str(each)) for each in told]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if len(set(places)) < len(places):
        raise BadParameter("records", "names one record twice")
    return places


def _scope(body: Json, places: Sequence[RecordPlace]) -> Interval:
    if places:
        return _EVER
    try:
        start_ns, end_ns = (parse_instant(str(body.get(name, ""))) for name in ("from", "to"))
    except ValueError as error:
        raise BadParameter("from", f"and to must be given, or records: one {error}") from None
    if not 0 <= start_ns < end_ns < _EVER.end_ns:
        raise BadParameter("to", "must be later than from")
    return Interval(start_ns, end_ns)
