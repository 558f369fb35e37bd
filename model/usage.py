"""What is metered: usage records, the conservation row of each device, and the batch they travel in."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from .interval import Interval
from .predecessor import Predecessor
from .signing import SignedCheckpoint, SigningKey
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
    CLAIMED = "claimed"
    """By claimed units; not to be configured, for it follows from the claims."""


POLICIES = (Sharing.EQUAL, Sharing.BUSY, Sharing.MEMORY)
"""Those that can be chosen."""

SHARING_VERSION = 1
"""Of what the policies mean; a record carries it, so that it can be recomputed years later."""


class Slices(NamedTuple):
    """A MIG instance's part of its GPU, from the hardware's attributes, never from a profile's name."""

    parent_id: str
    compute: int
    compute_of: int
    memory: int
    memory_of: int


class Partition(NamedTuple):
    """A GPU in MIG mode: how many slices it has in all."""

    compute_of: int
    memory_of: int


class EnergySource(StrEnum):
    """Where a segment's energy comes from."""

    NONE = ""
    COUNTER = "counter"
    POWER = "power"
    """Integrated from power readings, on boards without a counter."""
    SLICES = "slices"
    """A part of the GPU's counter, split by slice-time."""


class ClockState(StrEnum):
    """What is known of the wall clock that named the window."""

    UNKNOWN = "unknown"
    SYNCED = "synced"
    UNSYNCED = "unsynced"
    STEPPED = "stepped"


class EventKind(StrEnum):
    """What may happen to workloads, devices and the host."""

    WORKLOAD_SEEN = "workload_seen"
    WORKLOAD_ENDED = "workload_ended"
    DEVICE_FOUND = "device_found"
    DEVICE_LOST = "device_lost"
    DEVICE_RETURNED = "device_returned"
    DEVICE_CHANGED = "device_changed"
    DEVICE_REMOVED = "device_removed"
    DEVICE_RETIRED = "device_retired"
    DRIVER_EPOCH = "driver_epoch"
    XID = "xid"
    CLOCK_STEPPED = "clock_stepped"
    NO_DEVICES = "no_devices"


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
    slices: Slices | None = None
    partition: Partition | None = None


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
    sharing_version: int = SHARING_VERSION
    outside_claim: bool = False
    """It held the device while somebody of a stronger class had it, and so has no share of its time."""
    edge_uncertainty_ns: int = 0
    """The sum of what the edges on this device in this segment may be off by."""
    edges: str = ""
    """How the workload's edges in this segment are known: words of holding.Edge, sorted, with commas."""
    rules_version: str = ""
    evidence: str = ""
    session_id: str = ""
    revision: int = 0


@dataclass(frozen=True, slots=True)
class DeviceWindow:
    """The conservation row of one segment: its records and this row add up to the time that existed.

    sum(allocated_ns of its records) + idle_ns + sum(unobserved_ns) == segment.boot.length_ns

    A GPU in MIG mode (``segment.partition``) has no time of its own but what no instance has:
    of * length == sum(slices * length of its instances' rows) + stranded, for compute and for memory.
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
    energy_source: EnergySource = EnergySource.NONE
    interval_ns: int = 0
    """The longest cadence at which it was sampled."""
    stranded_compute_ns: int = 0
    """Compute slices times ns that no instance had."""
    stranded_memory_ns: int = 0
    revision: int = 0

    @property
    def unobserved_total_ns(self) -> int:
        return sum(length_ns for _, length_ns in self.unobserved_ns)


@dataclass(frozen=True, slots=True)
class WorkloadWindow:
    """What a workload used of its host, apart from devices: once for each workload, on however many GPUs it runs.

    ``None`` is "could not be known". Counters are of its cgroup and network namespace.
    """

    workload: Workload
    owner: Owner
    boot: Interval
    wall_start_ns: int
    window_start_ns: int
    window_length_ns: int
    cpu_us: int | None = None
    memory_byte_ms: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    net_rx_bytes: int | None = None
    net_tx_bytes: int | None = None
    replica_ns: int | None = None
    replica_max: int | None = None


@dataclass(frozen=True, slots=True)
class HostWindow:
    """The host was up, in one boot, for all of ``boot`` (CLOCK_BOOTTIME)."""

    boot: Interval
    wall_start_ns: int
    window_start_ns: int
    window_length_ns: int
    clock: ClockState = ClockState.UNKNOWN


@dataclass(frozen=True, slots=True)
class HostGap:
    """The host was off, or nobody metered since it was: wall time, for no other clock lasts that long."""

    wall: Interval
    former_boot_id: str
    reason: str
    device_ids: tuple[str, ...]
    """The devices that existed all the while."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at an instant. ``subject`` is a device's id or a workload's subject_id."""

    kind: EventKind
    subject: str
    boot_ns: int
    wall_ns: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one frame carries: whole device segments of one host and one boot, and what else there is to say."""

    host_id: str
    boot_id: str
    records: tuple[UsageRecord, ...] = ()
    rows: tuple[DeviceWindow, ...] = ()
    complete_through_ns: int | None = None
    """Every window before this wall-clock instant is durable with all its rows; None: says nothing new."""
    workloads: tuple[WorkloadWindow, ...] = ()
    hosts: tuple[HostWindow, ...] = ()
    host_gaps: tuple[HostGap, ...] = ()
    events: tuple[Event, ...] = ()
    keys: tuple[SigningKey, ...] = ()
    checkpoints: tuple[SignedCheckpoint, ...] = ()
    """Of frames before this one, by the last of the keys."""
    predecessor: Predecessor | None = None
    """Only where this epoch, or one that goes on in it, continues another."""
