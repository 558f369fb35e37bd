"""What a daemon would have written in each window, as frames: one at each window's end, seq 1 for the first."""

from collections.abc import Iterator
from typing import Final

from ...model.identity import records_digest
from ...model.interval import Interval
from ...model.reading import GapReason
from ...model.usage import Batch, ClockState, DeviceWindow, HostWindow, Segment, UsageRecord
from ...model.workload import Owner, Workload
from ...proto.convert import encode_batch
from ...storage.frame import Frame, genesis_hash, make_frame
from .plan import FleetPlan, Share

MOST_GPUS: Final = 64
"""Of a host, so that a window always fits into one frame."""
_BOOT_BEFORE_NS: Final = 1_000_000_000
"""The host's metering began so long after its boot."""


def frames_of(plan: FleetPlan, host: int, epoch: bytes) -> Iterator[Frame]:
    """The host's chain, made as it is asked for. The frame of window n has seq n + 1."""
    previous = genesis_hash(plan.host_id(host), epoch)
    for window in range(plan.windows):
        batch = batch_of(plan, host, window, epoch.hex())
        frame = make_frame(epoch, window + 1, previous, len(batch.records), encode_batch(batch))
        previous = frame.hash
        yield frame


def batch_of(plan: FleetPlan, host: int, window: int, boot_id: str) -> Batch:
    """All of one window: records, conservation rows, and the watermark behind it."""
    start_ns = plan.start_ns + window * plan.window_ns
    boot_ns = _BOOT_BEFORE_NS + window * plan.window_ns
    boot = Interval(boot_ns, boot_ns + plan.window_ns)
    records: list[UsageRecord] = []
    rows: list[DeviceWindow] = []
    for gpu in range(plan.gpus):
        device = plan.device_id(host, gpu)
        segment = Segment(
            device, 0, plan.gpu_model(host), boot, start_ns, start_ns, plan.window_ns, ClockState.SYNCED
        )  # fmt: skip
        use = plan.use(host, gpu, window)
        its_records = [_record(plan, segment, share) for share in use.shares]
        lost = ((str(GapReason.NVML_HANG), use.unobserved_ns),) if use.unobserved_ns else ()
        rows.append(DeviceWindow(segment, use.idle_ns, lost, len(its_records), records_digest(its_records)))
        records += its_records
    uptime = HostWindow(boot, start_ns, start_ns, plan.window_ns, ClockState.SYNCED)
    host_id, through_ns = plan.host_id(host), start_ns + plan.window_ns
    return Batch(host_id, boot_id, tuple(records), tuple(rows), through_ns, hosts=(uptime,))


def _record(plan: FleetPlan, segment: Segment, share: Share) -> UsageRecord:
    tenant = plan.tenant(share.tenant)
    workload = Workload("docker", f"{tenant}-job")
    return UsageRecord(segment, workload, Owner(tenant, plan.prefix, "simulated"), share.allocated_ns, share.held_ns)
