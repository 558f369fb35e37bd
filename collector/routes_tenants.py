"""GET /v1/tenants/unknown: whom rules have named and the registry does not know."""

from dataclasses import asdict

from ..storage.projection_reader import Snapshot
from ..storage.projection_rules import unknown_tenants
from ..storage.usage_query import Scope
from .parameters import take_number, take_span
from .routing import PAGE, RANGE, Json, Routes, Told

_LIMIT, _LARGEST_LIMIT, _LARGEST_OFFSET = 100, 1_000, 2**53


def add_tenants(routes: Routes) -> None:
    routes.get(
        "/v1/tenants/unknown", (*RANGE, *PAGE), lambda seen, told, _who, _at: _unknown(seen, told), tenants=False
    )


def _unknown(seen: Snapshot, told: Told) -> Json:
    """Their time counts like anybody's: it waits for a word about who they are."""
    offset = take_number(told, "offset", 0, 0, _LARGEST_OFFSET)
    limit = take_number(told, "limit", _LIMIT, 1, _LARGEST_LIMIT)
    found, count = unknown_tenants(seen, Scope(take_span(told), seen.position), offset, limit)
    return {
        "as_of": str(seen.position),
        "offset": offset,
        "limit": limit,
        "total_count": count,
        "items": [{**asdict(each), "allocated_ns": str(each.allocated_ns)} for each in found],
    }
