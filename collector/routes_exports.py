"""The exports over HTTP: made whole, then sent; a tenant's token exports its own rows and nobody else's."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import Request
from fastapi.responses import StreamingResponse

from ..storage.projection_reader import Snapshot
from .exports import charges_focus, deltas_events, records_parquet, usage_csv
from .exports.spool import Spool
from .parameters import take_all
from .routing import RANGE, Routes, Told
from .tokens import Caller
from .turn import Turn

PATH: Final = "/v1/export/"
AS_OF_HEADER: Final = "Gputally-As-Of"
Make = Callable[[Told, Snapshot, str | None], Iterator[bytes]]
"""From the parameters, a snapshot, and whose rows alone are wanted."""


@dataclass(frozen=True, slots=True)
class Format:
    name: str
    media_type: str
    parameters: Sequence[str]
    make: Make


def add_exports(routes: Routes, turn: Turn) -> None:
    for each in _formats(routes):
        _add(routes, each, turn)


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


def _add(routes: Routes, format: Format, turn: Turn) -> None:
    async def handle(request: Request) -> StreamingResponse:
        who = routes.caller(request)
        told = take_all(request.query_params.multi_items(), format.parameters)
        async with turn:
            spool, as_of = await routes.parts.questions.ask(lambda seen: _make(format, told, seen, who))
        routes.note(who, request, as_of)
        headers = {AS_OF_HEADER: as_of, "Content-Disposition": f'attachment; filename="gputally.{format.name}"'}
        return StreamingResponse(spool.chunks(), media_type=format.media_type, headers=headers)

    path = PATH + format.name
    described = [
        {"name": name, "in": "query", "required": name in RANGE, "schema": {"type": "string"}}
        for name in format.parameters
    ]
    routes.app.add_api_route(path, handle, methods=["GET"], openapi_extra={"parameters": described}, name=path)


def _make(format: Format, told: Told, seen: Snapshot, who: Caller) -> tuple[Spool, str]:
    return Spool.of(format.make(told, seen, who.tenant)), told.get("as_of", str(seen.position))
