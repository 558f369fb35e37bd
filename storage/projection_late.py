"""What came for a sealed period: kept as it was said, counted nowhere, and told as signed amounts in an open one.

A late segment is a row of ``device_row`` with its records like any other, named in ``superseded`` by its own entry, so
that it is never in force; the table ``late`` says what it follows on, and when its difference is booked.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b

import duckdb

from ..model.decisions import LATE_PREFIX, Adjusted, Decided
from ..model.identity import encode, segment_key
from ..model.interval import Interval
from ..model.usage import DeviceWindow
from .projection_numbers import Row
from .projection_sql import as_said, corrections
from .usage_store import Origin, Place, StoredRow

_Owner = tuple[str, str, str]
"""Tenant, project, GPU model."""
BY = "gputally"
"""Stands where a person's name stands in adjustments that nobody made by hand."""


@dataclass(frozen=True, slots=True)
class Late:
    """A segment that came for a sealed period, what it follows on, and when its difference is booked."""

    origin: Origin
    row: DeviceWindow
    old: StoredRow | None
    booked_ns: int
    received_ns: int

    @property
    def place(self) -> Place:
        return self.origin.log_id, self.origin.segment_no

    @property
    def columns(self) -> Row:
        """Of the table ``late``."""
        return (*self.place, *(self.old.place if self.old else (None, None)), self.booked_ns)


def adjustments(db: duckdb.DuckDBPyConnection, late: Sequence[Late]) -> Iterator[tuple[int, Decided]]:
    """For each owner the difference that each late segment makes, in whole ns; those without any are not told.

    Of a MIG instance the fraction of its GPU: each revision's amount is floored, so that differences add up to it.
    """
    places = {place for each in late for place in (each.place, each.old.place if each.old else each.place)}
    amounts = _amounts(db, places)
    for each in late:
        difference = Counter(amounts[each.place])
        difference.subtract(amounts[each.old.place] if each.old else {})
        for owner, ns in sorted(difference.items()):
            if ns:
                yield each.origin.log_id, _decided(each, owner, ns)


def _decided(late: Late, owner: _Owner, ns: int) -> Decided:
    tenant, project, model = owner
    why = f"came from {late.origin.host_id} after the period of its window was sealed"
    what = Adjusted(_name(late, owner), late.booked_ns, tenant, model, ns, project)
    return Decided(BY, late.received_ns, why, what)


def _name(late: Late, owner: _Owner) -> str:
    """From what the host says alone: a ledger that is filled up again gives the same names."""
    key = segment_key(late.origin.host_id, late.origin.boot_id, late.row.segment)
    whose = blake2b(encode(*owner), digest_size=8).hexdigest()
    return f"{LATE_PREFIX}{key.hex()}:{late.row.revision}:{whose}"


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


def _amounts(db: duckdb.DuckDBPyConnection, places: Iterable[Place]) -> dict[Place, dict[_Owner, int]]:
    """What the records of each of these segments come to, as corrections have it."""
    columns = [list(column) for column in zip(*sorted(places), strict=True)]
    relation, _ = as_said("record")
    found = db.execute(
        "SELECT log_id, segment_no, coalesce(o.tenant, r.tenant), coalesce(o.project, r.project), gpu_model,"
        " allocated_ns, coalesce(compute, 1), coalesce(compute_of, 1) FROM (SELECT * FROM"
        f" {relation} SEMI JOIN (SELECT unnest(?::BIGINT[]) AS log_id, unnest(?::INTEGER[]) AS segment_no)"
        f" USING (log_id, segment_no)) r LEFT JOIN {corrections()} o USING (log_id, segment_no, ordinal)"
        " WHERE NOT coalesce(o.voided, false)",
        [*columns, 2**62],
    ).fetchall()
    sums: defaultdict[Place, defaultdict[_Owner, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    for log_id, number, tenant, project, model, ns, compute, compute_of in found:
        sums[log_id, number][tenant, project, model] += Fraction(ns * compute, compute_of or 1)
    return defaultdict(dict, {place: {o: int(ns // 1) for o, ns in each.items()} for place, each in sums.items()})
