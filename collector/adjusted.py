"""Amounts booked beside the usage: by a person, or because they came for a period that was sealed."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from ..model.decisions import Adjusted
from ..storage.projection_decisions import Stored, adjustments_in
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
    found = adjustments_in(seen, Scope(take_span(told), seen.position, who.tenant))
    offset = take_number(told, "offset", 0, 0, _LARGEST_OFFSET)
    limit = take_number(told, "limit", _LIMIT, 1, _LARGEST_LIMIT)
    return {
        "as_of": str(seen.position),
        "offset": offset,
        "limit": limit,
        "total_count": len(found),
        **_sums(found),
        "items": [show(each, who.tenant) for each in found[offset : offset + limit]],
    }


def adjustments_of(found: Sequence[Stored[Adjusted]]) -> dict[str, Any]:
    """A member of the usage answer, where there are any: they are in none of its totals."""
    return {"adjustments": {"count": len(found), **_sums(found)}} if found else {}


def _sums(found: Sequence[Stored[Adjusted]]) -> Json:
    by_org: Counter[str] = Counter()
    for each in found:
        by_org[each.what.tenant] += each.what.ns
    return {"total_ns": str(by_org.total()), "by_org": {org: str(ns) for org, ns in sorted(by_org.items())}}
