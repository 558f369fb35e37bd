"""Where sums come from: rollups as far as they tell the truth, the records for the rest. The same sum either way."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from .projection_buckets import Level, Pieces, put_together
from .projection_reader import Snapshot
from .projection_schema import RECORD_SUMS
from .projection_sql import in_force
from .usage_query import Scope

MOST_SPANS: Final = 64
"""To be read from the records beside rollups. More, and the records alone are quicker."""
_OF: Final = "host_id, gpu_model, compute, compute_of, memory, memory_of"
_COLUMNS: Final = {
    "record": (f"{_OF}, tenant, project", RECORD_SUMS),
    "device_row": (f"{_OF}, window_length_ns", ("unobserved_ns",)),
}
_WHOSE: Final = {"record": "tenant IS NOT NULL", "device_row": "tenant IS NULL"}


def summed(table: str, snapshot: Snapshot, scope: Scope, edges_ns: Sequence[int] = ()) -> tuple[str, list[Any]]:
    """(a relation, its parameters): what ``in_force`` gives, or sums of it that never cross an edge.

    Columns: those by which rollups are kept, ``window_start_ns`` (of sums: the start of the answer's
    window, or of the scope), ``aligned``, and the amounts. Of ``record``, or of ``device_row``.
    """
    pieces = pieces_of(snapshot, scope, edges_ns)
    if pieces is None or not pieces.buckets:
        relation, parameters = in_force(table, scope)
        return f"(SELECT *, {_ALIGNED} FROM {relation})", parameters
    raw = [_from_records(table, scope, pieces)] if pieces.raw else []
    parts = [*raw, *_from_rollups(table, scope, pieces)]
    return f"({' UNION ALL '.join(sql for sql, _ in parts)})", [each for _, some in parts for each in some]


_ALIGNED: Final = "window_start_ns % window_length_ns = 0 AS aligned"


def pieces_of(snapshot: Snapshot, scope: Scope, edges_ns: Sequence[int] = ()) -> Pieces | None:
    """None: rollups do not help, since they know only the newest state, or are in too many pieces."""
    if scope.as_of < snapshot.position:
        return None
    pieces = put_together(scope.span, edges_ns, snapshot.dirty.__contains__)
    return pieces if len(pieces.raw) <= MOST_SPANS else None


def _from_records(table: str, scope: Scope, pieces: Pieces) -> tuple[str, list[Any]]:
    relation, parameters = in_force(table, scope, pieces.raw)
    keys, amounts = _COLUMNS[table]
    sums = ", ".join(f"{name}::HUGEINT AS {name}" for name in amounts)
    return f"SELECT {keys}, {_ALIGNED}, window_start_ns, {sums} FROM {relation}", parameters


def _from_rollups(table: str, scope: Scope, pieces: Pieces) -> list[tuple[str, list[Any]]]:
    by_level: defaultdict[Level, list[tuple[int, int]]] = defaultdict(list)
    for bucket, window_ns in pieces.buckets:
        by_level[bucket.level].append((bucket.start_s, window_ns))
    keys, amounts = _COLUMNS[table]
    columns = f"{keys}, aligned, p.window_start_ns, {', '.join(amounts)}"
    tenant, of_tenant = (
        (" AND tenant = ?", [scope.tenant]) if table == "record" and scope.tenant is not None else ("", [])
    )
    parts: list[tuple[str, list[Any]]] = []
    for level, places in by_level.items():
        starts, windows = [list(column) for column in zip(*places, strict=True)]
        sql = (
            f"SELECT {columns} FROM (SELECT * FROM {level.table}"
            f" WHERE bucket_s BETWEEN ? AND ? AND {_WHOSE[table]}{tenant})"
            " JOIN (SELECT unnest(?::BIGINT[]) AS bucket_s, unnest(?::BIGINT[]) AS window_start_ns) p USING (bucket_s)"
        )
        parts.append((sql, [starts[0], starts[-1], *of_tenant, starts, windows]))
    return parts
