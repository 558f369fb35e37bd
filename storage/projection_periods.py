"""What the projection holds of a period, as the leaves of its seal: docs/formats.md says which, and their bytes."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any, Final

from ..model.decisions import Adjusted, ExclusionSet, GapDeclared
from ..model.identity import joined_digest, row_digest, segment_key
from ..model.interval import Interval
from ..model.sealing import decision_leaf, record_leaf, row_leaf
from ..model.usage import DeviceWindow
from .projection_decisions import decided_in_force, overlays_in_force
from .projection_lists import Picked, records
from .projection_reader import Snapshot
from .projection_rows import row_of
from .projection_sql import AsSent, in_force
from .usage_query import Scope
from .usage_store import Place, StoredRecord

Unobserved = tuple[tuple[str, int], ...]

_PAGE: Final = 10_000
_SLICE_ROWS: Final = 50_000
_BEHIND: Final = "log_id > ? OR (log_id = ? AND segment_no > ?)"
_NONE: Final[tuple[Place, Iterator[StoredRecord]]] = ((0, 0), iter(()))
_SENT: Final = Picked(sent=AsSent.IN_FORCE)


def period_leaves(
    snapshot: Snapshot, scope: Scope, notice: Callable[[StoredRecord, bytes], None] | None = None
) -> Iterator[bytes]:
    """In no order. Rows are read in pages: memory does not grow with the period, but for what people decided of it.

    ``notice`` is shown each record with its leaf.
    """
    for part in _slices(snapshot, scope):
        yield from _segment_leaves(snapshot, part, notice)
    for overlay in overlays_in_force(snapshot, scope):
        yield decision_leaf(overlay.what)
    yield from _decision_leaves(snapshot, scope)


def _slices(snapshot: Snapshot, scope: Scope) -> Iterator[Scope]:
    """Windows lie in the store about as they came: a page reads little but its own slice, not all that is left."""
    relation, parameters = in_force("device_row", scope)
    rows: int = snapshot.db.execute(f"SELECT count(*) FROM {relation}", parameters).fetchall()[0][0]
    slice_ns = -(-scope.span.length_ns // (1 + rows // _SLICE_ROWS))
    for start_ns in range(scope.span.start_ns, scope.span.end_ns, slice_ns):
        yield replace(scope, span=Interval(start_ns, min(start_ns + slice_ns, scope.span.end_ns)))


def _segment_leaves(
    snapshot: Snapshot, scope: Scope, notice: Callable[[StoredRecord, bytes], None] | None
) -> Iterator[bytes]:
    groups = groupby(sent_records(snapshot, scope), key=lambda stored: stored.place[:2])
    records_of, held = next(groups, _NONE)
    for place, columns, unobserved in _rows(snapshot, scope):
        digests: list[bytes] = []
        if records_of == place:  # both come in the order of the log
            for stored in held:
                digests.append(digest := stored.digest)
                leaf = record_leaf(stored.usage_key, stored.record.revision, digest)
                if notice is not None:
                    notice(stored, leaf)
                yield leaf
            records_of, held = next(groups, _NONE)
        yield _leaf_of(columns, row_of(columns, unobserved, joined_digest(digests)))


def sent_records(snapshot: Snapshot, scope: Scope, picked: Picked = _SENT) -> Iterator[StoredRecord]:
    """Whatever the number of them."""
    after = (0, 0, 0)
    while page := records(snapshot, scope, after, _PAGE, picked):
        yield from page
        after = page[-1].place


def _leaf_of(columns: Mapping[str, Any], row: DeviceWindow) -> bytes:
    return row_leaf(segment_key(columns["host_id"], columns["boot_id"], row.segment), row.revision, row_digest(row))


def _rows(snapshot: Snapshot, scope: Scope) -> Iterator[tuple[Place, Mapping[str, Any], Unobserved]]:
    """Conservation rows in the order of the log, whatever the number of them."""
    relation, parameters = in_force("device_row", scope)
    after: Place = (0, -1)
    while True:
        found = snapshot.db.execute(
            f"SELECT * FROM {relation} WHERE {_BEHIND} ORDER BY log_id, segment_no LIMIT ?",
            [*parameters, after[0], *after, _PAGE],
        )
        names = [column[0] for column in found.description or ()]
        page = [dict(zip(names, values, strict=True)) for values in found.fetchall()]
        if not page:
            return
        last: Place = (page[-1]["log_id"], page[-1]["segment_no"])
        unobserved = _unobserved(snapshot, after, last)
        for columns in page:
            place: Place = (columns["log_id"], columns["segment_no"])
            yield place, columns, tuple(unobserved.get(place, ()))
        after = last


def _unobserved(snapshot: Snapshot, after: Place, last: Place) -> Mapping[Place, list[tuple[str, int]]]:
    found = snapshot.db.execute(
        f"SELECT log_id, segment_no, reason, length_ns FROM unobserved WHERE ({_BEHIND}) AND log_id <= ?"
        " ORDER BY log_id, segment_no, ordinal",
        [after[0], *after, last[0]],
    )
    told: defaultdict[Place, list[tuple[str, int]]] = defaultdict(list)
    for log_id, segment_no, reason, length_ns in found.fetchall():
        told[log_id, segment_no].append((reason, length_ns))
    return told


def _decision_leaves(snapshot: Snapshot, scope: Scope) -> Iterator[bytes]:
    for exclusion in decided_in_force(snapshot, ExclusionSet, scope.as_of):
        if not exclusion.what.ended and _touches(exclusion.what, scope.span):
            yield decision_leaf(exclusion.what)
    for gap in decided_in_force(snapshot, GapDeclared, scope.as_of):
        if _touches(gap.what, scope.span):
            yield decision_leaf(gap.what)
    for adjusted in decided_in_force(snapshot, Adjusted, scope.as_of):
        if scope.span.start_ns <= adjusted.what.at_ns < scope.span.end_ns:
            yield decision_leaf(adjusted.what)


def _touches(what: ExclusionSet | GapDeclared, span: Interval) -> bool:
    return what.from_ns < span.end_ns and what.to_ns > span.start_ns
