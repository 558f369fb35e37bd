"""The law of conservation, asked of what is stored: sums of each device, and how its segments tile its time.

The tiling is the arithmetic of ``model.conservation.tile`` told to DuckDB, since a
month of a large site has more rows than Python should walk; a test holds the two
against each other.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..model.interval import NS_PER_S, Interval
from .projection_hosts import declared_gaps
from .projection_reader import Snapshot
from .projection_sql import in_force
from .usage_query import Scope

MOST_FAULTS = 1_000
_DAY_NS = 86_400 * NS_PER_S


@dataclass(frozen=True, slots=True, order=True)
class DeviceId:
    host_id: str
    device_id: str


@dataclass(slots=True)
class Account:
    """The sums of one device over a span. Times of a GPU in MIG mode are not among them, but in ``slices``."""

    gpu_model: str
    parent_id: str = ""
    """Of a MIG instance."""
    slices: "SliceSums | None" = None
    """Of a GPU that was in MIG mode."""
    rows: int = 0
    existed_ns: int = 0
    idle_ns: int = 0
    records: int = 0
    allocated_ns: int = 0
    voided_ns: int = 0
    """Allocated by records that a correction has voided: they count for nobody, and their time is still told."""
    unobserved_ns: dict[str, int] = field(default_factory=dict[str, int])
    energy_start_mj: int | None = None
    energy_end_mj: int | None = None
    counted_mj: int | None = None
    """What the driver's counter went up by over the rows that have one; None: no row has one."""
    attributed_mj: int = 0
    voided_mj: int = 0
    idle_mj: int = 0
    unobserved_mj: int = 0


@dataclass(slots=True)
class SliceSums:
    """Slices times ns of a GPU in MIG mode: all of them, what its instances had, and what nobody had."""

    existed_ns: int
    """How long it was in MIG mode."""
    compute_ns: int
    memory_ns: int
    stranded_compute_ns: int
    stranded_memory_ns: int
    had_compute_ns: int = 0
    had_memory_ns: int = 0

    @property
    def differences_ns(self) -> tuple[int, int]:
        """What does not add up, of compute and of memory."""
        return (
            self.had_compute_ns + self.stranded_compute_ns - self.compute_ns,
            self.had_memory_ns + self.stranded_memory_ns - self.memory_ns,
        )


@dataclass(frozen=True, slots=True)
class Fault:
    """Where the segments of a device do not tile its time, in CLOCK_BOOTTIME of one boot."""

    device: DeviceId
    boot_id: str
    generation: int
    overlap: bool
    """True: metered twice. False: a hole, that is loss."""
    boot: Interval


def accounts(snapshot: Snapshot, scope: Scope, host_id: str | None) -> dict[DeviceId, Account]:
    """Every device with rows in scope, in order."""
    found = dict(_row_sums(snapshot, scope, host_id))
    for device, reason, length_ns in _unobserved(snapshot, scope, host_id):
        found[device].unobserved_ns[reason] = length_ns
    for device, count, allocated_ns, energy_mj in _record_sums(snapshot, scope, host_id):
        account = found.setdefault(device, Account(gpu_model=""))
        account.records, account.allocated_ns, account.attributed_mj = count, allocated_ns, energy_mj
    for device, count, voided_ns, voided_mj in _record_sums(snapshot, scope, host_id, voided=True):
        account = found[device]
        account.records, account.voided_ns, account.voided_mj = account.records + count, voided_ns, voided_mj
    for device, sums in _slice_sums(snapshot, scope, host_id):
        found[device].slices = sums
    return found


def _slice_sums(snapshot: Snapshot, scope: Scope, host_id: str | None) -> Iterator[tuple[DeviceId, SliceSums]]:
    rows, parameters = _of_host("device_row", scope, host_id)
    parents = snapshot.db.execute(
        "SELECT host_id, device_id, sum(length_ns)::HUGEINT, sum(length_ns::HUGEINT * partition_compute)::HUGEINT,"
        " sum(length_ns::HUGEINT * partition_memory)::HUGEINT, sum(stranded_compute_ns)::HUGEINT,"
        f" sum(stranded_memory_ns)::HUGEINT FROM {rows} WHERE partition_compute IS NOT NULL GROUP BY ALL ORDER BY ALL",
        parameters,
    ).fetchall()
    if not parents:
        return
    had = snapshot.db.execute(
        "SELECT host_id, parent_id, sum(length_ns::HUGEINT * compute)::HUGEINT,"
        f" sum(length_ns::HUGEINT * memory)::HUGEINT FROM {rows} WHERE parent_id IS NOT NULL GROUP BY ALL",
        parameters,
    ).fetchall()
    by_parent = {DeviceId(host, parent): (compute, memory) for host, parent, compute, memory in had}
    for host, device, existed, compute, memory, stranded_compute, stranded_memory in parents:
        had_compute, had_memory = by_parent.get(DeviceId(host, device), (0, 0))
        sums = SliceSums(existed, compute, memory, stranded_compute, stranded_memory, had_compute, had_memory)
        yield DeviceId(host, device), sums


def _row_sums(snapshot: Snapshot, scope: Scope, host_id: str | None) -> Iterator[tuple[DeviceId, Account]]:
    rows, parameters = _of_host("device_row", scope, host_id)
    known = "FILTER (energy_start_mj IS NOT NULL AND energy_end_mj IS NOT NULL)"
    sums = snapshot.db.execute(
        "SELECT host_id, device_id, arg_max(gpu_model, log_id), coalesce(max(parent_id), ''), count(*),"
        " (sum(length_ns) FILTER (partition_compute IS NULL))::HUGEINT, sum(idle_ns)::HUGEINT,"
        " arg_min(energy_start_mj, wall_start_ns), arg_max(energy_end_mj, wall_start_ns),"
        f" sum(energy_end_mj::HUGEINT - energy_start_mj) {known}, (sum(idle_energy_mj) {known})::HUGEINT,"
        f" (sum(unobserved_energy_mj) {known})::HUGEINT FROM {rows} GROUP BY host_id, device_id ORDER BY ALL",
        parameters,
    )
    for (
        host,
        device,
        model,
        parent,
        count,
        existed,
        idle,
        start,
        end,
        counted,
        idle_mj,
        unobserved_mj,
    ) in sums.fetchall():
        yield (
            DeviceId(host, device),
            Account(
                gpu_model=model,
                parent_id=parent,
                rows=count,
                existed_ns=existed or 0,
                idle_ns=idle,
                energy_start_mj=start,
                energy_end_mj=end,
                counted_mj=None if counted is None else int(counted),
                idle_mj=idle_mj or 0,
                unobserved_mj=unobserved_mj or 0,
            ),
        )


def _unobserved(snapshot: Snapshot, scope: Scope, host_id: str | None) -> Iterator[tuple[DeviceId, str, int]]:
    rows, parameters = _of_host("device_row", scope, host_id)
    found = snapshot.db.execute(
        f"SELECT host_id, device_id, reason, sum(u.length_ns)::HUGEINT FROM {rows} r"
        " JOIN unobserved u USING (log_id, segment_no) WHERE unobserved_ns > 0 GROUP BY ALL ORDER BY ALL",
        parameters,
    )
    for host, device, reason, length_ns in found.fetchall():
        yield DeviceId(host, device), reason, length_ns


def _record_sums(
    snapshot: Snapshot, scope: Scope, host_id: str | None, *, voided: bool = False
) -> Iterator[tuple[DeviceId, int, int, int]]:
    """Energy only of segments whose row has the counter: elsewhere there is nothing it could add up to."""
    records, parameters = _of_host("record", scope, host_id, voided=voided)
    rows, more = _of_host("device_row", scope, host_id)
    found = snapshot.db.execute(
        "SELECT host_id, device_id, count(*), sum(allocated_ns)::HUGEINT, (sum(energy_mj) FILTER (counted))::HUGEINT"
        f" FROM {records} r LEFT JOIN (SELECT log_id, segment_no, true AS counted FROM {rows}"
        " WHERE energy_start_mj IS NOT NULL AND energy_end_mj IS NOT NULL) e USING (log_id, segment_no)"
        " GROUP BY host_id, device_id ORDER BY ALL",
        [*parameters, *more],
    )
    for host, device, count, allocated_ns, energy_mj in found.fetchall():
        yield DeviceId(host, device), count, allocated_ns, energy_mj or 0


def faults(snapshot: Snapshot, scope: Scope, host_id: str | None, *, undeclared: bool = False) -> list[Fault]:
    """Holes and overlaps of the tiling that touch the scope, at most MOST_FAULTS.

    ``undeclared``: without the holes that, as far as they are in scope, lie within what was declared a gap by then.
    """
    # Neighbours on either side are looked at too, or a hole at the edge would not be one.
    margin_ns = max(_DAY_NS, scope.span.length_ns)
    wide = Scope(Interval(scope.span.start_ns - margin_ns, scope.span.end_ns + margin_ns), scope.as_of)
    rows, parameters = _of_host("device_row", wide, host_id)
    excuse, gaps = _unless_declared(snapshot, scope) if undeclared else ("", [])
    found = snapshot.db.execute(
        "SELECT host_id, device_id, boot_id, generation, start_ns, end_ns, before_ns FROM (SELECT *,"
        " max(end_ns) OVER earlier AS before_ns, max(wall_end_ns) OVER earlier AS wall_before_ns"
        " FROM (SELECT *, boot_start_ns AS start_ns, boot_start_ns + length_ns::BIGINT AS end_ns,"
        f" wall_start_ns + length_ns::BIGINT AS wall_end_ns FROM {rows})"
        " WINDOW earlier AS (PARTITION BY host_id, device_id, boot_id, generation ORDER BY start_ns, end_ns"
        " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING))"
        " WHERE before_ns <> start_ns AND least(wall_before_ns, wall_start_ns) < ?"
        f" AND greatest(wall_start_ns, wall_before_ns) > ?{excuse} ORDER BY ALL LIMIT ?",
        [*parameters, scope.span.end_ns, scope.span.start_ns, *gaps, MOST_FAULTS],
    )
    return [_fault(*row) for row in found.fetchall()]


def _unless_declared(snapshot: Snapshot, scope: Scope) -> tuple[str, list[object]]:
    """Gaps one behind the other are one; a hole at the edge must be declared only as far as it is in scope."""
    found = [(host, gap) for host, gaps in declared_gaps(snapshot, scope.as_of).items() for gap in _joined(gaps)]
    excuse = (
        " AND NOT (before_ns < start_ns AND EXISTS (SELECT 1 FROM (SELECT unnest(?::VARCHAR[]) AS gap_host,"
        " unnest(?::BIGINT[]) AS from_ns, unnest(?::BIGINT[]) AS to_ns) WHERE gap_host = host_id"
        " AND from_ns <= greatest(least(wall_before_ns, wall_start_ns), ?)"
        " AND to_ns >= least(greatest(wall_before_ns, wall_start_ns), ?)))"
    )
    hosts = [host for host, _ in found]
    starts, ends = [gap.start_ns for _, gap in found], [gap.end_ns for _, gap in found]
    return excuse, [hosts, starts, ends, scope.span.start_ns, scope.span.end_ns]


def _joined(gaps: Iterable[Interval]) -> list[Interval]:
    """``gaps`` is in order of time."""
    joined: list[Interval] = []
    for gap in gaps:
        if joined and gap.start_ns <= joined[-1].end_ns:
            joined[-1] = Interval(joined[-1].start_ns, max(joined[-1].end_ns, gap.end_ns))
        else:
            joined.append(gap)
    return joined


def _fault(host: str, device: str, boot_id: str, generation: int, start_ns: int, end_ns: int, before_ns: int) -> Fault:
    overlap = start_ns < before_ns
    boot = Interval(start_ns, min(before_ns, end_ns)) if overlap else Interval(before_ns, start_ns)
    return Fault(DeviceId(host, device), boot_id, generation, overlap, boot)


def _of_host(table: str, scope: Scope, host_id: str | None, *, voided: bool = False) -> tuple[str, list[object]]:
    relation, parameters = in_force(table, scope, voided=voided)
    if host_id is None:
        return relation, parameters
    return f"(SELECT * FROM {relation} WHERE host_id = ?)", [*parameters, host_id]
