"""Across a reboot nothing is inferred, and nothing that exists is forgotten."""

from gputally.model.checkpoint import load, save
from gputally.model.meter import Meter
from gputally.model.reading import DeviceGap, GapReason
from gputally.model.refused import Refused
from gputally.model.usage import EventKind

from .host import WALL_AT_BOOT_NS, PaperHost, Run, S
from .test_meter import lawful

GPU, OTHER = "nvidia:GPU-0", "nvidia:GPU-1"


def reboot(host: PaperHost, away_s: int = 100, devices: tuple[str, ...] | None = None) -> PaperHost:
    """The host after it: another boot, whose clock starts at 0."""
    former = load(save(host.meter, Refused()))[0]
    after = PaperHost(
        host.runs, devices or host.devices, offset_ns=host.offset_ns + 60 * S + away_s * S, batches=host.batches
    )
    batch = former.cut()
    after.meter = Meter("host", "boot-2", 60 * S, rules_version="r1")
    after.meter.follow(former, "reboot")
    if batch is not None:
        after.batches.append(batch)
    return after


def test_a_reboot_is_a_gap_of_the_host_with_its_reason_and_nothing_is_inferred() -> None:
    host = PaperHost([Run(1, "a", 0, 9_000 * S)])
    for tick in range(50):
        host.tick(tick * S)
    after = reboot(host)
    for tick in range(20, 81):
        after.tick(tick * S)
    after.stop()
    (gap,) = [gap for batch in after.batches for gap in batch.host_gaps]
    assert (gap.reason, gap.former_boot_id, gap.device_ids) == ("reboot", "boot", (GPU,))
    assert (gap.wall.start_ns, gap.wall.end_ns) == (WALL_AT_BOOT_NS + 49 * S, after.offset_ns + 20 * S)
    assert sum(r.inferred_ns for r in after.records) == 0
    assert after.allocated_ns("a") == 49 * S + 60 * S


def test_a_device_that_did_not_come_back_after_a_reboot_exists_and_is_lost() -> None:
    host = PaperHost([], devices=(GPU, OTHER))
    for tick in range(50):
        host.tick(tick * S)
    after = reboot(host, devices=(GPU,))
    for tick in range(61):
        after.tick(tick * S)
    after.stop()
    lost = [r for b in after.batches if b.boot_id == "boot-2" for r in b.rows if r.segment.device_id == OTHER]
    assert [row.unobserved_ns for row in lost] == [(("gpu_lost", 20 * S),), (("gpu_lost", 40 * S),)]


def test_a_device_that_is_retired_exists_no_more() -> None:
    host = PaperHost([], devices=(GPU, OTHER))
    for tick in range(50):
        host.tick(tick * S)
    assert host.meter.retire(OTHER) and not host.meter.retire("nvidia:GPU-7")
    host.devices = (GPU,)
    for tick in range(50, 130):
        host.tick(tick * S)
    ends = [row.segment.boot.end_ns for row in host.rows if row.segment.device_id == OTHER]
    assert ends == [49 * S]
    assert host.batches[-1].complete_through_ns == WALL_AT_BOOT_NS + 120 * S


def test_host_rows_tile_the_boot() -> None:
    host = PaperHost([])
    for tick in (*range(30), *range(200, 260)):
        host.tick(tick * S)
    host.stop()
    rows = [row for batch in host.batches for row in batch.hosts]
    assert [row.boot.start_ns for row in rows[1:]] == [row.boot.end_ns for row in rows[:-1]]
    assert (rows[0].boot.start_ns, rows[-1].boot.end_ns) == (0, 259 * S)


def test_a_host_that_was_suspended_says_so() -> None:
    host = PaperHost([Run(1, "a", 0, 9_000 * S)])
    for at_s in (*range(20), *range(500, 520)):
        host.suspended_ns = 0 if at_s < 20 else 479 * S
        host.tick(at_s * S)
    host.stop()
    assert host.unobserved_ns() == {"suspend": 481 * S}
    lawful(host)


def test_what_happens_to_devices_and_workloads_is_told() -> None:
    host = PaperHost([Run(1, "a", 5 * S + 3, 30 * S + 5)])
    for tick in range(125):
        gap = 70 <= tick < 80
        parts = (DeviceGap(GPU, tick * S, GapReason.GPU_LOST),) if gap else (host.look(GPU, tick * S),)
        host.observe(tick * S, parts)
    told = [(e.kind, e.subject, e.boot_ns) for batch in host.batches for e in batch.events]
    assert told == [
        (EventKind.DEVICE_FOUND, GPU, 0),
        (EventKind.WORKLOAD_SEEN, "docker:a", 5 * S + 3),
        (EventKind.WORKLOAD_ENDED, "docker:a", 30 * S + 5),
        (EventKind.DEVICE_LOST, GPU, 70 * S),
        (EventKind.DEVICE_RETURNED, GPU, 80 * S),
    ]
