"""When records' time was had: amounts by the stretch of wall clock of their segment, for arithmetic on instants.

A segment's stretch is where the wall clock puts it, within its window; where the clock was so wrong that it lies
outside, its whole window.
"""

from collections.abc import Sequence
from typing import Any, Final

from .projection_reader import Snapshot
from .projection_slices import Fractions
from .projection_sql import in_force
from .usage_query import Scope

MOST_SPANS: Final = 300_000
_CHUNK: Final = 5_000
"""Rows made at once: the making of a large answer would hold up acknowledgements."""
_FROM: Final = "greatest(wall_start_ns, window_start_ns)"
_TO: Final = "least(wall_start_ns + length_ns::BIGINT, window_start_ns + window_length_ns)"
_STRETCHES: Final = (
    f"SELECT log_id, segment_no, if({_FROM} < {_TO}, {_FROM}, window_start_ns) AS start_ns,"
    f" if({_FROM} < {_TO}, {_TO}, window_start_ns + window_length_ns) AS end_ns"
)


class TooManySpans(ValueError):
    """More stretches than one answer may walk."""


def allocated_spans(
    snapshot: Snapshot,
    scope: Scope,
    slices: Fractions,
    keys: Sequence[str],
    where: str = "true",
    more: Sequence[Any] = (),
) -> list[tuple[Any, ...]]:
    """(values of ``keys``, start, end, parts of a GPU-ns allocated), in order. Raises TooManySpans.

    ``keys`` are SQL over records; ``where`` and its parameters say which. Stretches that follow each other at the
    same rate are one: a GPU held for a month is one stretch, not 43,200.
    """
    relation, parameters = _allocated(scope, slices, keys, where, more)
    names = "".join(f"k{number}, " for number in range(len(keys)))
    sql = (
        f"SELECT {names}min(start_ns), max(end_ns), sum(parts)::HUGEINT FROM ("
        f"SELECT *, sum(begins) OVER (PARTITION BY {names}rate ORDER BY start_ns, end_ns) AS run FROM ("
        f"SELECT *, if(rate IS NULL, 1, (lag(end_ns) OVER (PARTITION BY {names}rate ORDER BY start_ns, end_ns)"
        " IS DISTINCT FROM start_ns)::INTEGER) AS begins FROM ("
        # A rate that is no whole number is joined to none: whether two of them are equal is not decided here.
        "SELECT *, if(parts % (end_ns - start_ns) = 0, parts // (end_ns - start_ns), NULL) AS rate FROM ("
        f"SELECT {names}start_ns, end_ns, sum(parts)::HUGEINT AS parts FROM {relation} GROUP BY ALL))))"
        f" GROUP BY {names}rate, run ORDER BY ALL LIMIT ?"
    )
    return _fetch(snapshot, sql, [*parameters, MOST_SPANS + 1])


def allocated_between(
    snapshot: Snapshot, scope: Scope, slices: Fractions, keys: Sequence[str], edges_ns: Sequence[int]
) -> list[tuple[Any, ...]]:
    """As ``allocated_spans``, but stretches between the same two edges, which cut none of them, are one.

    ``edges_ns``: in order, the first at the scope's start, the last at its end. Raises TooManySpans.
    """
    relation, parameters = _allocated(scope, slices, keys, "true", ())
    names = "".join(f"k{number}, " for number in range(len(keys)))
    sql = (
        f"SELECT {names}if(end_ns <= edge_to_ns, edge_ns, start_ns) AS from_ns,"
        " if(end_ns <= edge_to_ns, edge_to_ns, end_ns) AS to_ns, sum(parts)::HUGEINT"
        f" FROM {relation} ASOF JOIN (SELECT unnest(?::BIGINT[]) AS edge_ns, unnest(?::BIGINT[]) AS edge_to_ns)"
        " ON start_ns >= edge_ns GROUP BY ALL ORDER BY ALL LIMIT ?"
    )
    return _fetch(snapshot, sql, [*parameters, list(edges_ns[:-1]), list(edges_ns[1:]), MOST_SPANS + 1])


def _allocated(
    scope: Scope, slices: Fractions, keys: Sequence[str], where: str, more: Sequence[Any]
) -> tuple[str, list[Any]]:
    records, parameters = in_force("record", scope)
    # Rows of all tenants: the conservation row of a segment has none.
    rows, row_parameters = in_force("device_row", Scope(scope.span, scope.as_of))
    named = "".join(f"{key} AS k{number}, " for number, key in enumerate(keys))
    sql = (
        f"((SELECT {named}log_id, segment_no, {slices.weighted('allocated_ns')} AS parts"
        f" FROM {records} WHERE allocated_ns > 0 AND ({where}))"
        f" JOIN ({_STRETCHES} FROM {rows}) USING (log_id, segment_no))"
    )
    return sql, [*parameters, *more, *row_parameters]


def _fetch(snapshot: Snapshot, sql: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    found = snapshot.db.execute(sql, parameters)
    rows: list[tuple[Any, ...]] = []
    while chunk := found.fetchmany(_CHUNK):
        rows += chunk
    if len(rows) > MOST_SPANS:
        raise TooManySpans(f"more than {MOST_SPANS} stretches of time")
    return rows


def models_in(snapshot: Snapshot, scope: Scope) -> list[str]:
    """The GPU models that have rows in the span."""
    rows, parameters = in_force("device_row", Scope(scope.span, scope.as_of))
    found = snapshot.db.execute(f"SELECT DISTINCT gpu_model FROM {rows} ORDER BY ALL", parameters).fetchall()
    return [row[0] for row in found]
