"""The exports over HTTP: made whole, then sent; a tenant's token exports its own rows and nobody else's."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from ..storage.projection_reader import Snapshot
from .exports import charges_focus, deltas_events, records_parquet, usage_csv
from .exports.spool import Spool
from .openapi_parameters import described
from .parameters import take_all
from .routing import RANGE, Routes, Told
from .tokens import Caller
from .turns import Turns

PATH: Final = "/v1/export/"
MOST_WAITING: Final = 16
MOST_OF_ONE: Final = 4
AS_OF_HEADER: Final = "Gputally-As-Of"
Make = Callable[[Told, Snapshot, str | None], Iterator[bytes]]
"""From the parameters, a snapshot, and whose rows alone are wanted."""


@dataclass(frozen=True, slots=True)
class Format:
    name: str
    media_type: str
    parameters: Sequence[str]
    make: Make


def add_exports(routes: Routes, turns: Turns) -> None:
    """``turns`` gives one at a time: the threads that answer questions are few, and an export takes one for long."""
    for each in _formats(routes):
        _add(routes, each, turns)


def _formats(routes: Routes) -> Iterator[Format]:
    def usage(told: Told, seen: Snapshot, tenant: str | None) -> Iterator[bytes]:
        return usage_csv.usage_csv(told, seen, tenant, routes.parts.skus)

    text = "text/csv; charset=utf-8"
    yield Format("csv", text, usage_csv.PARAMETERS, usage)
    yield Format("focus", text, charges_focus.PARAMETERS, charges_focus.charges_focus)
    yield Format("ndjson", "application/x-ndjson", deltas_events.PARAMETERS, deltas_events.deltas_events)
    yield Format(
        "parquet", "application/vnd.apache.parquet", records_parquet.PARAMETERS, records_parquet.records_parquet
    )


def _add(routes: Routes, format: Format, turns: Turns) -> None:
    async def handle(request: Request) -> StreamingResponse:
        who = routes.caller(request)
        told = take_all(request.query_params.multi_items(), format.parameters)
        async with turns.turn():
            spool, as_of = await routes.parts.questions.ask(lambda seen: _make(format, told, seen, who))
        routes.note(who, request, as_of)
        headers = {AS_OF_HEADER: as_of, "Content-Disposition": f'attachment; filename="gputally.{format.name}"'}
        return StreamingResponse(spool.chunks(), media_type=format.media_type, headers=headers)

    path = PATH + format.name
    told_as = {"schema": {"type": "string", "format": "binary"}}
    extra = {
        "parameters": described(format.parameters, RANGE, {}),
        "responses": {"200": {"content": {format.media_type: told_as}}},
    }
    routes.app.add_api_route(path, handle, methods=["GET"], openapi_extra=extra, name=path, response_class=Response)


def _make(format: Format, told: Told, seen: Snapshot, who: Caller) -> tuple[Spool, str]:
    return Spool.of(format.make(told, seen, who.tenant)), told.get("as_of", str(seen.position))
