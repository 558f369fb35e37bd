"""Readings and batches for the telemetry tests."""

from dataclasses import dataclass

from gputally.model.interval import Interval
from gputally.model.reading import Device, DeviceGap, DeviceReading, GapReason, HostReading, ProcessOnDevice
from gputally.model.usage import Batch, DeviceWindow, Segment, UsageRecord
from gputally.model.workload import Owner, Workload

S = 1_000_000_000
H100 = "NVIDIA H100 80GB HBM3"
GOOD = Device("nvidia:GPU-11112222-aaaa-bbbb-cccc-000000000001", H100, 80 << 30)
LOST = Device("nvidia:GPU-33334444-aaaa-bbbb-cccc-000000000002", H100, 80 << 30)
PID = 987_654
SESSION = "session-of-somebody"
WORKLOAD = "4f2adeadbeef"


@dataclass(frozen=True)
class Config:
    """The table [telemetry]."""

    otlp: str | None = None
    prometheus: str | None = None


def sighting(energy_mj: int | None = 2_500, devices: tuple[Device, ...] = (GOOD, LOST)) -> HostReading:
    """One device half busy, one lost."""
    process = ProcessOnDevice(PID, 1 << 30, 50)
    good = DeviceReading(GOOD.device_id, S, (process,), 50, 3 << 30, energy_mj)
    return HostReading(S, S, S, (good, DeviceGap(LOST.device_id, S, GapReason.GPU_LOST)), devices)


def batch(
    tenant: str = "acme",
    allocated_s: int = 45,
    idle_s: int = 15,
    project: str = "vision",
    revision: int = 0,
    blind_ns: tuple[tuple[str, int], ...] = ((GapReason.NVML_HANG, 1),),
) -> Batch:
    """One record and its row."""
    segment = Segment(GOOD.device_id, 0, H100, Interval(0, 60 * S), 0, 0, 60 * S)
    record = UsageRecord(
        segment,
        Workload("docker", WORKLOAD),
        Owner(tenant, project),
        allocated_s * S,
        60 * S,
        busy_ns=S // 2,
        busy_known_ns=60 * S,
        energy_mj=1_500,
        session_id=SESSION,
        revision=revision,
    )
    row = DeviceWindow(segment, idle_s * S, blind_ns, 1, b"", revision=revision)
    return Batch("gpu-01", "boot", (record,), (row,))
