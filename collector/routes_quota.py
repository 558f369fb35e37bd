"""GET /v1/quota/{tenant}: what a tenant used this month beside its quota, and how old that knowledge is.

Derived: it says what the ledger knows, and decides nothing. Whoever asks decides, by how stale it is.
"""

import time
from datetime import UTC
from typing import Any, Final

from ..model.decisions import QuotaSet
from ..model.interval import Interval
from ..storage.projection_completeness import completeness
from ..storage.projection_decisions import Stored, decided_in_force
from ..storage.projection_reader import Snapshot
from ..storage.projection_usage import sum_usage
from ..storage.usage_query import Completeness, Dimension, Meter, Scope, UsageQuery
from .completeness import describe
from .grid import Window, edges_ns
from .instants import format_instant
from .parameters import take_instant
from .problems import Problem
from .routing import Json, Routes, Told
from .tokens import Caller, Role

_LONGEST_MONTH_NS: Final = 31 * 86_400 * 10**9


def add_quota(routes: Routes) -> None:
    routes.get("/v1/quota/{tenant}", ("at",), _quota, required=())


def _quota(seen: Snapshot, told: Told, who: Caller, _path: str) -> Json:
    """``at``: in which month, and as of when; without it now, by the collector's clock."""
    if who.role is Role.TENANT and told["tenant"] != who.tenant:
        raise Problem(403, "not-yours", "this token sees one tenant, and the one named is another")
    at_ns = take_instant(told, "at") if "at" in told else time.time_ns()
    return answer_quota(seen, told["tenant"], at_ns)


def answer_quota(seen: Snapshot, tenant: str, at_ns: int) -> Json:
    """Every meter that the tenant has a quota for, and ``allocated`` in any case."""
    scope = Scope(month_of(at_ns), seen.position, tenant)
    lack = completeness(seen, scope)
    quotas = [stored for stored in decided_in_force(seen, QuotaSet) if stored.what.tenant == tenant]
    items = [_item(seen, scope, stored) for stored in quotas]
    if not any(stored.what.meter == Meter.ALLOCATED for stored in quotas):
        items.append(_amounts(Meter.ALLOCATED.value, _used_ns(seen, scope, Meter.ALLOCATED), None))
    return {
        "tenant": tenant,
        "month_from": format_instant(scope.span.start_ns),
        "month_to": format_instant(scope.span.end_ns),
        "at": format_instant(at_ns),
        "as_of": str(seen.position),
        "derived": True,
        "completeness": describe(min(at_ns, scope.span.end_ns), lack),
        "stale_ns": _stale_ns(at_ns, scope, lack),
        "items": items,
    }


def month_of(at_ns: int) -> Interval:
    """The calendar month (UTC) that has this instant."""
    start_ns, end_ns = edges_ns(Interval(at_ns, at_ns + _LONGEST_MONTH_NS + 1), Window.MONTH, UTC)[:2]
    return Interval(start_ns, end_ns)


def _item(seen: Snapshot, scope: Scope, stored: Stored[QuotaSet]) -> Json:
    """``used_ns`` null: a meter by that name is not metered here."""
    known = stored.what.meter in list(Meter)
    used_ns = _used_ns(seen, scope, Meter(stored.what.meter)) if known else None
    return {**_amounts(stored.what.meter, used_ns, stored.what.limit_ns), "decided_at": format_instant(stored.at_ns)}


def _amounts(meter: str, used_ns: int | None, limit_ns: int | None) -> Json:
    """``remaining_ns`` is negative where more was used than the limit."""
    remaining_ns = None if used_ns is None or limit_ns is None else limit_ns - used_ns
    amounts: dict[str, Any] = {"used_ns": used_ns, "limit_ns": limit_ns, "remaining_ns": remaining_ns}
    return {"meter": meter, **{name: None if ns is None else str(ns) for name, ns in amounts.items()}}


def _used_ns(seen: Snapshot, scope: Scope, meter: Meter) -> int:
    return sum_usage(seen, UsageQuery(scope, (Dimension.ORG,), meter), lambda _: "").total_ns


def _stale_ns(at_ns: int, scope: Scope, lack: Completeness) -> str | None:
    """From the earliest watermark of the expected hosts; null: one of them never said any, or there is none."""
    known = [host.complete_through_ns for host in lack.hosts if host.complete_through_ns is not None]
    if not known or len(known) < len(lack.hosts):
        return None
    return str(max(min(at_ns, scope.span.end_ns) - min(known), 0))
