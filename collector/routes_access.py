"""GET /v1/access: who asked what, when. The answer's own row is written behind what it shows."""

from typing import Final

from ..storage.access_reader import Numbered, Place, read_accesses
from ..storage.projection_reader import Snapshot
from .instants import format_instant
from .parameters import take_number, take_span
from .problems import BadParameter
from .routing import RANGE, Json, Routes, Told
from .tokens import Caller

PATH: Final = "/v1/access"
_PLACE: Final = {"type": "string", "pattern": r"^[0-9]{1,18}\.[0-9]{1,18}$", "description": "what next says"}


def add_access(routes: Routes) -> None:
    folder = routes.parts.ledger_folder

    def answer(seen: Snapshot, told: Told, _who: Caller, _path: str) -> Json:
        limit = take_number(told, "limit", 100, 1, 1_000)
        found = read_accesses(folder, take_span(told), _after(told), limit + 1, told.get("who"))
        page = found[:limit]
        return {
            "as_of": str(seen.position),
            "limit": limit,
            "count": len(page),
            "next": _place(page[-1]) if len(found) > limit else None,
            "items": [_item(each) for each in page],
        }

    routes.get(PATH, (*RANGE, "who", "after", "limit"), answer, tenants=False, schemas={"after": _PLACE})


def _after(told: Told) -> Place:
    parts = told.get("after", "0.0").split(".")
    if len(parts) != 2 or not all(_is_number(part) for part in parts):
        raise BadParameter("after", f'is "{told["after"]}", must be what "next" says')
    return int(parts[0]), int(parts[1])


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < 2**63


def _place(each: Numbered) -> str:
    return ".".join(map(str, each.place))


def _item(each: Numbered) -> Json:
    row = each.row
    return {
        "at": format_instant(row.at_ns),
        "who": row.who or None,
        "address": row.address,
        "method": row.method,
        "path": row.path,
        "query": row.query,
        "status": row.status,
        "as_of": None if row.as_of is None else str(row.as_of),
    }
