"""Decisions as rows of the projection: a table for each kind, a row for each decision, and none is ever changed."""

from collections.abc import Iterator
from dataclasses import astuple
from typing import Any, Final, get_origin

from ..model.decision_fields import name_of, parts_of, types_of
from ..model.decisions import KINDS, Corrected, Decided, Overlay

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


def _plain(value: Any) -> Any:
    parts = parts_of(value)
    if parts is not None:
        return parts
    return str(value) if isinstance(value, str) else value
