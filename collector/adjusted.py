"""Amounts booked beside the usage: by a person, or because they came for a period that was sealed."""

from collections.abc import Mapping
from typing import Any, Final

from ..storage.projection_decisions import adjusted_sums, adjustments_in
from ..storage.projection_reader import Snapshot
from ..storage.usage_query import Scope
from .bodies import show
from .parameters import take_number, take_span
from .routing import PAGE, RANGE, Json, Routes, Told
from .tokens import Caller

_LIMIT, _LARGEST_LIMIT, _LARGEST_OFFSET = 100, 1_000, 2**53
PATH: Final = "/v1/adjustments"


def add_adjustments(routes: Routes) -> None:
    routes.get(PATH, (*RANGE, *PAGE), answer_adjustments)


def answer_adjustments(seen: Snapshot, told: Told, who: Caller, _path: str) -> Json:
    """Those booked in a range, oldest first; ``total_ns`` and ``by_org`` are over all of them, whatever the page."""
    scope = Scope(take_span(told), seen.position, who.tenant)
    offset = take_number(told, "offset", 0, 0, _LARGEST_OFFSET)
    limit = take_number(told, "limit", _LIMIT, 1, _LARGEST_LIMIT)
    sums = adjusted_sums(seen, scope)
    return {
        "as_of": str(seen.position),
        "offset": offset,
        "limit": limit,
        "total_count": _count(sums),
        **_sums(sums),
        "items": [show(each, who.tenant) for each in adjustments_in(seen, scope, offset, limit)],
    }


def adjustments_of(sums: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """A member of the usage answer, where there are any: they are in none of its totals."""
    return {"adjustments": {"count": _count(sums), **_sums(sums)}} if sums else {}


def _count(sums: Mapping[str, tuple[int, int]]) -> int:
    return sum(count for count, _ in sums.values())


def _sums(sums: Mapping[str, tuple[int, int]]) -> Json:
    return {
        "total_ns": str(sum(ns for _, ns in sums.values())),
        "by_org": {org: str(ns) for org, (_, ns) in sums.items()},
    }
