"""Corrections in the projection: which records an overlay lies on, found when it is folded, once.

An overlay names a record as its host does, whatever its revision. Here it is told by the place of the revision in
force, so that sums need no more than a join of numbers; a revision that comes later takes it over.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import duckdb

from ..model.decisions import Overlay
from ..model.interval import Interval
from ..model.usage import Segment, UsageRecord
from .projection_numbers import Row
from .usage_store import Origin, StoredRow, Wanted

Stored = Callable[[str, str, Sequence[Wanted]], list[list[StoredRow]]]
"""``stored_rows`` of the store."""


@dataclass(frozen=True, slots=True)
class _Named:
    device_id: str
    generation: int
    boot: Interval


def corrections_of(
    db: duckdb.DuckDBPyConnection, stored: Stored, log_id: int, decided_ns: int, overlays: Iterable[Overlay]
) -> tuple[list[Row], set[int]]:
    """(rows of ``correction``, when the windows start whose sums change). Of a record that is no more: none."""
    by_boot: defaultdict[tuple[str, str], list[Overlay]] = defaultdict(list)
    for overlay in overlays:
        by_boot[overlay.host_id, overlay.boot_id].append(overlay)
    rows: list[Row] = []
    changed_s: set[int] = set()
    for (host_id, boot_id), some in by_boot.items():
        for overlay, found in zip(some, stored(host_id, boot_id, list(map(_named, some))), strict=True):
            row = found[0] if found and found[0].interval.start_ns == overlay.boot_start_ns else None
            ordinal = row and _ordinal(db, row, (overlay.workload_kind, overlay.workload_id, overlay.session_id))
            if row is not None and ordinal is not None:
                rows.append((*row.place, ordinal, log_id, decided_ns, str(overlay.kind), *_owner(overlay)))
                changed_s.add(row.window_s)
    return rows, changed_s


def carried(
    db: duckdb.DuckDBPyConnection, origin: Origin, segment: Segment, records: Sequence[UsageRecord]
) -> list[Row]:
    """Rows of ``correction`` for a segment's new revision: all that was ever decided of its records.

    Also of one that a revision in between did not have.
    """
    found = db.execute(
        "SELECT workload_kind, workload_id, session_id, arg_max(decided_ns, log_id), if(kind = 'lift', 'void', kind),"
        " arg_max(tenant, log_id), arg_max(project, log_id) FROM overlay WHERE host_id = ? AND boot_id = ?"
        " AND device_id = ? AND generation = ? AND boot_start_ns = ? AND log_id < ?"
        " GROUP BY ALL HAVING arg_max(kind, log_id) <> 'lift'",
        [origin.host_id, origin.boot_id, segment.device_id, segment.generation, segment.boot.start_ns, origin.log_id],
    ).fetchall()
    ordinals = {(*record.workload, record.session_id): ordinal for ordinal, record in enumerate(records)}
    return [
        (origin.log_id, origin.segment_no, ordinals[kind, name, session], origin.log_id, *rest)
        for kind, name, session, *rest in found
        if (kind, name, session) in ordinals
    ]


def corrected_segments(db: duckdb.DuckDBPyConnection) -> set[int]:
    """Marks of all segments that a correction was ever made in; one that is not among them needs no look."""
    found = db.execute("SELECT DISTINCT host_id, boot_id, device_id, generation, boot_start_ns FROM overlay").fetchall()
    return set(map(hash, found))


def segment_mark(overlay: Overlay) -> int:
    return hash((overlay.host_id, overlay.boot_id, overlay.device_id, overlay.generation, overlay.boot_start_ns))


def mark_of(origin: Origin, segment: Segment) -> int:
    return hash((origin.host_id, origin.boot_id, segment.device_id, segment.generation, segment.boot.start_ns))


def _named(overlay: Overlay) -> _Named:
    start_ns = overlay.boot_start_ns
    return _Named(overlay.device_id, overlay.generation, Interval(start_ns, start_ns + 1))


def _ordinal(db: duckdb.DuckDBPyConnection, row: StoredRow, subject: tuple[str, str, str]) -> int | None:
    found = db.execute(
        "SELECT ordinal FROM record JOIN subject USING (subject_no) WHERE log_id = ? AND segment_no = ?"
        " AND workload_kind = ? AND workload_id = ? AND session_id = ?",
        [*row.place, *subject],
    ).fetchall()
    return found[0][0] if found else None


def _owner(overlay: Overlay) -> Row:
    return overlay.tenant, overlay.project
