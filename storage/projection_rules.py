"""Questions about rule sets, and about tenants that usage names."""

from dataclasses import dataclass

from ..model.workload import UNATTRIBUTED
from .projection_reader import Snapshot
from .projection_sql import in_force
from .usage_query import Scope


@dataclass(frozen=True, slots=True)
class NamedTenant:
    """A tenant that records name; ``rules_version``: one of those that decided so, the greatest by name."""

    tenant: str
    allocated_ns: int
    hosts: int
    rules_version: str


def is_version_used(snapshot: Snapshot, version: str) -> bool:
    """Whether a rule set of this name was ever decided."""
    return bool(snapshot.db.execute("SELECT 1 FROM rules_set WHERE version = ? LIMIT 1", [version]).fetchall())


def unknown_tenants(snapshot: Snapshot, scope: Scope, offset: int, limit: int) -> tuple[list[NamedTenant], int]:
    """(a page of the tenants in usage that the registry has never heard of, by name; how many there are)."""
    records, parameters = in_force("record", scope)
    rows = snapshot.db.execute(
        "SELECT tenant, sum(allocated_ns)::HUGEINT, count(DISTINCT host_id), max(rules_version)"
        f" FROM {records} WHERE tenant <> ? AND tenant NOT IN"
        " (SELECT tenant FROM tenant_set WHERE log_id <= ?) GROUP BY tenant ORDER BY tenant",
        [*parameters, UNATTRIBUTED, scope.as_of],
    ).fetchall()
    return [NamedTenant(*row) for row in rows[offset : offset + limit]], len(rows)
