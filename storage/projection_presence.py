"""Questions about workloads and hosts: what ran when and took what of its host, how long hosts were up, their gaps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..model.interval import Interval
from .projection_other_rows import CONSUMED
from .projection_reader import Snapshot
from .usage_query import Scope

MOST_GAPS: Final = 10
"""Of one host, the newest."""


@dataclass(frozen=True, slots=True)
class WorkloadSums:
    """One workload under one owner. ``runtime_ns``: how long it held any GPU, added up over hosts."""

    kind: str
    id: str
    tenant: str
    project: str
    first_ns: int
    last_ns: int
    runtime_ns: int
    hosts: int
    replica_max: int | None
    consumed: dict[str, int | None]
    """By CONSUMED. None: not known for any of the time."""
    unknown_ns: dict[str, int]
    """For how much of ``runtime_ns`` it is not known, where that is any."""


@dataclass(slots=True)
class Uptime:
    """Of one host. ``boot_id`` empty: it never told of its uptime."""

    up_ns: int = 0
    boots: int = 0
    boot_id: str = ""
    since_ns: int | None = None
    gap_count: int = 0
    gaps_ns: int = 0
    gaps: list[tuple[int, int, str, int]] = field(default_factory=list[tuple[int, int, str, int]])
    """(start, length, reason, devices), the newest first, at most MOST_GAPS."""


def workloads(
    snapshot: Snapshot, scope: Scope, workload: str | None, offset: int, limit: int
) -> tuple[list[WorkloadSums], int]:
    """(a page of workloads by name, how many there are). ``workload``: kind:id."""
    where, more = ["true"], list[Any]()
    if scope.tenant is not None:
        where, more = [*where, "tenant = ?"], [*more, scope.tenant]
    if workload is not None:
        kind, _, name = workload.partition(":")
        where, more = [*where, "workload_kind = ? AND workload_id = ?"], [*more, kind, name]
    sums = ", ".join(f"sum({name})::HUGEINT, (sum(length_ns) FILTER ({name} IS NULL))::HUGEINT" for name in CONSUMED)
    found = snapshot.db.execute(
        "SELECT workload_kind, workload_id, tenant, project, min(wall_start_ns), max(wall_start_ns + length_ns),"
        f" sum(length_ns)::HUGEINT, count(DISTINCT host_id), max(replica_max), count(*) OVER (), {sums}"
        f" FROM ({_NEWEST}) WHERE {' AND '.join(where)} GROUP BY workload_kind, workload_id, tenant, project"
        " ORDER BY workload_kind, workload_id, tenant, project LIMIT ? OFFSET ?",
        [scope.as_of, scope.span.start_ns, scope.span.end_ns, *more, limit, offset],
    ).fetchall()
    return [_workload(row) for row in found], found[0][9] if found else 0


_NEWEST: Final = (
    "SELECT * FROM workload_window WHERE log_id <= ? AND window_start_ns >= ? AND window_start_ns < ? QUALIFY"
    " row_number() OVER (PARTITION BY host_id, boot_id, workload_kind, workload_id, boot_start_ns"
    " ORDER BY log_id DESC) = 1"
)


def _workload(row: Sequence[Any]) -> WorkloadSums:
    amounts: dict[str, int | None] = dict(zip(CONSUMED, row[10::2], strict=True))
    unknown: dict[str, int] = {name: ns for name, ns in zip(CONSUMED, row[11::2], strict=True) if ns}
    kind, name, tenant, project, first_ns, last_ns, runtime_ns, hosts, replica_max = row[:9]
    return WorkloadSums(
        kind, name, tenant, project, first_ns, last_ns, runtime_ns, hosts, replica_max, amounts, unknown
    )


def uptimes(snapshot: Snapshot, host_ids: Sequence[str], span: Interval | None) -> dict[str, Uptime]:
    """Of these hosts; within ``span`` what lies in windows that start there, otherwise ever."""
    found = {host_id: Uptime() for host_id in host_ids}
    for host_id, up_ns, boots in _up(snapshot, host_ids, span):
        found[host_id].up_ns, found[host_id].boots = up_ns, boots
    for host_id, boot_id, since_ns in snapshot.db.execute(_LAST_BOOT, [list(host_ids)]).fetchall():
        found[host_id].boot_id, found[host_id].since_ns = boot_id, since_ns
    for host_id, start_ns, length_ns, reason, devices in _gaps(snapshot, host_ids, span):
        uptime = found[host_id]
        uptime.gap_count += 1
        uptime.gaps_ns += length_ns
        if len(uptime.gaps) < MOST_GAPS:
            uptime.gaps.append((start_ns, length_ns, reason, devices))
    return found


_HOSTS: Final = "host_id IN (SELECT unnest(?::VARCHAR[]))"
_LAST_BOOT: Final = (
    "SELECT host_id, arg_max(boot_id, first_wall_ns), max(first_wall_ns)"
    f" FROM host_boot WHERE {_HOSTS} GROUP BY host_id"
)


def _up(snapshot: Snapshot, host_ids: Sequence[str], span: Interval | None) -> list[tuple[str, int, int]]:
    if span is None:
        return snapshot.db.execute(
            "SELECT host_id, sum(end_ns - start_ns)::HUGEINT, count(DISTINCT boot_id) FROM coverage"
            f" WHERE device_id = '' AND {_HOSTS} GROUP BY host_id",
            [list(host_ids)],
        ).fetchall()
    return snapshot.db.execute(
        "SELECT host_id, sum(length_ns)::HUGEINT, count(DISTINCT boot_id) FROM host_window"
        f" WHERE window_start_ns >= ? AND window_start_ns < ? AND {_HOSTS} GROUP BY host_id",
        [span.start_ns, span.end_ns, list(host_ids)],
    ).fetchall()


def _gaps(snapshot: Snapshot, host_ids: Sequence[str], span: Interval | None) -> list[tuple[str, int, int, str, int]]:
    """Newest first, each once, those that touch the span."""
    bounds = [0, 2**62] if span is None else [span.start_ns, span.end_ns]
    return snapshot.db.execute(
        "SELECT DISTINCT host_id, wall_start_ns, length_ns, reason, len(devices) FROM host_gap"
        f" WHERE wall_start_ns + length_ns > ? AND wall_start_ns < ? AND {_HOSTS} ORDER BY wall_start_ns DESC",
        [*bounds, list(host_ids)],
    ).fetchall()
