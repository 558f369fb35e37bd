"""What a sum lacks: hosts that have not come so far, time nobody saw, records put aside."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..model.interval import Interval
from ..model.workload import UNATTRIBUTED
from .projection_hosts import declared_gaps, expected_hosts, through
from .projection_reader import Snapshot
from .projection_slices import fractions
from .projection_sql import in_force
from .projection_summed import summed
from .usage_query import Completeness, HostCompleteness, Scope, WindowLength


def completeness(snapshot: Snapshot, scope: Scope) -> Completeness:
    """How complete the windows of ``scope`` are, as of its log id; hosts of sealed time as of the latest seal on it.

    What is put aside is counted whenever it came: that a period is sealed must not hide it.
    """
    slices = fractions(snapshot)
    rows, parameters = summed("device_row", snapshot, scope)
    unobserved = snapshot.db.execute(
        f"SELECT sum({slices.weighted('unobserved_ns')})::HUGEINT FROM {rows}", parameters
    ).fetchall()
    records, parameters = summed("record", snapshot, scope)
    nobodys = snapshot.db.execute(
        f"SELECT sum({slices.weighted('allocated_ns')})::HUGEINT FROM {records} WHERE tenant = ?",
        [*parameters, UNATTRIBUTED],
    ).fetchall()
    aside = snapshot.db.execute(
        f"SELECT count(*), sum(allocated_ns)::HUGEINT FROM quarantine WHERE {_TOUCHES}", _touching(scope)
    ).fetchall()
    return Completeness(
        hosts=_hosts(snapshot, _judged(snapshot, scope)),
        unobserved_ns=slices.floored(unobserved[0][0]),
        unattributed_ns=slices.floored(nobodys[0][0]),
        quarantined=aside[0][0],
        quarantined_ns=aside[0][1] or 0,
        of_tenant=scope.tenant is not None,
    )


def _judged(snapshot: Snapshot, scope: Scope) -> Scope:
    """A span that is sealed, whole, lacks nothing that came later: that is booked elsewhere, and is no usage of it."""
    at_ns, as_of = scope.span.start_ns, 0
    seals = snapshot.db.execute(
        "SELECT from_ns, to_ns, as_of FROM period_sealed WHERE log_id <= ? AND from_ns < ? AND to_ns > ?"
        " ORDER BY from_ns",
        [scope.as_of, scope.span.end_ns, scope.span.start_ns],
    ).fetchall()
    for start_ns, end_ns, seal_as_of in seals:
        if start_ns <= at_ns < end_ns:
            at_ns, as_of = end_ns, max(as_of, seal_as_of)
    return replace(scope, as_of=as_of) if at_ns >= scope.span.end_ns and as_of else scope


_TOUCHES = "log_id <= ? AND from_ns < ? AND coalesce(to_ns > ?, true)"


def _touching(scope: Scope) -> list[int]:
    return [scope.as_of, scope.span.end_ns, scope.span.start_ns]


def _hosts(snapshot: Snapshot, scope: Scope) -> tuple[HostCompleteness, ...]:
    """Every host that is expected in the span, and how far its time is known, or declared not to come."""
    expected = expected_hosts(snapshot, scope)
    seen = {told[0]: told[1:] for told in _seen(snapshot, scope)}
    gaps = declared_gaps(snapshot, scope.as_of)
    return tuple(
        _host(host_id, seen.get(host_id, (None, None, None)), gaps.get(host_id, ()), scope)
        for host_id in sorted(expected)
    )


def _seen(snapshot: Snapshot, scope: Scope) -> list[tuple[str, int | None, int | None, str | None]]:
    """(host, watermark, where what was put aside begins, and what it is), but for time that is declared a gap."""
    return snapshot.db.execute(
        f"SELECT host_id, {_watermark(snapshot, scope)}, aside_ns, what FROM host"
        " LEFT JOIN (SELECT host_id, min(from_ns) AS aside_ns, arg_min(what, (from_ns, log_id)) AS what"
        f" FROM quarantine q WHERE {_TOUCHES}"
        " AND NOT EXISTS (SELECT 1 FROM gap_declared g WHERE g.host_id = q.host_id AND g.log_id <= ?"
        " AND g.from_ns <= q.from_ns AND g.to_ns >= q.to_ns)"
        " GROUP BY host_id) USING (host_id)",
        [*_touching(scope), scope.as_of],
    ).fetchall()


def _host(
    host_id: str, told: tuple[int | None, int | None, str | None], gaps: Sequence[Interval], scope: Scope
) -> HostCompleteness:
    watermark_ns, aside_ns, what = told
    through_ns = through(watermark_ns, aside_ns, gaps, scope.span.start_ns)
    by_aside = through_ns is None or (aside_ns is not None and through_ns <= aside_ns)
    return HostCompleteness(host_id, through_ns, what or "" if by_aside else "")


def _watermark(snapshot: Snapshot, scope: Scope) -> str:
    if scope.as_of >= snapshot.position:
        return "watermark_ns"
    return (
        "(SELECT max(complete_through_ns) FROM watermark w"
        f" WHERE w.host_id = host.host_id AND w.log_id <= {int(scope.as_of)})"
    )


def window_lengths(snapshot: Snapshot, scope: Scope) -> list[WindowLength]:
    """The lengths of all windows that overlap the span, and whether the span cuts any of them."""
    span = scope.span
    inside, parameters = summed("device_row", snapshot, scope)
    edges, more = _near_the_ends(snapshot, scope)
    found = snapshot.db.execute(
        "SELECT window_length_ns, bool_and(aligned), bool_or(cut_start), bool_or(cut_end) FROM ("
        f"SELECT window_length_ns, aligned, false AS cut_start, false AS cut_end FROM {inside} UNION ALL"
        f" SELECT window_length_ns, window_start_ns % window_length_ns = 0, window_start_ns < ?, {_END} > ?"
        f" FROM {edges} WHERE window_start_ns < ? AND {_END} > ?"
        ") GROUP BY ALL ORDER BY ALL",
        [*parameters, span.start_ns, span.end_ns, *more, span.end_ns, span.start_ns],
    ).fetchall()
    return [WindowLength(*row) for row in found]


_END = "window_start_ns + window_length_ns"


def _near_the_ends(snapshot: Snapshot, scope: Scope) -> tuple[str, list[Any]]:
    """The rows of windows that may lie on both sides of one of the span's ends."""
    longest_ns = max(all_window_lengths(snapshot), default=0)
    ends = (scope.span.start_ns, scope.span.end_ns)
    spans = [Interval(end_ns - longest_ns, end_ns) for end_ns in ends] if longest_ns else []
    return in_force("device_row", replace(scope, tenant=None), spans)


def all_window_lengths(snapshot: Snapshot) -> list[int]:
    """Every window length in the ledger."""
    rows = snapshot.db.execute("SELECT DISTINCT window_length_ns FROM device ORDER BY ALL").fetchall()
    return [row[0] for row in rows]
