"""What the projection holds of a period, as the leaves of its seal: docs/formats.md says which, and their bytes."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from ..model.decisions import Adjusted, ExclusionSet, GapDeclared
from ..model.identity import encode_segment_key
from ..model.interval import Interval
from ..model.sealing import decision_leaf, record_leaf, row_leaf
from .projection_decisions import decided_in_force, overlays_in_force
from .projection_lists import Picked, StoredRecord, records
from .projection_reader import Snapshot
from .projection_sql import AsSent, in_force
from .usage_query import Scope

_PAGE: Final = 10_000
_SENT: Final = Picked(sent=AsSent.IN_FORCE)


def period_leaves(
    snapshot: Snapshot, scope: Scope, notice: Callable[[StoredRecord, bytes], None] | None = None
) -> Iterator[bytes]:
    """In no order. Rows are read in pages: memory does not grow with the period, but for what people decided of it.

    ``notice`` is shown each record with its leaf.
    """
    for stored in sent_records(snapshot, scope):
        leaf = record_leaf(stored.usage_key, stored.record.revision, stored.digest)
        if notice is not None:
            notice(stored, leaf)
        yield leaf
    yield from _row_leaves(snapshot, scope)
    for overlay in overlays_in_force(snapshot, scope):
        yield decision_leaf(overlay.what)
    yield from _decision_leaves(snapshot, scope)


def sent_records(snapshot: Snapshot, scope: Scope, picked: Picked = _SENT) -> Iterator[StoredRecord]:
    """Whatever the number of them."""
    after = (0, 0, 0)
    while page := records(snapshot, scope, after, _PAGE, picked):
        yield from page
        after = page[-1].place


def _row_leaves(snapshot: Snapshot, scope: Scope) -> Iterator[bytes]:
    relation, parameters = in_force("device_row", scope)
    after: tuple[int, int] = (0, -1)
    while True:
        rows = _rows(snapshot, relation, [*parameters, after[0], *after], _PAGE)
        for _, _, host_id, boot_id, device_id, generation, start_ns, revision, digest in rows:
            key = encode_segment_key(host_id, boot_id, device_id, generation, start_ns)
            yield row_leaf(key, revision, digest)
        if not rows:
            return
        after = rows[-1][:2]


def _rows(snapshot: Snapshot, relation: str, parameters: list[Any], limit: int) -> list[Any]:
    return snapshot.db.execute(
        "SELECT log_id, segment_no, host_id, boot_id, device_id, generation, boot_start_ns, revision, digest"
        f" FROM {relation} WHERE log_id > ? OR (log_id = ? AND segment_no > ?) ORDER BY log_id, segment_no LIMIT ?",
        [*parameters, limit],
    ).fetchall()


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
