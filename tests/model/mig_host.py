"""A GPU in MIG mode on paper: instances come and go, the driver counts energy for the whole only."""

from dataclasses import dataclass, field

from gputally.model.claims import Claim
from gputally.model.meter import Meter
from gputally.model.reading import Device, DeviceGap, DeviceReading, GapReason, HostReading, ProcessOnDevice
from gputally.model.usage import Batch, DeviceWindow, Partition, Slices, UsageRecord
from gputally.model.workload import Attribution, Holder, Owner, ProcessId, Workload

from .host import WALL_AT_BOOT_NS, S

GPU = "nvidia:GPU-0"
POWER_MW = 300_001


def instance(name: str, compute: int, memory: int) -> Device:
    return Device(f"nvidia:MIG-{name}", "NVIDIA A100 MIG", 10 << 30, slices=Slices(GPU, compute, 7, memory, 8))


def holder(pid: int, tenant: str) -> Holder:
    return Holder(ProcessId(pid, 1), Workload("docker", tenant), Owner(tenant, rule="1"), f"/docker/{tenant}", 7, 0)


@dataclass
class MigHost:
    """``instances`` and ``tenants`` (a tenant or None by instance id) may change between ticks."""

    instances: tuple[Device, ...] = ()
    tenants: dict[str, str] = field(default_factory=dict)
    partition: Partition | None = Partition(7, 8)
    claims: tuple[Claim, ...] = ()
    utilization: int | None = None
    batches: list[Batch] = field(default_factory=list)
    meter: Meter = field(default_factory=lambda: Meter("host", "boot", 60 * S, rules_version="r1"))

    def tick(self, at_ns: int, gap: GapReason | None = None) -> None:
        parent = Device(GPU, "NVIDIA A100", 80 << 30, partition=self.partition)
        known = (parent, *self.instances)
        parts = tuple(DeviceGap(d.device_id, at_ns, gap) if gap else self._look(d, at_ns) for d in known)
        holders = {pid + 1: holder(pid + 1, tenant) for pid, tenant in enumerate(sorted(set(self.tenants.values())))}
        reading = HostReading(at_ns, at_ns + WALL_AT_BOOT_NS, S, parts, known)
        self.keep(self.meter.observe(reading, Attribution("r1", holders), self.claims))

    def _look(self, device: Device, at_ns: int) -> DeviceReading:
        tenant = self.tenants.get(device.device_id)
        pids = sorted(set(self.tenants.values()))
        rows = () if tenant is None else (ProcessOnDevice(pids.index(tenant) + 1, 1 << 30),)
        energy_mj = None if device.slices else POWER_MW * at_ns // S
        return DeviceReading(device.device_id, at_ns, rows, self.utilization, None, energy_mj)

    def keep(self, batch: Batch | None) -> None:
        if batch is not None:
            self.batches.append(batch)

    def stop(self) -> None:
        self.keep(self.meter.cut())

    @property
    def rows(self) -> list[DeviceWindow]:
        return [row for batch in self.batches for row in batch.rows]

    @property
    def records(self) -> list[UsageRecord]:
        return [record for batch in self.batches for record in batch.records]

    def spent_mj(self) -> int:
        """All energy of the family: no millijoule is told twice, so the rows add up to the counter."""
        return sum((row.energy_end_mj or 0) - (row.energy_start_mj or 0) for row in self.rows)
