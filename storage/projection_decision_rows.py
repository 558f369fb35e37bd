"""Decisions as rows of the projection: a table for each kind, a row for each decision, and none is ever changed."""

from collections.abc import Iterator
from dataclasses import astuple
from typing import Any, Final, get_origin

import duckdb

from ..model.decision_fields import name_of, parts_of, types_of
from ..model.decisions import KINDS, Corrected, Decided, Decision, Overlay

OVERLAYS: Final = "overlay"
ORIGIN: Final = (("log_id", "BIGINT"), ("decided_by", "VARCHAR"), ("decided_ns", "BIGINT"), ("why", "VARCHAR"))
_SQL_TYPES: Final[dict[Any, str]] = {bool: "BOOLEAN", int: "BIGINT", bytes: "BLOB"}


def decision_tables() -> dict[str, tuple[tuple[str, str], ...]]:
    """(name, SQL type) of each column, by table."""
    return {table_of(kind): (*ORIGIN, *columns_of(row_kind(kind))) for kind in KINDS}


def decision_rows(log_id: int, decided: Decided) -> tuple[str, list[tuple[Any, ...]]]:
    """(table, rows) of one decision."""
    origin = log_id, decided.by, decided.at_ns, decided.why
    parts: tuple[Any, ...] = decided.what.overlays if isinstance(decided.what, Corrected) else (decided.what,)
    return table_of(type(decided.what)), [(*origin, *map(_plain, astuple(part))) for part in parts]


def row_kind(kind: Any) -> Any:
    """What one row is: of a correction each of its overlays."""
    return Overlay if kind is Corrected else kind


def table_of(kind: type[Any]) -> str:
    return OVERLAYS if kind in (Corrected, Overlay) else name_of(kind)


def columns_of(kind: Any) -> Iterator[tuple[str, str]]:
    for name, hint in types_of(kind).items():
        yield name, "VARCHAR[]" if get_origin(hint) is tuple else _SQL_TYPES.get(hint, "VARCHAR")


def read_decisions(
    db: duckdb.DuckDBPyConnection, kind: Any, rest: str, parameters: list[Any]
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """(what ORIGIN names, the decision or the part of one) of each row; ``rest`` is what comes behind FROM."""
    made = row_kind(kind)
    names = ", ".join(name for name, _ in (*ORIGIN, *columns_of(made)))
    rows = db.execute(f"SELECT {names} FROM {table_of(kind)} {rest}", parameters).fetchall()
    hints = types_of(made).values()
    for row in rows:
        values = [_value(hint, value) for hint, value in zip(hints, row[len(ORIGIN) :], strict=True)]
        yield row[: len(ORIGIN)], made(*values)


def replaced_by(db: duckdb.DuckDBPyConnection, what: Decision) -> Decision | None:
    """The last decision with the key of ``what``: none takes the place of a correction."""
    if isinstance(what, Corrected):
        return None
    keys = [_plain(getattr(what, name)) for name in what.KEY]
    where = " AND ".join(f"{name} = ?" for name in what.KEY) or "true"
    found = read_decisions(db, type(what), f"WHERE {where} ORDER BY log_id DESC LIMIT 1", keys)
    return next((old for _, old in found), None)


def _value(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    return tuple(value) if get_origin(hint) is tuple else hint(value)


def _plain(value: Any) -> Any:
    parts = parts_of(value)
    if parts is not None:
        return parts
    return str(value) if isinstance(value, str) else value
