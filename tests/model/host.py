"""A host on paper: what really happened is written down first, readings are taken from it, and the
truth is computed apart from anything the meter does."""

from dataclasses import dataclass, field
from itertools import pairwise

from gputally.model.claims import Claim
from gputally.model.meter import Meter
from gputally.model.reading import Device, DeviceGap, DeviceReading, GapReason, HostReading, ProcessOnDevice
from gputally.model.usage import Batch, DeviceWindow, Sharing, UsageRecord
from gputally.model.workload import Attribution, Holder, Owner, ProcessId, Unattributed, Workload

S = 1_000_000_000
WALL_AT_BOOT_NS = 1_750_000_020 * S  # a window's start, whatever its length up to a minute


@dataclass(frozen=True)
class Run:
    """One process on one device: in [start, end) of CLOCK_BOOTTIME."""

    pid: int
    tenant: str
    start_ns: int
    end_ns: int
    device: str = "nvidia:GPU-0"
    memory_bytes: int = 1 << 30
    sm_percent: int | None = None

    @property
    def process(self) -> ProcessId:
        return ProcessId(self.pid, self.start_ns)

    @property
    def holder(self) -> Holder:
        owner = Owner(self.tenant, rule="1")
        return Holder(self.process, Workload("docker", self.tenant), owner, f"/docker/{self.tenant}", 7, 0)


@dataclass(frozen=True)
class HostRun(Run):
    """A process of the host itself that no rule names."""

    @property
    def holder(self) -> Holder:
        return Holder(self.process, Workload("host", "/"), Owner(reason=Unattributed.HOST_PROCESS.value), "/", 1, 0)


@dataclass(frozen=True)
class ServiceRun(Run):
    """A process of a unit, named by its tenant, that no rule names."""

    @property
    def holder(self) -> Holder:
        owner = Owner(reason=Unattributed.NO_RULE.value)
        boundary = f"/system.slice/{self.tenant}"
        return Holder(self.process, Workload("service", self.tenant), owner, boundary, 9, 0)


@dataclass
class PaperHost:
    """Hands readings to a real Meter, tick by tick."""

    runs: list[Run] = field(default_factory=list)
    devices: tuple[str, ...] = ("nvidia:GPU-0",)
    window_s: int = 60
    sharing: Sharing = Sharing.EQUAL
    offset_ns: int = WALL_AT_BOOT_NS
    interval_ns: int = S
    rules_version: str = "r1"
    claims: tuple[Claim, ...] = ()
    batches: list[Batch] = field(default_factory=list)
    told_ns: int = -1
    suspended_ns: int = 0

    def __post_init__(self) -> None:
        self.meter = Meter("host", "boot", self.window_s * S, self.sharing, self.rules_version)

    def tick(self, at_ns: int, gaps: dict[str, GapReason] | None = None) -> None:
        parts = tuple(
            DeviceGap(name, at_ns, gaps[name]) if gaps and name in gaps else self.look(name, at_ns)
            for name in self.devices
        )
        self.observe(at_ns, parts)

    def observe(
        self, at_ns: int, parts: tuple[DeviceReading | DeviceGap, ...], attribution: Attribution | None = None
    ) -> None:
        reading = HostReading(
            at_ns, at_ns + self.offset_ns, self.interval_ns, parts, self.described, suspended_ns=self.suspended_ns
        )
        self._keep(self.meter.observe(reading, attribution or self.attribution(at_ns), self.claims))

    @property
    def described(self) -> tuple[Device, ...]:
        return tuple(Device(name, "NVIDIA H100", 80 << 30) for name in self.devices)

    def reading(self, at_ns: int) -> HostReading:
        """A tick without any gap."""
        parts = tuple(self.look(name, at_ns) for name in self.devices)
        return HostReading(at_ns, at_ns + self.offset_ns, self.interval_ns, parts, self.described)

    def look(self, device: str, at_ns: int) -> DeviceReading:
        present = [r for r in self.runs if r.device == device and r.start_ns <= at_ns < r.end_ns]
        rows = tuple(ProcessOnDevice(r.pid, r.memory_bytes, r.sm_percent) for r in present)
        power_mw = 300_000
        return DeviceReading(device, at_ns, rows, 50 if rows else 0, None, power_mw * at_ns // S)

    def attribution(self, at_ns: int) -> Attribution:
        holders = {r.pid: r.holder for r in self.runs if r.start_ns <= at_ns < r.end_ns}
        ended = {r.process: r.end_ns for r in self.runs if self.told_ns < r.end_ns <= at_ns}
        self.told_ns = at_ns
        return Attribution(self.rules_version, holders, ended)

    def stop(self) -> None:
        self._keep(self.meter.cut())

    def _keep(self, batch: Batch | None) -> None:
        if batch is not None:
            self.batches.append(batch)

    @property
    def records(self) -> list[UsageRecord]:
        return [record for batch in self.batches for record in batch.records]

    @property
    def rows(self) -> list[DeviceWindow]:
        return [row for batch in self.batches for row in batch.rows]

    def allocated_ns(self, tenant: str) -> int:
        return sum(r.allocated_ns for r in self.records if r.owner.tenant == tenant)

    def unobserved_ns(self, device: str = "nvidia:GPU-0") -> dict[str, int]:
        found: dict[str, int] = {}
        for row in self.rows:
            for reason, length_ns in row.unobserved_ns if row.segment.device_id == device else ():
                found[reason] = found.get(reason, 0) + length_ns
        return found


def true_shares(runs: list[Run], device: str, start_ns: int, end_ns: int) -> dict[str, tuple[int, int]]:
    """Each tenant's share of [start, end) as a fraction of nanoseconds, summed as (numerator, 5040)."""
    edges = sorted({start_ns, end_ns, *(t for r in runs for t in (r.start_ns, r.end_ns) if start_ns < t < end_ns)})
    found: dict[str, int] = {}
    for left, right in pairwise(edges):
        tenants = {r.tenant for r in runs if r.device == device and r.start_ns <= left and right <= r.end_ns}
        for tenant in tenants:
            found[tenant] = found.get(tenant, 0) + (right - left) * 5040 // len(tenants)
    return {tenant: (amount, 5040) for tenant, amount in found.items()}
