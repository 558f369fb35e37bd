"""Error events of the driver are told once, in the log too, and are the reason of the gap that follows."""

import os
import signal
from pathlib import Path

import pytest
import trio

from gputally.model.reading import Device, DeviceGap, GapReason, HostReading, Xid
from gputally.plugins.nvml import errors
from gputally.plugins.nvml.known import KnownDevice
from gputally.plugins.nvml.replies import Row, XidsTold
from gputally.plugins.nvml.xids import MOST_WAITING, QUIET_NS, Xids, words
from gputally.simulator.scenario import Fault, Scenario, boottime_ns

from .rig import Host, S, all_good, gaps, hang, on_host

IDS = {0: "nvidia:GPU-a", 1: "nvidia:GPU-b"}


def lines(caplog: pytest.LogCaptureFixture, part: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if part in record.getMessage()]


async def fails(host: Host, device: int, code: int) -> int:
    at_ns = boottime_ns()
    await host.becomes(host.scenario.with_xid(device, code, at_ns))
    return at_ns


def codes(readings: list[HostReading]) -> list[tuple[str, int]]:
    return [(xid.device_id, xid.code) for reading in readings for xid in reading.xids]


def test_an_event_is_told_once_with_its_device_and_the_time_it_was_noticed(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        assert (await host.read()).xids == ()
        happened_ns = await fails(host, 1, 31)
        readings = [await host.read() for _ in range(4)]
        (xid,) = readings[0].xids
        assert (xid.device_id, xid.code) == (readings[0].devices[1].device_id, 31)
        assert happened_ns <= xid.at_ns <= readings[0].boot_ns
        assert len(codes(readings)) == 1
        assert all(all_good(reading) for reading in readings)

    on_host(tmp_path, Scenario.host(2), story)


def test_several_events_of_one_tick_are_all_told(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        for device, code in ((0, 13), (1, 48), (0, 94)):
            await fails(host, device, code)
        assert [code for _, code in codes([await host.read()])] == [13, 48, 94]

    on_host(tmp_path, Scenario.host(2), story)


def test_a_gpu_that_falls_off_the_bus_is_lost_though_the_driver_only_says_unknown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.with_fault(Fault("nvmlDeviceGetComputeRunningProcesses", "UNKNOWN", device=1)))
        assert gaps(await host.read()) == {1: GapReason.NVML_ERROR}
        await fails(host, 1, 79)
        reading = await host.read()
        assert gaps(reading) == {1: GapReason.GPU_LOST}
        (line,) = lines(caplog, "not read (gpu_lost)")
        assert "Xid 79, the GPU has fallen off the bus" in line
        assert reading.devices[1].device_id in line

    on_host(tmp_path, Scenario.host(2), story)


def test_the_line_about_a_gap_names_the_event_and_the_cure_and_comes_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def story(host: Host) -> None:
        device_id = (await host.read()).devices[1].device_id
        await fails(host, 1, 79)
        await host.becomes(host.scenario.with_lost(1))
        for _ in range(4):
            assert gaps(await host.read()) == {1: GapReason.GPU_LOST}
        (line,) = lines(caplog, "not read")
        assert line.startswith(f"{device_id}: not read (gpu_lost): Xid 79")
        assert "nvidia-smi --gpu-reset" in line
        await host.becomes(host.scenario.with_returned(1))
        await host.until(all_good)
        assert lines(caplog, "read again") == [f"{device_id}: read again"]

    on_host(tmp_path, Scenario.host(3), story)


@pytest.mark.parametrize(("ago_s", "blamed"), [(0, True), (1, True), (60, False)])
def test_an_event_of_yesterday_explains_no_gap_of_today(ago_s: int, blamed: bool) -> None:
    xids = Xids()
    device = KnownDevice(Device(IDS[0], "H100", 80), lambda _: None, xids)
    device.take_row(Row(0, 100 * S, 0, None, None, None, None, [], [], None), child=1)
    device.take_seen(GapReason.GPU_LOST, 100 * S)
    xids.hear(told(1, 100 - ago_s, 0, 79), IDS, child=1)
    device.take_row(Row(0, 101 * S, errors.UNKNOWN, None, None, None, None, [], [], None), child=1)
    (gap,) = device.take_seen(GapReason.GPU_LOST, 101 * S)
    assert isinstance(gap, DeviceGap)
    assert (gap.reason is GapReason.GPU_LOST) == ("Xid 79" in device.cause()) == blamed


def test_an_event_that_was_told_is_not_told_by_the_next_child(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await fails(host, 0, 94)
        readings = [await host.read()]
        os.kill(host.probe.child_pid or 0, signal.SIGKILL)
        for _ in range(4):
            readings.append(await host.read())
            await trio.sleep(0.1)
        assert [code for _, code in codes(readings)] == [94]

    on_host(tmp_path, Scenario.host(1), story)


def test_a_child_that_was_stuck_tells_nothing_that_another_one_has_told(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.with_fault(hang(1)))
        readings = [await host.read()]
        await fails(host, 0, 48)
        readings += [await host.read() for _ in range(2)]
        await host.becomes(host.scenario.without_faults())
        readings += [await host.until(all_good)]
        readings += [await host.read() for _ in range(3)]
        assert [code for _, code in codes(readings)] == [48]

    on_host(tmp_path, Scenario.host(2), story)


def test_looking_for_events_that_hangs_is_given_up_and_costs_no_more_than_that(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.with_fault(hang(call="nvmlEventSetWait*")))
        await host.until(all_good)
        for _ in range(3):
            assert all_good(await host.read())
        assert host.probe.abandoned == 1
        await host.becomes(host.scenario.without_faults())

    on_host(tmp_path, Scenario.host(2), story)


def test_boards_without_events_are_read_without_them(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        assert all_good(await host.read())

    on_host(tmp_path, Scenario.host(2).with_fault(Fault("nvmlDeviceGetSupportedEventTypes", "NOT_SUPPORTED")), story)


# ---- what several children tell


def told(since_s: int, at_s: int, *flat: int) -> XidsTold:
    return XidsTold(since_s * S, at_s * S, list(flat))


def test_the_same_event_told_by_two_children_is_one_and_two_events_are_two() -> None:
    xids = Xids()
    xids.hear(told(1, 2, 0, 79), IDS, child=1)
    xids.hear(told(0, 3, 0, 79, 1, 79), IDS, child=2)
    assert xids.take() == (Xid("nvidia:GPU-a", 2 * S, 79), Xid("nvidia:GPU-b", 3 * S, 79))
    xids.hear(told(3, 4, 0, 79), IDS, child=2)
    assert xids.take() == (Xid("nvidia:GPU-a", 4 * S, 79),)


def test_a_flood_is_bounded_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    xids = Xids()
    xids.hear(told(1, 2, *[0, 48] * 2 * MOST_WAITING), IDS, child=1)
    assert len(xids.take()) == MOST_WAITING
    xids.hear(told(2, 3 + QUIET_NS // S, 0, 48), IDS, child=1)
    assert len(lines(caplog, "Xid 48")) == 2


def test_codes_that_are_a_programs_own_fault_blame_no_gap_on_it() -> None:
    xids = Xids()
    xids.hear(told(1, 2, 0, 31), IDS, child=1)
    assert xids.blamed("nvidia:GPU-a", 0) is None
    assert words(31) == "Xid 31"
    xids.hear(told(1, 2, 0, 95), IDS, child=1)
    assert xids.blamed("nvidia:GPU-a", 0) == Xid("nvidia:GPU-a", 2 * S, 95)
    assert xids.blamed("nvidia:GPU-a", 2 * S) is None
