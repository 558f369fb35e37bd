"""Pieces of SQL that every question to the projection shares."""

from enum import StrEnum
from typing import Any, Final

import duckdb

from .usage_query import Scope

Connection = duckdb.DuckDBPyConnection

IDENTITY: Final = "host_id, boot_id, device_id, generation, boot_start_ns, workload_kind, workload_id, session_id"
"""What an overlay names a record by: the same in every revision of it."""


class AsSent(StrEnum):
    """Records as their hosts sent them, whatever was decided of them since."""

    IN_FORCE = "in_force"
    """That nothing superseded."""
    EVER = "ever"
    """Every revision."""


def in_force(table: str, scope: Scope, *, voided: bool = False, sent: AsSent | None = None) -> tuple[str, list[Any]]:
    """(a relation, its parameters): the rows of ``record`` or ``device_row`` in scope that nothing superseded.

    Records have the owner that a correction gave them. Those that one has voided are not among them; with ``voided``
    only they are. With ``sent`` corrections change nothing, and a scope's tenant is who had the record as sent.
    """
    relation, parameters = _ever(table, scope) if sent is AsSent.EVER else _unsuperseded(table, scope)
    if table != "record":
        return relation, parameters
    if sent is not None:
        if scope.tenant is None:
            return relation, parameters
        return f"(SELECT * FROM {relation} WHERE tenant = ?)", [*parameters, scope.tenant]
    overlaid, more = _overlays(scope)
    tenant = "" if scope.tenant is None else " AND coalesce(o.tenant, e.tenant) = ?"
    sql = (
        "(SELECT e.* REPLACE (coalesce(o.tenant, e.tenant) AS tenant, coalesce(o.project, e.project) AS project,"
        " if(o.tenant IS NULL, e.rule, 'correction') AS rule, if(o.tenant IS NULL, e.reason, '') AS reason)"
        f" FROM {relation} e LEFT JOIN {overlaid} o USING ({IDENTITY})"
        f" WHERE {'' if voided else 'NOT '}coalesce(o.voided, false){tenant})"
    )
    return sql, [*parameters, *more, *([scope.tenant] if tenant else [])]


def _ever(table: str, scope: Scope) -> tuple[str, list[Any]]:
    sql = f"(SELECT * FROM {table} WHERE log_id <= ? AND window_start_ns >= ? AND window_start_ns < ?)"
    return sql, [scope.as_of, scope.span.start_ns, scope.span.end_ns]


def _unsuperseded(table: str, scope: Scope) -> tuple[str, list[Any]]:
    sql = (
        f"(SELECT e.* FROM (SELECT * FROM {table} WHERE log_id <= ? AND window_start_ns >= ?"
        " AND window_start_ns < ?) e"
        " ANTI JOIN (SELECT log_id, segment_no FROM superseded WHERE by_log_id <= ?) s"
        " ON s.log_id = e.log_id AND s.segment_no = e.segment_no)"
    )
    return sql, [scope.as_of, scope.span.start_ns, scope.span.end_ns, scope.as_of]


def _overlays(scope: Scope) -> tuple[str, list[Any]]:
    """What corrections say of each record that has one: its last owner, and whether it is void."""
    sql = (
        f"(SELECT {IDENTITY}, arg_max(tenant, log_id) FILTER (kind = 'reassign') AS tenant,"
        " arg_max(project, log_id) FILTER (kind = 'reassign') AS project,"
        " arg_max(kind, log_id) FILTER (kind <> 'reassign') IS NOT DISTINCT FROM 'void' AS voided"
        " FROM overlay WHERE log_id <= ? AND window_start_ns >= ? AND window_start_ns < ? GROUP BY ALL)"
    )
    return sql, [scope.as_of, scope.span.start_ns, scope.span.end_ns]
