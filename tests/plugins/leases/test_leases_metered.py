"""From the file to the records: what a lease comes to in the meter."""

from pathlib import Path

import pytest

from gputally.daemon.claims import Claims
from gputally.model.conservation import check_batch
from gputally.model.meter import Meter
from gputally.model.reading import Device, DeviceGap, DeviceReading, GapReason, HostReading
from gputally.model.usage import Batch, ClaimClass, DeviceWindow, Sharing, UsageRecord
from gputally.model.workload import Attribution
from gputally.plugins.leases import LeaseFile

from .paper import BOOT_WALL_NS, GPU, MIG, S, at, lease, write

GPUS = (Device(GPU, "H100", 1),)
SECOND = 1 / 3600


class LeasedHost:
    """Ticks of one second from boot on, without any process."""

    def __init__(self, path: Path, text: str, devices: tuple[Device, ...] = GPUS) -> None:
        write(path, text)
        self.path, self.devices = path, devices
        self.claims = Claims([LeaseFile(path)])
        self.meter = Meter("host", "boot", 60 * S)
        self.offset_ns = BOOT_WALL_NS
        self.batches: list[Batch] = []

    def run(self, first_s: int, last_s: int, hung: bool = False) -> None:
        for second in range(first_s, last_s):
            at_ns = second * S
            parts = tuple(
                DeviceGap(device.device_id, at_ns, GapReason.NVML_HANG)
                if hung
                else DeviceReading(device.device_id, at_ns)
                for device in self.devices
            )
            # The two clocks are never read at quite the same instant.
            wall_ns = at_ns + self.offset_ns + second % 3 * 3_000_000
            reading = HostReading(at_ns, wall_ns, S, parts, devices=self.devices)
            self.keep(self.meter.observe(reading, Attribution("r1"), self.claims.told(reading)))

    def stop(self) -> None:
        self.keep(self.meter.cut())
        for batch in self.batches:
            assert check_batch(batch) == []

    def keep(self, batch: Batch | None) -> None:
        self.batches += [batch] if batch is not None else []

    @property
    def records(self) -> list[UsageRecord]:
        return [record for batch in self.batches for record in batch.records]

    @property
    def rows(self) -> list[DeviceWindow]:
        return [row for batch in self.batches for row in batch.rows]

    def allocated_ns(self, tenant: str) -> int:
        return sum(record.allocated_ns for record in self.records if record.owner.tenant == tenant)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leases.toml"


def test_a_leased_gpu_without_a_process_is_allocated_all_the_time_and_cuts_no_more_segments(path: Path) -> None:
    """The clocks jitter by more than a millisecond, and an end is to come: neither is a reason to cut."""
    host, free = LeasedHost(path, lease(from_=at(-1), to=at(5))), LeasedHost(path.with_name("none.toml"), "")
    for each in (host, free):
        each.run(0, 181)
        each.stop()
    assert host.allocated_ns("acme") == 180 * S
    assert [row.segment.boot for row in host.rows] == [row.segment.boot for row in free.rows]
    assert {(each.claim, each.sharing, each.held_ns) for each in host.records} == {
        (ClaimClass.LEASE, Sharing.CLAIMED, 0)
    }
    assert {(each.owner.rule, each.evidence) for each in host.records} == {("lease l1", "lease file: l1")}


def test_a_lease_is_metered_from_its_start_to_its_end_and_no_second_more(path: Path) -> None:
    host = LeasedHost(path, lease(from_=at(20.5 * SECOND), to=at(100.25 * SECOND)))
    host.run(0, 181)
    host.stop()
    # Each edge is as far off as the two clocks of the reading that saw it come.
    assert abs(host.allocated_ns("acme") - 79_750_000_000) <= 6_000_000
    assert sum(row.idle_ns for row in host.rows) + host.allocated_ns("acme") == 180 * S


def test_a_lease_goes_on_blind_while_the_driver_hangs(path: Path) -> None:
    host = LeasedHost(path, lease())
    host.run(0, 60)
    host.run(60, 120, hung=True)
    host.run(120, 181)
    host.stop()
    assert host.allocated_ns("acme") == 180 * S
    assert sum(record.blind_ns for record in host.records) == 61 * S


def test_a_lease_that_is_written_while_the_daemon_runs_takes_over(path: Path) -> None:
    host = LeasedHost(path, lease("a"))
    host.run(0, 30)
    write(path, lease("a", to=at(40 * SECOND)) + lease("b", tenant='"wile"', from_=at(40 * SECOND)))
    host.run(30, 121)
    host.stop()
    assert abs(host.allocated_ns("acme") - 40 * S) <= 6_000_000
    assert host.allocated_ns("acme") + host.allocated_ns("wile") == 120 * S


def test_parts_of_a_gpu_are_divided_and_the_rest_is_idle(path: Path) -> None:
    host = LeasedHost(path, lease("a", of="4") + lease("b", tenant='"wile"', units="2", of="4"))
    host.run(0, 121)
    host.stop()
    assert (host.allocated_ns("acme"), host.allocated_ns("wile")) == (30 * S, 60 * S)
    assert sum(row.idle_ns for row in host.rows) == 30 * S


def test_who_leases_a_gpu_in_mig_mode_has_each_of_its_instances(path: Path) -> None:
    host = LeasedHost(path, lease(devices='["*"]'), devices=MIG)
    host.run(0, 61)
    host.stop()
    for device_id in ("nvidia:MIG-a", "nvidia:MIG-b"):
        assert sum(each.allocated_ns for each in host.records if each.segment.device_id == device_id) == 60 * S
    assert host.allocated_ns("acme") == 120 * S
