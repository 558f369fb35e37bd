"""Questions about decisions. In force is, of those with one key, the last in the log as of a log id."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from ..model.decisions import Adjusted, Overlay
from .projection_decision_rows import decision_tables, read_decisions, table_of
from .projection_reader import Snapshot
from .usage_query import Scope

T = TypeVar("T")
_IDENTITY: Final = "host_id, boot_id, device_id, generation, boot_start_ns, workload_kind, workload_id, session_id"
"""What an overlay names a record by: the same in every revision of it."""


@dataclass(frozen=True, slots=True)
class Stored(Generic[T]):
    """A decision, or a part of one, and where it comes from."""

    log_id: int
    by: str
    at_ns: int
    why: str
    what: T


def decided_in_force(snapshot: Snapshot, kind: type[T], as_of: int | None = None) -> list[Stored[T]]:
    """The last decision of each key as of a log id, in the order of the log."""
    key = ", ".join(kind.KEY) or "1"  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType, reportUnknownMemberType]
    sql = f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY log_id DESC) = 1 ORDER BY log_id"
    return list(_read(snapshot, kind, f"WHERE log_id <= ? {sql}", [snapshot.position if as_of is None else as_of]))


def overlays_in_force(snapshot: Snapshot, scope: Scope) -> list[Stored[Overlay]]:
    """Of each record in the span the last reassignment, and the last word on whether it counts, in order of the log."""
    rest = (
        "WHERE log_id <= ? AND window_start_ns >= ? AND window_start_ns < ? QUALIFY row_number() OVER"
        f" (PARTITION BY {_IDENTITY}, kind = 'reassign' ORDER BY log_id DESC) = 1 ORDER BY log_id, usage_key"
    )
    return list(_read(snapshot, Overlay, rest, [scope.as_of, scope.span.start_ns, scope.span.end_ns]))


def decided(snapshot: Snapshot, kind: type[T], offset: int, limit: int) -> tuple[list[Stored[T]], int]:
    """(a page of all there ever were, newest first; how many there are)."""
    count = snapshot.db.execute(f"SELECT count(*) FROM {table_of(kind)}").fetchall()[0][0]
    return list(_read(snapshot, kind, "ORDER BY log_id DESC LIMIT ? OFFSET ?", [limit, offset])), count


def _read(snapshot: Snapshot, kind: type[T], rest: str, parameters: list[Any]) -> Iterator[Stored[T]]:
    for (log_id, by, at_ns, why), what in read_decisions(snapshot.db, kind, rest, parameters):
        yield Stored(log_id, by, at_ns, why, what)


def adjustments_in(
    snapshot: Snapshot, scope: Scope, offset: int = 0, limit: int | None = None
) -> list[Stored[Adjusted]]:
    """Amounts that were booked at an instant in the scope, by a person or because they came for a sealed period.

    ``limit`` None: all of them, in the order of the log.
    """
    rest, parameters = _booked(scope)
    page = f"{rest} ORDER BY log_id, id LIMIT ? OFFSET ?"
    return list(_read(snapshot, Adjusted, page, [*parameters, 2**62 if limit is None else limit, offset]))


def adjusted_sums(snapshot: Snapshot, scope: Scope) -> dict[str, tuple[int, int]]:
    """By tenant how many ``adjustments_in`` there are, and their ns in all."""
    rest, parameters = _booked(scope)
    found = snapshot.db.execute(
        "SELECT tenant, count(*), sum(ns)::HUGEINT"
        f" FROM (SELECT tenant, ns FROM {table_of(Adjusted)} {rest}) GROUP BY tenant ORDER BY tenant",
        parameters,
    ).fetchall()
    return {tenant: (count, int(ns)) for tenant, count, ns in found}


def _booked(scope: Scope) -> tuple[str, list[Any]]:
    """Which rows: an id can be booked again at another instant, so the last of each that was ever in scope decides."""
    in_scope = "at_ns >= ? AND at_ns < ?"
    parameters: list[Any] = [scope.span.start_ns, scope.span.end_ns]
    if scope.tenant is not None:
        in_scope, parameters = f"{in_scope} AND tenant = ?", [*parameters, scope.tenant]
    rest = (
        f"WHERE log_id <= ? AND id IN (SELECT id FROM {table_of(Adjusted)} WHERE {in_scope})"
        f" QUALIFY row_number() OVER (PARTITION BY id ORDER BY log_id DESC) = 1 AND {in_scope}"
    )
    return rest, [scope.as_of, *parameters, *parameters]


def log_id_of(snapshot: Snapshot, kind: type[Any], decided_ns: int) -> int | None:
    """Of the decision of this kind that was made at this instant; None: it is not folded yet."""
    found = snapshot.db.execute(
        f"SELECT log_id FROM {table_of(kind)} WHERE decided_ns = ? LIMIT 1", [decided_ns]
    ).fetchall()
    return found[0][0] if found else None


def last_decided_ns(snapshot: Snapshot) -> int:
    """When the newest decision of all was made; 0: there is none."""
    union = " UNION ALL ".join(f"SELECT max(decided_ns) AS ns FROM {table}" for table in decision_tables())
    found = snapshot.db.execute(f"SELECT coalesce(max(ns), 0) FROM ({union})").fetchall()
    return int(found[0][0])
