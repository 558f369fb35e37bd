"""What is metered: usage records, the conservation row of each device, and the batch they travel in."""

from dataclasses import dataclass
from enum import StrEnum

from .interval import Interval
from .workload import Owner, Workload


class ClaimClass(StrEnum):
    """Who has a device, weakest last: only the strongest class present shares its time."""

    SCHEDULER = "scheduler"
    LEASE = "lease"
    PROCESS = "process"


class Sharing(StrEnum):
    """How holders of the same class share a device."""

    EQUAL = "equal"
    BUSY = "busy"
    MEMORY = "memory"


class ClockState(StrEnum):
    """What is known of the wall clock that named the window."""

    UNKNOWN = "unknown"
    SYNCED = "synced"
    UNSYNCED = "unsynced"
    STEPPED = "stepped"


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one device's time inside one window, cut for all its workloads together.

    ``boot`` is CLOCK_BOOTTIME: durations come from it. ``wall_start_ns`` and
    ``window_start_ns`` are ns since 1970, UTC: they only name the time.
    """

    device_id: str
    generation: int
    gpu_model: str
    boot: Interval
    wall_start_ns: int
    window_start_ns: int
    window_length_ns: int
    clock: ClockState = ClockState.UNKNOWN


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One workload's part in one segment. All amounts are integers, 0 to 2**64 - 1.

    ``None`` is "could not be known", which is not zero.
    """

    segment: Segment
    workload: Workload
    owner: Owner
    allocated_ns: int
    held_ns: int
    blind_ns: int = 0
    inferred_ns: int = 0
    busy_ns: int = 0
    busy_known_ns: int = 0
    gpu_memory_byte_ms: int | None = None
    energy_mj: int | None = None
    claim: ClaimClass = ClaimClass.PROCESS
    sharing: Sharing = Sharing.EQUAL
    outside_claim: bool = False
    edge_uncertainty_ns: int = 0
    """The sum of what the edges on this device in this segment may be off by."""
    rules_version: str = ""
    evidence: str = ""
    session_id: str = ""
    revision: int = 0


@dataclass(frozen=True, slots=True)
class DeviceWindow:
    """The conservation row of one segment: its records and this row add up to the time that existed.

    sum(allocated_ns of its records) + idle_ns + sum(unobserved_ns) == segment.boot.length_ns
    """

    segment: Segment
    idle_ns: int
    unobserved_ns: tuple[tuple[str, int], ...]
    """(GapReason, ns), sorted by reason; no zero entries."""
    record_count: int
    records_digest: bytes
    energy_start_mj: int | None = None
    energy_end_mj: int | None = None
    idle_energy_mj: int = 0
    unobserved_energy_mj: int = 0
    revision: int = 0

    @property
    def unobserved_total_ns(self) -> int:
        return sum(length_ns for _, length_ns in self.unobserved_ns)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one frame carries: whole device segments of one host and one boot."""

    host_id: str
    boot_id: str
    records: tuple[UsageRecord, ...] = ()
    rows: tuple[DeviceWindow, ...] = ()
    complete_through_ns: int | None = None
    """Every window before this wall-clock instant is durable with all its rows; None: says nothing new."""
