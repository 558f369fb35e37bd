"""GET /v1/exclusions: what was had in all, what of it is not charged and by which exclusion, and what remains."""

from collections.abc import Sequence
from typing import Any

from ..model.decisions import ExclusionSet
from ..model.excluding import Excluded
from ..storage.projection_completeness import completeness
from ..storage.projection_decisions import Stored
from ..storage.projection_reader import Snapshot
from ..storage.usage_query import Scope
from .asked_range import header, take_scope
from .bodies import show
from .completeness import describe
from .excluded import ExclusionSums, exclusion_sums
from .instants import format_instant
from .parameters import take_number
from .routing import PAGE, RANGE, Json, Routes, Told
from .tokens import Caller, Role


def add_exclusions_path(routes: Routes) -> None:
    routes.get("/v1/exclusions", (*RANGE, "tenant", "as_of", *PAGE), _exclusions)


def _exclusions(seen: Snapshot, told: Told, who: Caller, _path: str) -> Json:
    offset, limit = take_number(told, "offset", 0, 0, 2**53), take_number(told, "limit", 100, 1, 1_000)
    return answer_exclusions(take_scope(told, seen, who), seen, offset, limit, alone=who.role is Role.TENANT)


def answer_exclusions(scope: Scope, seen: Snapshot, offset: int, limit: int, *, alone: bool) -> Json:
    """``alone``: whoever asks is a tenant; of an exclusion it is told what it takes, not whom else it is about."""
    sums = exclusion_sums(scope, seen)
    tenants = sorted({tenant for tenant, _ in sums.sums})
    everything = sums.everything()
    items = [
        {**(_brief(stored) if alone else show(stored)), "excluded_ns": str(taken), "by_org": _by_org(sums, place)}
        for place, (stored, taken) in enumerate(zip(sums.exclusions, sums.taken_ns(everything), strict=True))
        if not alone or stored.what.tenant == scope.tenant or _touches(everything, place)
    ]
    return {
        **header(scope),
        "offset": offset,
        "limit": limit,
        "total_count": len(items),
        "completeness": describe(scope.span.end_ns, completeness(seen, scope)),
        "items": items[offset : offset + limit],
        "totals_by_org": {tenant: sums.amounts(sums.of_tenant(tenant)) for tenant in tenants},
        "grand_total": sums.amounts(everything),
    }


def _touches(of: Sequence[Excluded], place: int) -> bool:
    return any(place in each.taken for each in of)


def _by_org(sums: ExclusionSums, place: int) -> dict[str, str]:
    tenants = sorted({tenant for (tenant, _), each in sums.sums.items() if place in each.taken})
    return {tenant: str(sums.taken_ns(sums.of_tenant(tenant))[place]) for tenant in tenants}


def _brief(stored: Stored[ExclusionSet]) -> dict[str, Any]:
    what = stored.what
    return {
        "id": what.id,
        "kind": what.kind,
        "from": format_instant(what.from_ns),
        "to": format_instant(what.to_ns),
    }
