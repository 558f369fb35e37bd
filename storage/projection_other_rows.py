"""What a batch says besides usage, as rows of the projection: workloads, uptime, gaps, events, and when it arrived.

Times that would not fit the projection's integers, or whose sums would not, have no row.
"""

from collections.abc import Iterator
from typing import Any, Final

from ..model.usage import Batch, Event, HostGap, HostWindow, WorkloadWindow

Row = tuple[Any, ...]
FURTHEST_NS: Final = 2**62 - 1
CONSUMED: Final = (
    "cpu_us",
    "memory_byte_ms",
    "io_read_bytes",
    "io_write_bytes",
    "net_rx_bytes",
    "net_tx_bytes",
    "replica_ns",
)
_ORIGIN: Final = (("log_id", "BIGINT"), ("host_id", "VARCHAR"), ("boot_id", "VARCHAR"))
_WINDOW: Final = (
    ("boot_start_ns", "BIGINT"),
    ("length_ns", "BIGINT"),
    ("wall_start_ns", "BIGINT"),
    ("window_start_ns", "BIGINT"),
    ("window_length_ns", "BIGINT"),
)
OTHER_TABLES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    # Rows that came twice, in two epochs of a host, are there twice: who reads takes the newest of each.
    "workload_window": (
        *_ORIGIN,
        ("workload_kind", "VARCHAR"),
        ("workload_id", "VARCHAR"),
        ("tenant", "VARCHAR"),
        ("project", "VARCHAR"),
        *_WINDOW,
        *((name, "UBIGINT") for name in CONSUMED),  # NULL: not known
        ("replica_max", "UINTEGER"),
    ),
    "host_window": (*_ORIGIN, *_WINDOW, ("clock", "VARCHAR")),  # each stretch of a boot once
    "host_boot": (*_ORIGIN, ("first_wall_ns", "BIGINT")),  # a boot's first row, as it arrived
    "host_gap": (
        *_ORIGIN,
        ("wall_start_ns", "BIGINT"),
        ("length_ns", "BIGINT"),
        ("former_boot_id", "VARCHAR"),
        ("reason", "VARCHAR"),
        ("devices", "VARCHAR[]"),
    ),
    "event": (
        *_ORIGIN,
        ("kind", "VARCHAR"),
        ("subject", "VARCHAR"),
        ("boot_ns", "BIGINT"),
        ("wall_ns", "BIGINT"),
        ("detail", "VARCHAR"),
    ),
    "arrival": (
        ("log_id", "BIGINT"),
        ("host_id", "VARCHAR"),
        ("received_ns", "BIGINT"),
        ("window_start_ns", "BIGINT"),
        ("window_length_ns", "BIGINT"),
        ("segments", "UINTEGER"),
    ),
}


def workload_rows(log_id: int, batch: Batch) -> Iterator[Row]:
    for window in batch.workloads:
        if fits(window):
            owner = window.owner.tenant, window.owner.project
            used = (getattr(window, name) for name in (*CONSUMED, "replica_max"))
            yield (log_id, batch.host_id, batch.boot_id, *window.workload, *owner, *_window(window), *used)


def host_row(log_id: int, batch: Batch, window: HostWindow) -> Row:
    return (log_id, batch.host_id, batch.boot_id, *_window(window), window.clock.value)


def gap_rows(log_id: int, batch: Batch) -> Iterator[Row]:
    for gap in batch.host_gaps:
        if gap.wall.start_ns >= 0 and gap.wall.end_ns <= FURTHEST_NS:
            yield (log_id, batch.host_id, batch.boot_id, *_gap(gap))


def event_rows(log_id: int, batch: Batch) -> Iterator[Row]:
    for event in batch.events:
        yield (log_id, batch.host_id, batch.boot_id, *_event(event))


def arrival_rows(log_id: int, batch: Batch, received_ns: int) -> Iterator[Row]:
    """One for each window that the batch has rows of."""
    count: dict[tuple[int, int], int] = {}
    for row in batch.rows:
        window = row.segment.window_start_ns, row.segment.window_length_ns
        count[window] = count.get(window, 0) + 1
    for (start_ns, length_ns), segments in count.items():
        if 0 <= start_ns <= FURTHEST_NS and 0 < length_ns <= FURTHEST_NS - start_ns:
            yield log_id, batch.host_id, received_ns, start_ns, length_ns, segments


def fits(window: WorkloadWindow | HostWindow) -> bool:
    """Whether its times can be true."""
    length_ns = max(window.boot.length_ns, window.window_length_ns)
    first_ns = min(window.boot.start_ns, window.wall_start_ns, window.window_start_ns)
    last_ns = max(window.boot.start_ns, window.wall_start_ns, window.window_start_ns)
    return first_ns >= 0 and window.window_length_ns > 0 and last_ns + length_ns <= FURTHEST_NS


def _window(window: WorkloadWindow | HostWindow) -> Row:
    times = window.wall_start_ns, window.window_start_ns, window.window_length_ns
    return (window.boot.start_ns, window.boot.length_ns, *times)


def _gap(gap: HostGap) -> Row:
    return gap.wall.start_ns, gap.wall.length_ns, gap.former_boot_id, gap.reason, list(gap.device_ids)


def _event(event: Event) -> Row:
    return event.kind.value, event.subject, event.boot_ns, event.wall_ns, event.detail
