"""Pieces of SQL that every question to the projection shares."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

import duckdb

from ..model.interval import NS_PER_S, Interval
from .usage_query import Scope

Connection = duckdb.DuckDBPyConnection
_WINDOW: Final = "e.window_s * 1000000000 + e.window_rest_ns"
_JOINED: Final = {
    "record": f"SELECT e.*, {_WINDOW} AS window_start_ns, d.* EXCLUDE (device_no, base_ns),"
    " p.* EXCLUDE (subject_no) FROM {} e JOIN device d USING (device_no) JOIN subject p USING (subject_no)",
    "device_row": f"SELECT e.*, {_WINDOW} AS window_start_ns, {_WINDOW} + wall_offset_ns AS wall_start_ns,"
    f" {_WINDOW} + wall_offset_ns - base_ns + boot_offset_ns AS boot_start_ns,"
    " (energy_gain_mj + coalesce(energy_start_mj, 0))::UBIGINT AS energy_end_mj,"
    " d.* EXCLUDE (device_no, base_ns) FROM {} e JOIN device d USING (device_no)",
}

OWNERS: Final = ("tenant", "project", "rule", "reason")
"""Columns of a record that a correction may say otherwise; what the host said has the prefix ``said_``."""


class AsSent(StrEnum):
    """Records as their hosts sent them, whatever was decided of them since."""

    IN_FORCE = "in_force"
    """That nothing superseded."""
    EVER = "ever"
    """Every revision."""


def in_force(
    table: str,
    scope: Scope,
    spans: Sequence[Interval] | None = None,
    *,
    voided: bool = False,
    sent: AsSent | None = None,
) -> tuple[str, list[Any]]:
    """(a relation, its parameters): the rows of ``record`` or ``device_row`` in scope that nothing superseded.

    Everything that reads either table reads it through here. ``spans``: only windows that start in one of
    these, instead of in the scope's. The relation has all of the table's columns, those of ``device`` and
    ``subject``, and the times and energy that are stored as distances. Records have the owner that a correction
    gave them; those that one has voided are not among them, or with ``voided`` only they are. With ``sent``
    corrections change nothing, and a scope's tenant is who had the record as sent.
    """
    windows, bounds = _in_spans([scope.span] if spans is None else spans)
    rows = f"(SELECT * FROM {table} WHERE log_id <= ? AND {windows})"
    parameters: list[Any] = [scope.as_of, *bounds]
    if sent is not AsSent.EVER:
        rows = (
            f"(SELECT e.* FROM {rows} e"
            " ANTI JOIN (SELECT log_id, segment_no FROM superseded WHERE by_log_id <= ?) s"
            " ON s.log_id = e.log_id AND s.segment_no = e.segment_no)"
        )
        parameters.append(scope.as_of)
    joined = _JOINED[table].format(rows)
    if table != "record":
        return f"({joined})", parameters
    if sent is not None:
        return _sent(joined, scope, parameters)
    tenant = "" if scope.tenant is None else " AND coalesce(o.tenant, r.tenant) = ?"
    sql = (
        f"(SELECT r.* REPLACE ({_CORRECTED}), {_SAID} FROM ({joined}) r"
        f" LEFT JOIN {corrections()} o USING (log_id, segment_no, ordinal)"
        f" WHERE {'' if voided else 'NOT '}coalesce(o.voided, false){tenant})"
    )
    return sql, [*parameters, scope.as_of, *([scope.tenant] if tenant else [])]


def _sent(joined: str, scope: Scope, parameters: list[Any]) -> tuple[str, list[Any]]:
    if scope.tenant is None:
        return f"(SELECT r.*, {_SAID} FROM ({joined}) r)", parameters
    return f"(SELECT r.*, {_SAID} FROM ({joined}) r WHERE r.tenant = ?)", [*parameters, scope.tenant]


def as_said(table: str) -> tuple[str, list[Any]]:
    """As ``in_force``, of everything that its hosts ever said, superseded or not, and no correction in it."""
    return f"({_JOINED[table].format(table)})", []


def told_last() -> tuple[str, list[Any]]:
    """Of all device rows those that nothing follows on: in force, or the last that came for a sealed period."""
    place = "log_id, segment_no"
    rows = (
        f"(SELECT * FROM device_row ANTI JOIN (SELECT {place} FROM superseded ANTI JOIN late USING (log_id, segment_no)"
        " UNION ALL SELECT old_log_id, old_segment_no FROM late) USING (log_id, segment_no))"
    )
    return f"({_JOINED['device_row'].format(rows)})", []


def with_segment(records: str) -> str:
    """A relation of records with the times of their segments: ``wall_start_ns``, ``boot_start_ns``, ``length_ns``."""
    wall = "r.window_s * 1000000000 + r.window_rest_ns + r.wall_offset_ns"
    return (
        f"(SELECT p.*, {wall} AS wall_start_ns, {wall} - d.base_ns + r.boot_offset_ns AS boot_start_ns, r.length_ns"
        f" FROM {records} p JOIN (SELECT * FROM device_row) r ON r.log_id = p.log_id AND r.segment_no = p.segment_no"
        " JOIN device d ON d.device_no = r.device_no)"
    )


_CORRECTED: Final = (
    "coalesce(o.tenant, r.tenant) AS tenant, coalesce(o.project, r.project) AS project,"
    " if(o.tenant IS NULL, r.rule, 'correction') AS rule, if(o.tenant IS NULL, r.reason, '') AS reason"
)
_SAID: Final = ", ".join(f"r.{name} AS said_{name}" for name in OWNERS)


def corrections() -> str:
    """A relation: what corrections say of each record that has one, its last owner and whether it is void.

    One parameter: the log id as of which.
    """
    return (
        "(SELECT log_id, segment_no, ordinal, arg_max(tenant, since_log_id) FILTER (kind = 'reassign') AS tenant,"
        " arg_max(project, since_log_id) FILTER (kind = 'reassign') AS project,"
        " arg_max(kind, since_log_id) FILTER (kind <> 'reassign') IS NOT DISTINCT FROM 'void' AS voided"
        " FROM correction WHERE since_log_id <= ? GROUP BY ALL)"
    )


def _in_spans(spans: Sequence[Interval]) -> tuple[str, list[int]]:
    """A condition on the start of the window; on whole seconds alone where that says it, for they pack best."""
    if not spans:
        return "false", []
    found = [_in_span(span) for span in spans]
    return f"({' OR '.join(sql for sql, _ in found)})", [bound for _, bounds in found for bound in bounds]


def _in_span(span: Interval) -> tuple[str, list[int]]:
    first_s, last_s = span.start_ns // NS_PER_S, (span.end_ns - 1) // NS_PER_S
    sql, bounds = "window_s >= ? AND window_s <= ?", [first_s, last_s]
    if span.start_ns % NS_PER_S or span.end_ns % NS_PER_S:
        sql += " AND window_s * 1000000000 + window_rest_ns >= ? AND window_s * 1000000000 + window_rest_ns < ?"
        bounds += [span.start_ns, span.end_ns]
    return f"({sql})", bounds
