"""What came for a sealed period: kept as it was said, counted nowhere, and told as signed amounts in an open one.

A late segment is a row of ``device_row`` with its records like any other, named in ``superseded`` by its own entry, so
that it is never in force; the table ``late`` says what it follows on, and when its difference is booked.
"""

from collections import Counter
from fractions import Fraction

import duckdb

from ..model.decisions import Adjusted, Decided
from ..model.interval import Interval
from .projection_numbers import Row
from .projection_sql import as_said, corrections
from .usage_store import Origin, Place, StoredRow

_Owner = tuple[str, str, str]
"""Tenant, project, GPU model."""
BY = "gputally"
"""Stands where a person's name stands in adjustments that nobody made by hand."""


def late_row(origin: Origin, old: StoredRow | None, booked_ns: int) -> Row:
    """Of the table ``late``."""
    return (origin.log_id, origin.segment_no, *(old.place if old else (None, None)), booked_ns)


def adjustments(
    db: duckdb.DuckDBPyConnection, origin: Origin, old: StoredRow | None, booked_ns: int, received_ns: int
) -> list[tuple[int, Decided]]:
    """For each owner the difference that a late segment makes, in whole ns; those without any are not told.

    Of a MIG instance the fraction of its GPU, floored: a month of such differences may be off by a ns each.
    """
    new_place = origin.log_id, origin.segment_no
    difference = _amounts(db, new_place)
    difference.subtract(_amounts(db, old.place) if old else Counter())
    told = [(owner, int(ns // 1)) for owner, ns in sorted(difference.items())]
    why = f"came from {origin.host_id} after the period of its window was sealed"
    return [
        (
            origin.log_id,
            Decided(BY, received_ns, why, Adjusted(_name(new_place, owner), booked_ns, tenant, model, ns, project)),
        )
        for owner, ns in told
        if ns
        for tenant, project, model in [owner]
    ]


def sealed_spans(db: duckdb.DuckDBPyConnection) -> list[Interval]:
    """The sealed periods, in order of time."""
    found = db.execute("SELECT from_ns, to_ns FROM period_sealed ORDER BY from_ns").fetchall()
    return [Interval(start_ns, end_ns) for start_ns, end_ns in found]


def is_touched(db: duckdb.DuckDBPyConnection, span: Interval, behind_log_id: int) -> bool:
    """Whether an entry behind ``behind_log_id`` says anything of windows that start in ``span``."""
    inside = "window_start_ns >= ? AND window_start_ns < ?"
    at = inside.replace("window_start_ns", "at_ns")
    for table, where in ((as_said("device_row")[0], inside), ("overlay", inside), ("adjusted", at)):
        sql = f"SELECT 1 FROM {table} WHERE log_id > ? AND {where} LIMIT 1"
        if db.execute(sql, [behind_log_id, span.start_ns, span.end_ns]).fetchall():
            return True
    for table in ("quarantine", "exclusion_set", "gap_declared"):
        sql = f"SELECT 1 FROM {table} WHERE log_id > ? AND from_ns < ? AND coalesce(to_ns > ?, true) LIMIT 1"
        if db.execute(sql, [behind_log_id, span.end_ns, span.start_ns]).fetchall():
            return True
    return False


def _amounts(db: duckdb.DuckDBPyConnection, place: Place) -> Counter[_Owner]:
    """What a segment's records come to, as corrections have it."""
    relation, _ = as_said("record")
    found = db.execute(
        "SELECT coalesce(o.tenant, r.tenant), coalesce(o.project, r.project), gpu_model, allocated_ns,"
        f" coalesce(compute, 1), coalesce(compute_of, 1) FROM {relation} r"
        f" LEFT JOIN {corrections()} o USING (log_id, segment_no, ordinal)"
        " WHERE log_id = ? AND segment_no = ? AND NOT coalesce(o.voided, false)",
        [2**62, *place],
    ).fetchall()
    sums: Counter[_Owner] = Counter()
    for tenant, project, model, ns, compute, compute_of in found:
        sums[tenant, project, model] += Fraction(ns * compute, compute_of or 1)  # type: ignore[assignment]
    return sums


def _name(place: Place, owner: _Owner) -> str:
    return f"late:{place[0]}.{place[1]}:{'/'.join(owner)}"
