"""Pieces of SQL that every question to the projection shares."""

from typing import Any

import duckdb

from .usage_query import Scope

Connection = duckdb.DuckDBPyConnection


def in_force(table: str, scope: Scope) -> tuple[str, list[Any]]:
    """(a relation, its parameters): the rows of ``record`` or ``device_row`` in scope that nothing superseded."""
    tenant = " AND tenant = ?" if table == "record" and scope.tenant is not None else ""
    sql = (
        f"(SELECT e.* FROM (SELECT * FROM {table} WHERE log_id <= ? AND window_start_ns >= ?"
        f" AND window_start_ns < ?{tenant}) e"
        " ANTI JOIN (SELECT log_id, segment_no FROM superseded WHERE by_log_id <= ?) s"
        " ON s.log_id = e.log_id AND s.segment_no = e.segment_no)"
    )
    bounds = [scope.as_of, scope.span.start_ns, scope.span.end_ns]
    return sql, [*bounds, *([scope.tenant] if tenant else []), scope.as_of]
