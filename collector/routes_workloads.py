"""GET /v1/workloads: how long each ran, with how many replicas, and what it took of its hosts."""

from typing import Final

from ..storage.projection_completeness import completeness
from ..storage.projection_presence import WorkloadSums, workloads
from ..storage.projection_reader import Snapshot
from .asked_range import header, take_scope
from .completeness import describe
from .instants import format_instant
from .parameters import take_number
from .routing import PAGE, RANGE, Json, Routes, Told
from .tokens import Caller

_PARAMETERS: Final = (*RANGE, "workload", "tenant", "as_of", *PAGE)


def add_workloads(routes: Routes) -> None:
    routes.get("/v1/workloads", _PARAMETERS, _workloads)


def _workloads(seen: Snapshot, told: Told, who: Caller, _path: str) -> Json:
    scope = take_scope(told, seen, who)
    offset, limit = take_number(told, "offset", 0, 0, 2**53), take_number(told, "limit", 100, 1, 1_000)
    page, count = workloads(seen, scope, told.get("workload"), offset, limit)
    return {
        **header(scope),
        "offset": offset,
        "limit": limit,
        "total_count": count,
        "completeness": describe(scope.span.end_ns, completeness(seen, scope)),
        "items": [_item(each) for each in page],
    }


def _item(sums: WorkloadSums) -> Json:
    """``null`` is what nobody could know; no source here tells how long a workload waited for its GPUs."""
    return {
        "workload": f"{sums.kind}:{sums.id}",
        "org": sums.tenant,
        "project": sums.project,
        "first_seen": format_instant(sums.first_ns),
        "last_seen": format_instant(sums.last_ns),
        "runtime_ns": str(sums.runtime_ns),
        "hosts": sums.hosts,
        "queue_wait_ns": None,
        **{name: None if amount is None else str(amount) for name, amount in sums.consumed.items()},
        "replica_max": sums.replica_max,
        "unknown_ns": {name: str(ns) for name, ns in sums.unknown_ns.items()},
    }
